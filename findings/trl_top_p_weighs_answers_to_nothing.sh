#!/usr/bin/env bash
# TRL 1.16.0, GRPOConfig.top_p (or top_k, min_p) with vLLM: the setting reaches the sampler, whose
# log-probabilities are those of the cut distribution ("processed_logprobs"), and the trainer's are of the
# whole one. The correction for the difference, on by default and over whole answers ("sequence_mask", bounded
# above only), multiplies an answer's loss by the product of its tokens' p_trainer / p_sampler. Where sampler and
# trainer hold the very same weights that is the product of the masses kept, below 1 at every token: of an
# answer of 300 tokens at top_p = 0.95 nothing is left, and the longer an answer the less it counts.
#
# Expected: equal weights in sampler and trainer need no correction, and top_p changes what is drawn, not how
# much an answer counts. Seen: 300 tokens at a kept mass of 0.97 weigh 0.0001, 30 tokens 0.40, without top_p 1.
# Nothing is logged that looks wrong but sampling/importance_sampling_ratio.
# TRL's own lines are run on plain numbers, so neither torch nor vLLM is needed.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps trl==1.16.0 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import ast, math, pathlib, sysconfig, textwrap, types

folder = pathlib.Path(sysconfig.get_path("purelib"), "trl")
tree = ast.parse((folder / "trainer" / "grpo_config.py").read_text())
settings = {}
for node in ast.walk(tree):
    name = getattr(getattr(node, "target", None), "id", "")
    if isinstance(node, ast.AnnAssign) and name.startswith("vllm_importance_sampling_"):
        (settings[name],) = [k.value.value for k in node.value.keywords if k.arg == "default"]
for name, value in settings.items():
    print(name, "=", value)
engine = (folder / "generation" / "vllm_generation.py").read_text()
print("the sampler's log-probabilities are processed:", 'logprobs_mode="processed_logprobs"' in engine)
trainer = (folder / "trainer" / "grpo_trainer.py").read_text()
begin = trainer.index("    def _get_per_token_logps_and_entropies(")
scoring = trainer[begin : trainer.index("\n    def ", begin + 1)]
print("the trainer's know of top_p:", "top_p" in scoring)


class Row(list):
    """One answer's tokens, as far as the lines below need a tensor."""

    def __sub__(self, other):
        return Row(a - b for a, b in zip(self, other))

    def __mul__(self, other):
        return Row(a * b for a, b in zip(self, other))

    def sum(self, dim, keepdim):
        return Row([sum(self)])

    def __lt__(self, bound):
        return Row(a < bound for a in self)

    def __gt__(self, bound):
        return Row(a > bound for a in self)

    def __or__(self, other):
        return Row(a or b for a, b in zip(self, other))

    def masked_fill(self, where, value):
        return Row(value if hidden else a for a, hidden in zip(self, where))


lines = trainer.split("\n")
begin = next(n for n, line in enumerate(lines) if "importance sampling ratio when using vLLM" in line) + 2
end = next(n for n, line in enumerate(lines) if n > begin and "Compute the per-token log prob" in line)
code = textwrap.dedent("\n".join(lines[begin:end]))
for tokens, mass in ((300, 1.0), (30, 0.97), (300, 0.97)):
    whole = Row([-1.0] * tokens)
    space = {
        "math": math,
        "torch": types.SimpleNamespace(
            exp=lambda row: Row(map(math.exp, row)), nan_to_num=lambda row, nan: row
        ),
        "tool_mask": None,
        "completion_mask": Row([1] * tokens),
        "old_per_token_logps": whole,
        "sampling_per_token_logps": Row(p - math.log(mass) for p in whole),
        "self": types.SimpleNamespace(**settings),
    }
    exec(code, space)
    (weight,) = space["vllm_importance_sampling_ratio"]
    print(f"{tokens} tokens, kept mass {mass}: the answer's loss is multiplied by {weight:.4f}")
PY
)"
echo "$seen"
expected="vllm_importance_sampling_correction = True
vllm_importance_sampling_mode = sequence_mask
vllm_importance_sampling_clip_max = 3.0
vllm_importance_sampling_clip_min = None
vllm_importance_sampling_cap = None
the sampler's log-probabilities are processed: True
the trainer's know of top_p: False
300 tokens, kept mass 1.0: the answer's loss is multiplied by 1.0000
30 tokens, kept mass 0.97: the answer's loss is multiplied by 0.4010
300 tokens, kept mass 0.97: the answer's loss is multiplied by 0.0001"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
