"""Why a run of many processes failed: the first real error of its log, not the last symptom.

One process fails, and then all the others say that it has. The cause is the first exception that is
not itself a report of another's death. Pure: text in, one line out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

LONGEST = 400

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Ray marks a line with the process it comes from: (WorkerDict pid=123, ip=10.0.0.1)
_SPEAKER = re.compile(r"^\((?:[\w.:<>-]+ )?pid=\d+[^)]*\)\s?")
_EXCEPTION = re.compile(
    r"^(?:E\s+)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|NotFound|Timeout))"
    r"(?:\(\w+\))?(?::\s(.*))?$"
)
_SYMPTOMS = (
    re.compile(r"RayTaskError|RayActorError|ActorDiedError|ActorUnavailable|WorkerCrashed"),
    re.compile(r"CancelledError|KeyboardInterrupt|BrokenPipeError|ConnectionResetError"),
    re.compile(r"Received an empty list as keys|Error executing job with overrides"),
    re.compile(r"ObjectLost|OwnerDied|DistBackendError|RayChannelError"),
)
# Said by Ray about a process that could say nothing itself.
_DEATHS = (
    re.compile(r"out[- ]of[- ]memory|OutOfMemory|OOM", re.IGNORECASE),
    re.compile(r"A worker died or was killed|unexpectedly exit|exit type: SYSTEM_ERROR"),
    re.compile(r"The actor died because|actor is dead because", re.IGNORECASE),
)


def first_error(lines: Iterable[str]) -> str:
    """One line: the first exception that is no report of another; else a death; else a symptom;
    else the last line there is. "" for an empty log."""
    symptom = death = last = ""
    for speaker, text in _spoken(lines):
        last = text or last
        found = _EXCEPTION.match(text)
        told = f"{text} (said by {speaker})" if speaker else text
        if found is not None and not any(pattern.search(text) for pattern in _SYMPTOMS):
            return _short(told)
        if not death and any(pattern.search(text) for pattern in _DEATHS):
            death = told
        if found is not None and not symptom:
            symptom = told
    return _short(death or symptom or last)


def exceptions(lines: Iterable[str]) -> Iterator[str]:
    """Every exception that is no report of another's, with who says it."""
    for speaker, text in _spoken(lines):
        if _EXCEPTION.match(text) and not any(pattern.search(text) for pattern in _SYMPTOMS):
            yield _short(f"{text} (said by {speaker})" if speaker else text)


def last_words(lines: Sequence[str]) -> str:
    """The newest line with words in it; "" for none."""
    for speaker, text in _spoken(reversed(lines)):
        if re.search(r"[A-Za-z]{3}", text):
            return f"{speaker}: {text}" if speaker else text
    return ""


def never_started(lines: Iterable[str]) -> bool:
    """Whether Ray gave up starting itself, which it does after 30 s on a busy machine."""
    return any("node timed out during startup" in line for line in lines)


def _spoken(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        plain = _COLOUR.sub("", line).rstrip()
        match = _SPEAKER.match(plain)
        speaker = match[0].strip("() \t").split(" ")[0] if match else ""
        if speaker.startswith("pid="):
            speaker = "a worker"
        yield speaker, (plain[match.end() :] if match else plain).strip()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
