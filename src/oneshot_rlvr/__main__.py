"""`python -m oneshot_rlvr`: the same as `oneshot`, where scripts are not on the path."""

from __future__ import annotations

import sys

from oneshot_rlvr.cli import main

if __name__ == "__main__":
    sys.exit(main())
