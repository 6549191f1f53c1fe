"""Where a run runs: in this process (`local`), or on verl and Ray (`verl`)."""

from oneshot_rlvr.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "local": "oneshot_rlvr.backends.local:run",
        "verl": "oneshot_rlvr.backends.verl.run:run",
    },
)

__all__ = ["BACKENDS"]
