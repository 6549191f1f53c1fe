#!/usr/bin/env bash
# TRL 1.16.0, GRPOConfig.use_bias_correction_kl: on by default, it multiplies the KL term of every token
# by the importance ratio, which keeps its gradient. With one update a rollout the ratio is 1, so the
# loss that is logged does not change at all, and the gradient of the KL term becomes another one:
# d/dx [ratio * k3] = k3 + (1 - pi_ref / pi) where d/dx k3 = 1 - pi_ref / pi (x the token's log-prob).
# The same recipe (beta, k3) that gives GRPO's KL gradient in the paper and in other trainers gives
# another here unless the setting is turned off by name.
#
# Expected: a correction by a ratio of exactly 1 corrects nothing.
# Seen: at a reference 0.5 nats below the policy the gradient is 0.5000 with it and 0.3935 without,
# at 0.5 nats above it -0.5000 and -0.6487; values are equal.
# TRL's own lines are run on numbers with a derivative, so no torch is needed.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps trl==1.16.0 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import ast, math, pathlib, sysconfig, textwrap, types

folder = pathlib.Path(sysconfig.get_path("purelib"), "trl", "trainer")
tree = ast.parse((folder / "grpo_config.py").read_text())
for node in ast.walk(tree):
    if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "use_bias_correction_kl":
        (default,) = [k.value.value for k in node.value.keywords if k.arg == "default"]
print("default:", default)


class Dual:
    """A value and its derivative by the token's log-probability."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __neg__(self):
        return Dual(-self.value, -self.slope)

    def __sub__(self, other):
        return self + (-other if isinstance(other, Dual) else Dual(-other))

    def __mul__(self, other):
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


def exp(x):
    return Dual(math.exp(x.value), math.exp(x.value) * x.slope)


lines = (folder / "grpo_trainer.py").read_text().split("\n")
begin = next(n for n, line in enumerate(lines) if "ref_per_token_logps = inputs" in line)
end = next(n for n, line in enumerate(lines) if n > begin and "per_token_kl * coef_1" in line) + 1
code = textwrap.dedent("\n".join(lines[begin:end]))
for reference in (-1.5, -0.5):
    for on in (True, False):
        policy = Dual(-1.0, 1.0)
        space = {
            "torch": types.SimpleNamespace(exp=exp),
            "inputs": {"ref_per_token_logps": Dual(reference)},
            "per_token_logps": policy,
            "coef_1": exp(policy - Dual(-1.0)),
            "self": types.SimpleNamespace(args=types.SimpleNamespace(use_bias_correction_kl=on)),
        }
        exec(code, space)
        kl = space["per_token_kl"]
        print(f"reference {reference}, correction {on}: value {kl.value:.4f}, gradient {kl.slope:.4f}")
PY
)"
echo "$seen"
expected="default: True
reference -1.5, correction True: value 0.1065, gradient 0.5000
reference -1.5, correction False: value 0.1065, gradient 0.3935
reference -0.5, correction True: value 0.1487, gradient -0.5000
reference -0.5, correction False: value 0.1487, gradient -0.6487"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
