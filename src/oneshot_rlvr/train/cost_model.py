"""What a run costs on GPUs, from shapes and a few stated efficiencies: memory, tokens, seconds.

No measurement is in here. The model is checked against published figures (`docs/scaling.md`,
printed by `benchmarks/scaling.py`) and against steps on a CPU (`benchmarks/hours.py`); its
assumptions are the constants of `Assumptions`. `train/hours.py` asks it for `--dry-run`. Lengths of
answers are drawn, not averaged: a step waits for its longest answer, and that decides how far
sampling can be spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GB = 10**9


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama or Qwen2 family."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    tied: bool
    biased: bool  # queries, keys and values have a bias

    @property
    def matrix_parameters(self) -> int:
        """Weights that every token is multiplied with: the layers and the output head."""
        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        layer = self.width * (2 * q + 2 * kv) + 3 * self.width * self.inner
        return self.layers * layer + self.width * self.vocabulary

    @property
    def parameters(self) -> int:
        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        norms = (2 * self.layers + 1) * self.width
        biases = self.layers * (q + 2 * kv) if self.biased else 0
        embedding = 0 if self.tied else self.width * self.vocabulary
        return self.matrix_parameters + norms + biases + embedding

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, in 16 bits."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_size

    def forward_flops(self, context: float) -> float:
        """Of one token whose answer and prompt are `context` tokens long on average so far."""
        return (
            2.0 * self.matrix_parameters + 4.0 * self.layers * self.heads * self.head_size * context
        )


QWEN_1P5B = Shape("Qwen2.5-Math-1.5B", 28, 1536, 12, 2, 128, 8960, 151936, True, True)
QWEN_7B = Shape("Qwen2.5-Math-7B", 28, 3584, 28, 4, 128, 18944, 152064, False, True)
LLAMA_3B = Shape("Llama-3.2-3B-Instruct", 28, 3072, 24, 8, 128, 8192, 128256, True, False)
R1_1P5B = Shape("DeepSeek-R1-Distill-Qwen-1.5B", 28, 1536, 12, 2, 128, 8960, 151936, False, True)
SHAPES = {shape.name: shape for shape in (QWEN_1P5B, QWEN_7B, LLAMA_3B, R1_1P5B)}

# Parameters as the models' own safetensors indices count them.
PUBLISHED_PARAMETERS = {
    "Qwen2.5-Math-1.5B": 1_543_714_304,
    "Qwen2.5-Math-7B": 7_615_616_512,
    "Llama-3.2-3B-Instruct": 3_212_749_824,
    "DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
}


@dataclass(frozen=True)
class Gpu:
    """Data-sheet figures: dense 16-bit FLOP/s, bytes/s of memory and of one link to other GPUs
    (NVLink one way; PCIe where there is none)."""

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float


# NVIDIA's data sheets print 16-bit tensor FLOP/s with sparsity, or both; these are the dense ones.
# A100 80GB SXM data sheet: 80 GB, 2,039 GB/s, 312 (624 sparse) TFLOP/s, NVLink 600 GB/s both ways.
A100 = Gpu("A100 80 GB", 80 * GB, 312e12, 2.039e12, 300e9)
# H100 SXM data sheet: 80 GB, 3.35 TB/s, 1,979 TFLOP/s sparse, NVLink 900 GB/s.
H100 = Gpu("H100 80 GB", 80 * GB, 989e12, 3.35e12, 450e9)
# H200 SXM data sheet: 141 GB, 4.8 TB/s, 1,979 TFLOP/s sparse, NVLink 900 GB/s.
H200 = Gpu("H200 141 GB", 141 * GB, 989e12, 4.8e12, 450e9)
# L40S data sheet: 48 GB, 864 GB/s, 362.05 (733 sparse) TFLOP/s, PCIe Gen4 x16 64 GB/s both ways.
L40S = Gpu("L40S 48 GB", 48 * GB, 362e12, 0.864e12, 32e9)
# L4 data sheet: 24 GB, 300 GB/s, 242 TFLOP/s sparse, PCIe Gen4 x16 64 GB/s both ways.
L4 = Gpu("L4 24 GB", 24 * GB, 121e12, 0.3e12, 32e9)
# Ada architecture white paper, RTX 4090: 24 GB, 1,008 GB/s, 165.2 (330.4 sparse) TFLOP/s with sums
# in float32; PCIe Gen4 x16.
RTX4090 = Gpu("RTX 4090 24 GB", 24 * GB, 165.2e12, 1.008e12, 32e9)
GPUS = {"A100": A100, "H100": H100, "H200": H200, "L40S": L40S, "L4": L4, "RTX4090": RTX4090}
"""Names that `--dry-run --gpu` takes; figures and their sources stand above."""


@dataclass(frozen=True)
class Assumptions:
    """What is taken for granted."""

    training_efficiency: float = 0.30  # of peak FLOP/s, in forward and backward passes
    prefill_efficiency: float = 0.40  # of peak FLOP/s, in reading prompts
    bandwidth_efficiency: float = 0.60  # of peak bytes/s, in decoding
    decode_overhead_seconds: float = 0.012  # of one decoding step: launches, sampling, scheduling
    network_bytes_per_second: float = 25e9  # of one GPU between machines (200 Gbit/s)
    step_overhead_seconds: float = 6.0  # of a step: sleeping and waking, grading, the controller
    recomputed_forward: float = 1.0  # forward passes done again for gradient checkpointing
    length_spread: float = 0.6  # standard deviation of the logarithm of an answer's length


@dataclass(frozen=True)
class Work:
    """One step: P rows of G rollouts, cut at `most` tokens; `mean` is their mean length."""

    rows: int
    group: int
    prompt: int
    mean: int
    most: int
    reference: bool = True
    tensor_parallel: int = 1

    @property
    def rollouts(self) -> int:
        return self.rows * self.group

    @property
    def tokens(self) -> int:
        return self.rollouts * self.mean


def lengths(work: Work, assumed: Assumptions, seed: int = 0) -> np.ndarray:
    """Lengths (N) of a step's answers: log-normal, cut at `most`, with the mean that was asked."""
    normal = np.random.default_rng(seed).standard_normal(work.rollouts)
    low, high = 0.0, np.log(50.0 * work.most)
    for _ in range(60):  # the location whose cut distribution has that mean
        middle = (low + high) / 2
        drawn = np.minimum(np.exp(middle + assumed.length_spread * normal), work.most)
        low, high = (middle, high) if drawn.mean() < work.mean else (low, middle)
    return np.maximum(1, drawn.round()).astype(int)


