"""What every file of a run should hold: a line a file as it is written, and readers that compare.

manifest.jsonl: {"step", "file", "bytes", "sum", "rows", "line", "own"} for a whole file, and one
for each line of the growing ones ("line": true). `sum` is BLAKE2b of the bytes, `own` of the entry.
The file is written first, its entry after it: an entry without its file is damage, a file without
an entry a run that was killed between the two. Runs of earlier versions have no manifest and are
read as they are. Not here: checkpoints, which carry their own hashes (train/checkpoint.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot_rlvr.records import files, schema

LINES = (schema.METRICS, schema.TIMINGS)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a line of a growing one, as it was written."""

    step: int
    file: str
    bytes: int
    sum: str
    rows: int | None = None
    line: bool = False


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written; `step`: the one it belongs to."""

    file: str
    step: int
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


@dataclass(slots=True)
class Manifest:
    """The entries, last ones winning; `damaged`: numbers of lines that are none."""

    whole: dict[str, Entry] = field(default_factory=dict)
    lines: dict[str, dict[int, Entry]] = field(default_factory=lambda: {n: {} for n in LINES})
    damaged: list[int] = field(default_factory=list)


def add(directory: Path, step: int, file: str, data: bytes, **told: Any) -> None:
    """Appends what was written. `told`: rows, line."""
    _append(directory, Entry(step, file, len(data), checksum(data), **told))


def add_file(directory: Path, step: int, file: str) -> None:
    """The same for a file that lies there, read in pieces."""
    path = directory / file
    _append(directory, Entry(step, file, path.stat().st_size, _sum_of(path)))


def sync(directory: Path) -> None:
    """To the disk itself, with each checkpoint: its lines are not, one by one."""
    path = directory / schema.MANIFEST
    if path.exists():
        with files.disk_errors(path), path.open("rb") as file:
            os.fsync(file.fileno())


def _append(directory: Path, entry: Entry) -> None:
    files.append_line(directory / schema.MANIFEST, _told(entry), sync=False)


def _told(entry: Entry) -> bytes:
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    own = checksum(json.dumps(values).encode("ascii"))
    return json.dumps({**values, "own": own}).encode("ascii")


def read(directory: Path) -> Manifest | None:
    """None where the run has none."""
    path = directory / schema.MANIFEST
    if not path.exists():
        return None
    found = Manifest()
    # What follows the last newline was being written.
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            values = json.loads(line)
            own = values.pop("own")
            entry = Entry(**values)
            if own != checksum(json.dumps(values).encode("ascii")):
                raise ValueError("damaged")
        except (ValueError, KeyError, TypeError, AttributeError):
            found.damaged.append(number)
            continue
        if entry.line:
            found.lines.setdefault(entry.file, {})[entry.step] = entry
        else:
            found.whole[entry.file] = entry
    return found


def rewrite(directory: Path, keep: Callable[[Entry], bool]) -> None:
    """Drops the entries that are not to be kept, and lines that are no entries."""
    found = read(directory)
    if found is not None:
        entries = [e for lines in found.lines.values() for e in lines.values()]
        entries += found.whole.values()
        kept = sorted((e for e in entries if keep(e)), key=lambda e: (e.step, e.file))
        files.write_atomic(
            directory / schema.MANIFEST, b"".join(_told(entry) + b"\n" for entry in kept)
        )


def checksum(data: bytes) -> str:
    """BLAKE2b, 128 bits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _sum_of(path: Path) -> str:
    summed = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            summed.update(data)
    return summed.hexdigest()


