"""Lanes: threads that each own some cores, for work made of many small tensor operations.

torch splits one operation over its threads and waits for all of them at its end: for operations of
microseconds the waiting is most of the time, and on a busy machine one late thread holds up the
other. A lane runs a whole share of the rows with its own cores instead. Operations release Python's
lock while they compute, so lanes run side by side.

Shares are fixed before they start and results are taken in their order, so nothing depends on
which lane is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_WORTH_MEETING = 2e9  # floating-point operations: some hundredths of a second of one core
# Compiled passes hold Python's lock for little; beyond this what lies between them would be waited
# for, and every lane has gradients of its own.
_MOST = 16

Share = TypeVar("Share")
Result = TypeVar("Result")


def lane_count(device: torch.device) -> int:
    """One for every thread torch has, within reason; a device with its own queue needs one."""
    return max(1, min(_MOST, torch.get_num_threads())) if device.type == "cpu" else 1


@contextmanager
def threads_for(operations: float, device: torch.device) -> Iterator[None]:
    """All of torch's threads inside, or one where there is too little to do for them to meet."""
    threads = torch.get_num_threads()
    alone = device.type == "cpu" and operations < _WORTH_MEETING
    try:
        torch.set_num_threads(1 if alone else threads)
        yield
    finally:
        torch.set_num_threads(threads)


def in_lanes(work: Callable[[Share], Result], shares: Sequence[Share]) -> list[Result]:
    """`work` of every share, each in a lane of its own, in the order of the shares.

    Threads, inference, gradient and autocast mode are the caller's, threads divided by lanes.
    """
    if len(shares) <= 1:
        return [work(share) for share in shares]
    threads = torch.get_num_threads()
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    mixed, mixed_type = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def lane(share: Share) -> Result:
        torch.set_num_threads(max(1, threads // len(shares)))
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(gradients),
            torch.autocast("cpu", mixed_type, enabled=mixed),
        ):
            return work(share)

    try:
        with ThreadPoolExecutor(len(shares), thread_name_prefix="lane") as pool:
            return list(pool.map(lane, shares))
    finally:
        torch.set_num_threads(threads)  # what a lane sets is also the default of new threads


def share_out(sizes: Sequence[int], lanes: int) -> list[list[int]]:
    """Things of these sizes (by number) for at most so many lanes, about equal in sum.

    The largest first, each to the lane with least so far. Deterministic; no lane is empty.
    """
    lanes = min(lanes, len(sizes))
    loads, dealt = [0] * lanes, [[] for _ in range(lanes)]  # type: tuple[list[int], list[list[int]]]
    for number in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        lane = min(range(lanes), key=lambda x: (loads[x], len(dealt[x])))
        loads[lane] += sizes[number]
        dealt[lane].append(number)
    return dealt