def cache_tokens(shape: Shape, gpu: Gpu, share: float, tensor_parallel: int = 1) -> int:
    """Tokens whose keys and values fit beside 16-bit weights and 2 GB of vLLM's own."""
    room = share * gpu.memory - 2 * GB - 2 * shape.parameters / tensor_parallel
    return int(max(0, room) / (shape.cache_bytes / tensor_parallel))


def sampling_seconds(
    shape: Shape, gpu: Gpu, gpus: int, work: Work, assumed: Assumptions, share: float = 0.5
) -> float:
    """The step's answers, spread over gpus / tensor_parallel replicas; the slowest one's time."""
    parallel = work.tensor_parallel
    replicas = max(1, gpus // parallel)
    drawn = lengths(work, assumed)
    room = cache_tokens(shape, gpu, share, parallel)
    mine = [drawn[replica::replicas] for replica in range(min(replicas, len(drawn)))]
    times = [_replica_seconds(shape, gpu, part, work, room, assumed) for part in mine]
    return max(times)


def _replica_seconds(
    shape: Shape, gpu: Gpu, lengths_n: np.ndarray, work: Work, room: int, assumed: Assumptions
) -> float:
    """Continuous batching on one replica, longest waits included, in strides of 16 tokens."""
    parallel, stride = work.tensor_parallel, 16
    speed = gpu.bandwidth * assumed.bandwidth_efficiency * parallel
    peak = gpu.flops * assumed.prefill_efficiency * parallel
    prefill = len(set(range(-(-len(lengths_n) // work.group)))) * work.prompt
    seconds = prefill * shape.forward_flops(work.prompt / 2) / peak
    waiting = lengths_n.tolist()[::-1]  # taken from the end
    running: list[int] = []  # tokens still to go
    done: list[int] = []  # tokens so far
    while waiting or running:
        used = sum(done) + work.prompt * len(running)
        while waiting and used + work.prompt + stride < room:
            running.append(waiting.pop())
            done.append(0)
            used += work.prompt
        if not running:
            raise ValueError("not one sequence fits into the memory")
        n = len(running)
        read = 2 * shape.matrix_parameters + used * shape.cache_bytes
        compute = n * shape.forward_flops(used / n) / peak
        seconds += stride * (max(read / speed, compute) + assumed.decode_overhead_seconds)
        done = [d + stride for d, r in zip(done, running, strict=True) if r > stride]
        running = [r - stride for r in running if r > stride]
    return seconds


def training_seconds(shape: Shape, gpu: Gpu, gpus: int, work: Work, assumed: Assumptions) -> float:
    """All passes over the step's answers with their prompts, the reference's included."""
    context = (work.prompt + work.mean) / 2
    passes = 3 + assumed.recomputed_forward + (1 if work.reference else 0)
    tokens = work.rollouts * (work.prompt + work.mean)
    flops = passes * tokens * shape.forward_flops(context)
    used = min(gpus, work.rollouts)  # a rollout is not divided
    return flops / (used * gpu.flops * assumed.training_efficiency)


def synchronising_seconds(shape: Shape, gpu: Gpu, gpus: int, assumed: Assumptions) -> float:
    """Gradients reduced, weights gathered and handed to the samplers: about 3 times 16-bit weights
    through every GPU's link (between machines beyond 8 GPUs)."""
    if gpus == 1:
        return 2 * shape.parameters / (gpu.bandwidth * assumed.bandwidth_efficiency)
    link = gpu.link if gpus <= 8 else assumed.network_bytes_per_second
    return 3 * 2 * shape.parameters / link


def step_seconds(
    shape: Shape, gpu: Gpu, gpus: int, work: Work, assumed: Assumptions = Assumptions()
) -> dict[str, float]:
    """Seconds of a synchronous step by part, and in all."""
    parts = {
        "sampling": sampling_seconds(shape, gpu, gpus, work, assumed),
        "training": training_seconds(shape, gpu, gpus, work, assumed),
        "synchronising": synchronising_seconds(shape, gpu, gpus, assumed),
        "overhead": assumed.step_overhead_seconds,
    }
    return {**parts, "step": sum(parts.values())}


@dataclass(frozen=True)
class Memory:
    """Bytes on each training GPU."""

    weights: float
    gradients: float
    optimizer: float
    reference: float
    activations: float

    @property
    def resident(self) -> float:
        """What stays while answers are sampled: no gradients, no activations."""
        return self.weights + self.optimizer + self.reference

    @property
    def total(self) -> float:
        return self.resident + self.gradients + self.activations


def training_memory(
    shape: Shape,
    *,
    ranks: int = 1,
    weight_bytes: int = 4,
    micro_batch_tokens: int = 16384,
    checkpointing: bool = True,
    activation_bytes: int = 2,
    lora_parameters: int = 0,
) -> Memory:
    """All weights with AdamW in float32, sharded over `ranks`; or adapters.

    Weights in 16 bits are updated through float32 masters, whose gradients are there for a moment.

    With adapters the base weights have no gradient and no optimizer state, and the reference is the
    base itself. Activations: the inputs of all layers, and one layer at work; without checkpointing
    what every layer keeps for its backward pass. 2 GB for logits in parts and the allocator.
    """
    n = shape.parameters
    trained = lora_parameters or n
    masters = 0 if lora_parameters or weight_bytes == 4 else 4
    layer = 8 * shape.width + 4 * shape.inner  # what one layer keeps of a token
    kept = shape.layers * shape.width + layer if checkpointing else shape.layers * layer
    return Memory(
        weights=(n * (weight_bytes + masters) + lora_parameters * 4) / ranks,
        gradients=trained * (weight_bytes + masters if not lora_parameters else 4) / ranks,
        optimizer=8 * trained / ranks,
        reference=0.0 if lora_parameters else n * weight_bytes / ranks,
        activations=micro_batch_tokens * activation_bytes * kept + 2 * GB,
    )


def lora_parameters(shape: Shape, rank: int) -> int:
    """Adapters on every linear layer but the head."""
    q, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sides = 2 * (shape.width + q) + 2 * (shape.width + kv) + 3 * (shape.width + shape.inner)
    return shape.layers * rank * sides


FAILURES_PER_GPU_HOUR = 419 / (54 * 24 * 16_384)
"""Unexpected interruptions of Llama 3 405B's pretraining: 419 in 54 days on 16,384 H100."""


def hours_between_failures(gpus: int) -> float:
    """Mean hours from one interruption of a job to the next."""
    return 1 / (gpus * FAILURES_PER_GPU_HOUR)


def lost_share(gpus: int, checkpoint_hours: float, restart_hours: float) -> float:
    """Share of time lost to failures: half an interval of work and one restart for each."""
    return (checkpoint_hours / 2 + restart_hours) / hours_between_failures(gpus)
