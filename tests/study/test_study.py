import json
from pathlib import Path


def test_first(finished):
    file, found, states = finished
    print((found.directory / "table.md").read_text())
    print(found.failures)
    assert not found.failures
