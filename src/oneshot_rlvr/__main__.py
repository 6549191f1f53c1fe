"""`python -m oneshot_rlvr`: the `oneshot` command where its script is not on the path."""

from oneshot_rlvr.cli import main

raise SystemExit(main())
