"""The table [backend]: where a recipe runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from oneshot_rlvr.config.section import Positive, Section


class BackendConfig(Section):
    """This process, or verl on Ray (many GPUs, many machines). The other keys are verl's."""

    name: Literal["local", "verl"] = Field(
        "local", description="local: this process; verl: verl on Ray, in a Python of its own"
    )
    python: str | None = Field(
        None, description="Python that has verl; None: as `oneshot doctor` finds it"
    )
    ray_address: str | None = Field(
        None,
        description="a cluster's Ray Jobs address, http://HEAD:8265; None: a Ray of its own here",
    )
    nodes: Positive = Field(1, description="machines of the cluster to train on")
    gpus_per_node: Positive = Field(
        1, description="training ranks a machine: GPUs, or processes with model.device = cpu"
    )
    tensor_parallel: Positive = Field(1, description="GPUs that sample with one copy of the model")
    save_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="type of the saved models; auto: that of the trained weights"
    )
    start_minutes: float = Field(
        30.0,
        ge=0,
        le=1e6,
        description="stop a run without a first sign of training so long; 0: never",
    )
    stall_minutes: float = Field(
        60.0, ge=0, le=1e6, description="stop a run without progress for so long; 0: never"
    )
