"""Values that change nothing, sent for what a request leaves open, and which a server takes.

Servers fill what is missing from the model's generation_config.json: a top_p, a top_k, a repetition
penalty, under which "greedy" is not greedy. So all is sent; where a server refuses a field that it
does not know, the extensions of the protocol are left out first, then the rest. Not here: requests
(endpoint.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

EXTENSIONS: Mapping[str, Any] = {
    "top_k": -1,  # of vLLM, SGLang and llama.cpp, as the next two; -1 means all tokens
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,  # llama.cpp's name of it
}
STANDARD: Mapping[str, Any] = {"top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
NEUTRAL: tuple[Mapping[str, Any], ...] = ({**STANDARD, **EXTENSIONS}, STANDARD, {})
"""Values that change nothing, tried in this order until a server takes them."""
UNTAKEN = ("http_400", "http_422")  # how a server says that it does not know a field


class Taken:
    """Which of NEUTRAL a server takes: `level`, once an answer has proven it. Threads share it."""

    def __init__(self) -> None:
        self.level, self.proven, self._lock = 0, False, threading.Lock()

    def settles(self, level: int) -> bool:
        """Whether a refusal at a level is of the request itself."""
        with self._lock:
            return self.proven and level >= self.level

    def answered(self, level: int) -> bool:
        """An answer came at a level; whether that is less than was thought to be taken."""
        with self._lock:
            less, self.proven = level > self.level, True
            self.level = max(self.level, level)
            return less
