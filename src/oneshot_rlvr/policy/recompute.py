"""Gradient checkpointing: layers keep their input only and run again in the backward pass.

Chen et al. 2016, arXiv 1604.06174. One more forward pass in exchange for the memory of all that a
layer computes inside. The switch is the model's own (transformers'); this package's forward passes
(`shared_forward.py`) read it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oneshot_rlvr.errors import ModelError


def set_recompute(model: nn.Module, name: str) -> None:
    """Turns it on for good. ModelError for a model that transformers cannot do it for."""
    try:
        switch: Any = getattr(model, "activation_checkpointing_enable", None)  # its newer name
        switch = switch or model.gradient_checkpointing_enable
        switch({"use_reentrant": False})
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f'The model "{name}" knows no gradient checkpointing ({error}); set '
            "model.gradient_checkpointing=false."
        ) from error


def recomputes(model: nn.Module) -> bool:
    """Whether it is on, for the pass at hand: it only is where there is a gradient."""
    return torch.is_grad_enabled() and any(
        getattr(module, "gradient_checkpointing", False) for module in model.modules()
    )


def through(run: Callable[..., Any], on: bool, *tensors: Tensor) -> Any:
    """`run` of tensors; where `on`, only they are kept."""
    if not on:
        return run(*tensors)
    return checkpoint(run, *tensors, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def recomputing_layers(model: nn.Module) -> Iterator[None]:
    """transformers' own layers recompute inside, where it is on.

    They do so only in training mode, in which nothing else may be: dropout would come with it. So
    the mode is set on the layers themselves, not on what is in them, and for this pass only.
    """
    layers = [
        module
        for module in (model.modules() if recomputes(model) else ())
        if getattr(module, "gradient_checkpointing", False) and not list_like(module)
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def list_like(module: nn.Module) -> bool:
    """Whether it is the model's body, which holds the layers, and no layer."""
    return hasattr(module, "get_input_embeddings")
