#!/usr/bin/env bash
# TRL 1.16.0, GRPOConfig.mask_truncated_completions: its help says that truncated completions are excluded
# from the loss calculation. Under the loss types "dapo" and "bnpo" they are: the mean is one over the other
# tokens. Under "grpo" and "dr_grpo" they are only set to 0 and still counted among the completions that the
# sum is divided by, so loss and gradient shrink by the share that was cut: the step's size follows the
# truncation rate.
#
# Expected: a batch of which half is masked has the loss of its other half, whatever the loss type.
# Seen: the other half alone has the loss 1.00; with the masked half beside it 1.00 (bnpo), 0.50 (grpo);
# dr_grpo, whose divisor is completions times a fixed length, 0.75 alone and 0.38.
# TRL's own lines are run on numbers, so no torch is needed.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps trl==1.16.0 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import ast, pathlib, sysconfig, types

folder = pathlib.Path(sysconfig.get_path("purelib"), "trl", "trainer")
tree = ast.parse((folder / "grpo_config.py").read_text())
for node in ast.walk(tree):
    if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "mask_truncated_completions":
        (text,) = [e for k in node.value.keywords if k.arg == "metadata" for e in k.value.values]
        print("help:", ast.literal_eval(text).split(",")[1].strip())


class Rows:
    """A little of what a tensor does: products, sums of all or along rows, a mean."""

    def __init__(self, rows):
        self.rows = rows

    def _with(self, other, what):
        return Rows([what(a, b) for a, b in zip(self.rows, other.rows)])

    def __mul__(self, other):
        return self._with(other, lambda a, b: [x * y for x, y in zip(a, b)])

    def __truediv__(self, other):
        if not isinstance(other, Rows):
            return Rows(self.rows / other)
        if isinstance(self.rows, list):
            return self._with(other, lambda a, b: a / b)
        return Rows(self.rows / other.rows)

    def sum(self, dim=None):
        along = [sum(row) for row in self.rows]
        return Rows(sum(along) if dim is None else along)

    def clamp(self, min):
        return Rows([max(x, min) for x in self.rows] if isinstance(self.rows, list) else max(self.rows, min))

    def mean(self):
        return Rows(sum(self.rows) / len(self.rows))

    def size(self, dim):
        return len(self.rows)


source = ast.parse((folder / "grpo_trainer.py").read_text())
lines = {}  # loss type -> TRL's expression of the loss
for node in ast.walk(source):
    if isinstance(node, ast.If) and "self.loss_type" in ast.unparse(node.test):
        first = node.body[0]
        if isinstance(first, ast.Assign) and ast.unparse(first.targets[0]) == "loss":
            for kind in ("grpo", "bnpo", "dr_grpo"):
                if f"'{kind}'" in ast.unparse(node.test):
                    lines.setdefault(kind, ast.unparse(first.value))
whole, cut = [1, 1, 1], [0, 0, 0]
for kind in ("bnpo", "grpo", "dr_grpo"):
    told = []
    for mask in ([whole, whole], [whole, whole, cut, cut]):
        space = {
            "per_token_loss": Rows([[1.0] * 3 for _ in mask]),
            "mask": Rows(mask),
            "self": types.SimpleNamespace(max_completion_length=4),
        }
        told.append(eval(lines[kind], space).rows)
    print(f"{kind}: alone {told[0]:.2f}, beside masked ones {told[1]:.2f}")
PY
)"
echo "$seen"
expected="help: truncated completions are excluded from the loss calculation
bnpo: alone 1.00, beside masked ones 1.00
grpo: alone 1.00, beside masked ones 0.50
dr_grpo: alone 0.75, beside masked ones 0.38"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
