"""What two sandboxed processes say to each other: length-prefixed JSON of plain Python values.

Standard library only: its code travels into the sandbox, where this package is not.
Only values of exact built-in types cross over; a subclass crosses as its built-in value, and
anything else as a handle to an object that stays where it is. So nothing that model code defines,
an `__eq__` least of all, ever runs where results are compared.
"""

from __future__ import annotations

import collections
import importlib
import json
import os
import struct
import sys

TYPE_CHECKING = False  # typing takes longer to import than most tests to run
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_MESSAGE_BYTES = 16 << 20
MAX_DEPTH = 60


class Closed(BaseException):  # not an Exception: tests that expect one must not swallow it
    """The other side is gone."""


def send(fd: int, message: Any) -> None:
    """Write one message. ValueError where it is too long."""
    data = json.dumps(message).encode("ascii")
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError("the value is too large to hand over")
    data = struct.pack(">I", len(data)) + data
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:
            raise Closed from None


def receive(fd: int) -> Any:
    """Read one message. Closed at the end of the stream; ValueError for no message of ours."""
    (length,) = struct.unpack(">I", _exactly(fd, 4))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError("the value is too large to hand over")
    return json.loads(_exactly(fd, length))


def _exactly(fd: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        try:
            piece = os.read(fd, count - len(data))
        except OSError:
            piece = b""
        if not piece:
            raise Closed
        data += piece
    return bytes(data)


def encode(value: Any, handle: Callable[[Any], Any], depth: int = 0) -> Any:
    """A value as JSON: itself for None, bool, int, float, str; else [tag, content]."""
    if depth > MAX_DEPTH:
        raise ValueError("the value is nested too deep to hand over")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__add__(value, 0.0)

    def all_of(values: Any) -> list[Any]:
        return [encode(v, handle, depth + 1) for v in values]

    if isinstance(value, list):
        return ["list", all_of(list.__iter__(value))]
    if isinstance(value, tuple):
        return ["tuple", all_of(tuple.__iter__(value))]
    if isinstance(value, dict):
        return ["dict", [all_of(pair) for pair in dict.items(value)]]
    if isinstance(value, (set, frozenset)):
        if isinstance(value, set):
            return ["set", all_of(set.__iter__(value))]
        return ["frozenset", all_of(frozenset.__iter__(value))]
    if isinstance(value, (bytes, bytearray)):
        return ["bytearray" if isinstance(value, bytearray) else "bytes", bytes(value).hex()]
    if type(value) is complex:
        return ["complex", [value.real, value.imag]]
    if type(value) is _known("decimal", "Decimal"):
        return ["Decimal", str(value)]
    if type(value) is _known("fractions", "Fraction"):
        return ["Fraction", [value.numerator, value.denominator]]
    if type(value) is collections.deque:
        return ["deque", all_of(value)]
    if type(value) is range:
        return ["range", [value.start, value.stop, value.step]]
    return handle(value)


def _known(module: str, name: str) -> Any:
    """A class of a module that is slow to import, if anybody has imported it."""
    return getattr(sys.modules.get(module), name, _known)


def decode(message: Any, handle: Callable[[Any], Any]) -> Any:
    """The value that `encode` gave; ["handle", x] becomes handle(x)."""
    if not isinstance(message, list):
        return message
    tag, content = message
    if tag == "handle":
        return handle(content)
    if tag == "dict":
        return {decode(k, handle): decode(v, handle) for k, v in content}
    if tag in ("bytes", "bytearray"):
        data = bytes.fromhex(content)
        return data if tag == "bytes" else bytearray(data)
    if tag == "complex":
        return complex(*content)
    if tag == "Decimal":
        return importlib.import_module("decimal").Decimal(content)
    if tag == "Fraction":
        return importlib.import_module("fractions").Fraction(*content)
    if tag == "range":
        return range(*content)
    values = [decode(v, handle) for v in content]
    kinds = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": collections.deque}
    return values if tag == "list" else kinds[tag](values)