def whole_lines(
    directory: Path, name: str, manifest: Manifest | None
) -> tuple[list[tuple[bytes, dict[str, Any]]], list[Damage]]:
    """The lines of a growing file that are as they were written, raw and read, and what is not.

    An unfinished last line (a live run, a kill) is left out and no damage.
    """
    path = directory / name
    wanted = dict(manifest.lines.get(name, {})) if manifest is not None else {}
    found: list[tuple[bytes, dict[str, Any]]] = []
    damage: list[Damage] = []
    last = 0
    data = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            step = row["step"]
            if not isinstance(step, int):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            damage.append(Damage(name, last + 1, f"has a broken line {number}"))
            continue
        entry = wanted.pop(step, None)
        if entry is not None and entry.sum != checksum(line):
            damage.append(Damage(name, step, f"has a line {number} that is not as written"))
            continue
        found.append((line, row))
        last = step
    for step in sorted(wanted):
        if not any(d.step == step for d in damage):
            damage.append(Damage(name, step, f"lacks step {step}"))
    return found, damage


def check_file(directory: Path, entry: Entry, *, full: bool) -> Damage | None:
    """Size, and with `full` the sum too."""
    path = directory / entry.file
    try:
        size = path.stat().st_size
    except OSError:
        return Damage(entry.file, entry.step, "is missing")
    if size != entry.bytes:
        return Damage(entry.file, entry.step, f"has {size} bytes and had {entry.bytes}")
    try:
        same = not full or _sum_of(path) == entry.sum
    except OSError as error:
        return Damage(entry.file, entry.step, f"cannot be read ({error.strerror or error})")
    return None if same else Damage(entry.file, entry.step, "is not as it was written")


def check(directory: Path, *, expected: bool, full: bool) -> list[Damage]:
    """Everything that is not as it was written; `expected`: the run was written with a manifest.

    Not full: rollouts and model files by their size only.
    """
    manifest = read(directory)
    found: list[Damage] = []
    if manifest is None and expected:
        found.append(Damage(schema.MANIFEST, 0, "is missing: files cannot be compared with it"))
    if manifest is not None and manifest.damaged:
        lines = ", ".join(map(str, manifest.damaged[:5]))
        found.append(Damage(schema.MANIFEST, 0, f"has damaged lines ({lines})"))
    for name in LINES:
        found += whole_lines(directory, name, manifest)[1]
    found += _files(directory, manifest, full=full)
    odd = unlisted(directory, manifest) if manifest is not None else []
    if len(odd) > 1:  # one is what a kill leaves between a file and its entry
        found.append(Damage(schema.MANIFEST, 0, f"lacks {len(odd)} files, the first {odd[0]}"))
    return sorted(found, key=lambda d: (d.step, d.file))


def unlisted(directory: Path, manifest: Manifest) -> list[str]:
    """Files and lines of the run that no entry tells of."""
    there = [
        path.relative_to(directory).as_posix()
        for folder in (schema.ROLLOUTS, schema.EVALUATIONS, schema.FINAL)
        for path in sorted((directory / folder).rglob("*"))
        if path.is_file() and not path.name.endswith(".part")
    ]
    odd = [name for name in there if name not in manifest.whole]
    for name in LINES:
        rows, _ = whole_lines(directory, name, None)
        odd += [
            f"{name} of step {r['step']}" for _, r in rows if r["step"] not in manifest.lines[name]
        ]
    return odd


def _files(directory: Path, manifest: Manifest | None, *, full: bool) -> Iterator[Damage]:
    for entry in manifest.whole.values() if manifest is not None else ():
        cheap = entry.file.startswith(f"{schema.EVALUATIONS}/")
        damage = check_file(directory, entry, full=full or cheap)
        if damage is not None:
            yield damage


def told(damage: list[Damage], most: int = 5) -> list[str]:
    """The findings in few lines: many of one file or folder as one."""
    by: dict[str, list[Damage]] = {}
    for one in damage:
        by.setdefault(one.file.split("/")[0], []).append(one)
    lines: list[str] = []
    for name, some in by.items():
        if len(some) <= most:
            lines += map(str, some)
        else:
            steps = f"steps {some[0].step} to {some[-1].step}"
            lines.append(f"{name}: {len(some)} findings, {steps}; the first: {some[0]}")
    return lines
