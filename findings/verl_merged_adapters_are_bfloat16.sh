#!/usr/bin/env bash
# verl 0.9.1, FSDP, model.lora.merge=true: on the way to the sampler every merged weight that FSDP2 has
# sharded is cast to bfloat16 in the code, whatever rollout.dtype and the trainer's model_dtype are. A merged
# weight differs from the base by some 1e-6 after the first steps, a hundredth of the spacing of
# bfloat16 numbers there: most of what was trained is rounded away, and rollouts come from a policy that
# lags behind (with a rank-64 adapter and steps of 1e-5: 6.5 % of the update is left after 5 steps, 39 % after
# 100). A parameter that is not sharded keeps its type.
#
# Expected: weights reach a float32 sampler (rollout.dtype=float32) as float32.
# Seen: "bfloat16" for the sharded one, whatever it was.
# verl's own method is run with stand-ins for tensors that write down what they are cast to: no torch.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps verl==0.9.1 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import ast, contextlib, pathlib, sysconfig, textwrap, types

path = pathlib.Path(sysconfig.get_path("purelib"), "verl", "workers", "engine", "fsdp", "transformer_impl.py")
source = path.read_text()
name = "_merged_lora_per_tensor_param"
(node,) = [n for n in ast.walk(ast.parse(source)) if getattr(n, "name", "") == name]


class Plain:
    def __init__(self, dtype):
        self.dtype = dtype

    def to(self, target, **kwargs):
        return type(self)(target if target in ("bfloat16", "float32") else self.dtype)

    def full_tensor(self):
        return Plain(self.dtype)

    def detach(self):
        return self

    clone = detach


class DTensor(Plain):
    pass


space = {
    "torch": types.SimpleNamespace(bfloat16="bfloat16"),
    "DTensor": DTensor,
    "get_device_id": lambda: "cpu",
    "merged_lora_context": lambda module, **kwargs: contextlib.nullcontext(),
    "normalize_peft_param_name": lambda state: state,
    "convert_weight_keys": lambda state, module: state,
    "log_gpu_memory_usage": lambda *args, **kwargs: None,
    "logger": None,
}
exec(textwrap.dedent(ast.get_source_segment(source, node)), space)
state = {"sharded": DTensor("float32"), "whole": Plain("float32")}
engine = types.SimpleNamespace(
    module=types.SimpleNamespace(state_dict=lambda: state), _is_offload_param=False
)
for key, value in space[name](engine):
    print(f"{key}: float32 -> {value.dtype}")
PY
)"
echo "$seen"
expected="sharded: float32 -> bfloat16
whole: float32 -> float32"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
