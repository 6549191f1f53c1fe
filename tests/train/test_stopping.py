"""The first signal ends a run after its step, the second at once."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from oneshot_rlvr.train.stopping import StopNow, StoppedSampling, Stopping


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_in_a_step_waits_and_the_second_does_not(number, capfd):
    stopping = Stopping()
    with stopping.listening(), stopping.step():
        send(number)
        assert stopping.asked
        with pytest.raises(StopNow):
            send(number)
    told = capfd.readouterr().err
    assert told == (
        f"{number.name}: stopping after this step. Once more stops at once, and loses the step.\n"
    )


def test_work_that_cannot_wait_for_a_step_says_what_it_does_instead(capfd):
    stopping = Stopping()
    with stopping.listening(), stopping.step("stopping verl"):
        send(signal.SIGINT)
    assert capfd.readouterr().err == "SIGINT: stopping verl\n"


def test_a_signal_between_steps_stops_at_once():
    stopping = Stopping()
    with stopping.listening():
        with stopping.step():
            pass
        with pytest.raises(StopNow):
            send(signal.SIGTERM)
    assert not stopping.asked


def test_a_step_that_fails_is_over():
    stopping = Stopping()
    with stopping.listening():
        with pytest.raises(ValueError, match="bad"), stopping.step():
            raise ValueError("bad")
        with pytest.raises(StopNow):
            send(signal.SIGINT)


def test_handlers_are_given_back_and_ignored_signals_stay_ignored():
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        stopping = Stopping()
        with stopping.listening(), stopping.step():
            assert signal.getsignal(signal.SIGINT) == stopping._receive
            send(signal.SIGHUP)
            assert not stopping.asked
        assert signal.getsignal(signal.SIGINT) == before
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, hangup)


def test_outside_the_main_thread_it_only_can_be_asked():
    stopping, seen = Stopping(), []

    def work() -> None:
        with stopping.listening(), stopping.step():
            stopping.ask()
            seen.append(stopping.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=120)
    assert seen == [True]


def test_a_signal_breaks_a_steps_sampling_off_at_once(capfd):
    stopping = Stopping()
    with stopping.listening(), stopping.step():
        with pytest.raises(StoppedSampling), stopping.sampling():
            send(signal.SIGTERM)
        assert stopping.asked
    assert "sampling is broken off" in capfd.readouterr().err
    with stopping.step(), pytest.raises(StoppedSampling), stopping.sampling():
        raise AssertionError("asked before: no more is sampled")
