"""Lanes: fixed shares, results in order, the caller's modes and threads."""

import threading

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from oneshot_rlvr.policy.lanes import in_lanes, lane_count, share_out


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20), lanes=st.integers(1, 5))
@example(sizes=[0, 0], lanes=2)
def test_everything_is_dealt_once_and_about_evenly(sizes, lanes):
    dealt = share_out(sizes, lanes)
    assert sorted(n for lane in dealt for n in lane) == list(range(len(sizes)))
    assert 0 < len(dealt) <= lanes
    assert all(dealt)
    loads = [sum(sizes[n] for n in lane) for lane in dealt]
    assert max(loads) - min(loads) <= max(sizes)


def test_nothing_is_dealt_to_nobody():
    assert share_out([], 3) == []


def test_results_come_in_the_order_of_the_shares_however_long_each_takes(two_threads):
    second_is_done = threading.Event()

    def work(share):
        if share == 1:
            second_is_done.set()
        elif not second_is_done.wait(120):
            raise TimeoutError("the lanes do not run side by side")
        return share * 10

    assert in_lanes(work, [0, 1]) == [0, 10]


def test_lanes_have_the_callers_modes_and_divide_its_threads(two_threads):
    def modes(_):
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads()

    assert in_lanes(modes, [0, 1]) == [(False, True, 1)] * 2
    with torch.no_grad():
        assert in_lanes(modes, [0, 1]) == [(False, False, 1)] * 2
    with torch.inference_mode():
        assert in_lanes(modes, [0, 1]) == [(True, False, 1)] * 2
    assert torch.get_num_threads() == 2


def test_an_error_in_a_lane_reaches_the_caller_and_threads_are_put_back(two_threads):
    def work(share):
        if share:
            raise ValueError("lane 1")
        return share

    with pytest.raises(ValueError, match="lane 1"):
        in_lanes(work, [0, 1])
    assert torch.get_num_threads() == 2


def test_there_is_a_lane_for_every_thread_and_one_on_a_device(two_threads):
    assert lane_count(torch.device("cpu")) == 2
    assert lane_count(torch.device("cuda")) == 1
