"""Where a run runs, in this process (`local`) or on verl and Ray (`verl`); and what writes a recipe
out for another trainer (`exporters`: `verl`, `trl`).

A backend is `run(recipe, *, out, resume, fork, progress, stopping) -> RunResult`; the verb `train`
calls the one that the recipe names. What all of them need of a run is in `running`.
"""

from oneshot_rlvr.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "local": "oneshot_rlvr.backends.local:run",
        "verl": "oneshot_rlvr.backends.verl.run:run",
    },
)

__all__ = ["BACKENDS"]
