"""Compiled loops of the engine for a CPU in float32: arrays in, arrays out, one file a subject.

Torch-free: tensors cross in `policy/` and `rollouts/`. `docs/engine.md` tells how they are used.
"""
