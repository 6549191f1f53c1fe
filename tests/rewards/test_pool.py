import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from oneshot_rlvr.errors import DataError, GraderError
from oneshot_rlvr.rewards.pool import Cancelled, Pool
from oneshot_rlvr.types import Example, Reason

ENDLESS = "9^{9^{9^{9^{9}}}}"  # one C call that never returns and never frees the interpreter
ROOT = Example("root", "q", r"\sqrt{2}")
PATIENCE = 60.0  # seconds, of what ends by itself: only on an endless text is a deadline waited for


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left_behind():
    before = _children()
    yield
    _soon(lambda: _children() <= before)


def _children():
    return {p.pid for p in psutil.Process().children(recursive=True)}


def _soon(holds):
    """Waits until it holds: what the kernel does on its own takes a while on a busy machine."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def custom(tmp_path, monkeypatch, body):
    """An example whose verifier is a function of our own, importable in a grading process."""
    name = f"grader_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(body), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Example("own", "q", "gold", "custom", extra={"function": f"{name}:grade"})


def test_an_endless_comparison_ends_at_the_deadline_and_its_worker_is_replaced():
    pool = Pool(1, timeout_seconds=4.0)
    pool.run([(r"2^{1/2}", ROOT)])  # warm: the imports are not the text's fault
    (first,) = pool.pids()
    start = time.monotonic()
    verdicts = pool.run([(ENDLESS, ROOT), (r"2^{1/2}", ROOT)])
    assert time.monotonic() - start < 4.0 + PATIENCE
    assert [v.reason for v in verdicts] == [Reason.TIMEOUT, Reason.CORRECT]
    assert first not in pool.pids()
    assert not psutil.pid_exists(first)
    pool.close()
    assert pool.pids() == []


def test_a_worker_that_dies_is_replaced_and_its_text_tried_once_more(tmp_path, monkeypatch):
    marker = tmp_path / "died"
    example = custom(
        tmp_path,
        monkeypatch,
        f"""
        import os
        def grade(text, example):
            if text == "always":
                os._exit(3)
            if text == "once" and not os.path.exists({str(marker)!r}):
                open({str(marker)!r}, "w").close()
                os._exit(3)
            return text == "right"
        """,
    )
    pool = Pool(2, timeout_seconds=PATIENCE)
    texts = ["right", "once", "always", "wrong", "right"]
    verdicts = pool.run([(text, example) for text in texts])
    pool.close()
    reasons = [Reason.CORRECT, Reason.MISMATCH, Reason.CRASH, Reason.MISMATCH, Reason.CORRECT]
    assert [v.reason for v in verdicts] == reasons


def test_a_text_that_bloats_its_worker_is_memory_and_harms_no_other(tmp_path, monkeypatch):
    example = custom(
        tmp_path,
        monkeypatch,
        """
        def grade(text, example):
            if text == "bloat":
                return len(bytearray(8 << 30)) == 0
            return True
        """,
    )
    pool = Pool(1, timeout_seconds=PATIENCE, memory_bytes=1 << 30)
    verdicts = pool.run([(t, example) for t in ("fine", "bloat", "fine")])
    pool.close()
    assert [v.reason for v in verdicts] == [Reason.CORRECT, Reason.MEMORY, Reason.CORRECT]


def test_a_fault_of_the_verifier_is_raised_and_never_a_verdict(tmp_path, monkeypatch):
    example = custom(tmp_path, monkeypatch, "def grade(text, example):\n    return 1 / 0")
    pool = Pool(1, timeout_seconds=PATIENCE)
    with pytest.raises(GraderError, match=r"'own'.*ZeroDivisionError"):
        pool.run([("x", example)])
    pool.close()


def test_a_gold_without_meaning_is_raised_from_a_worker_too():
    pool = Pool(1, timeout_seconds=PATIENCE)
    with pytest.raises(DataError, match="@@@"):
        pool.run([("1+1", Example("x", "q", "@@@"))])
    pool.close()


def test_what_a_verifier_prints_does_not_disturb_the_answers(tmp_path, monkeypatch):
    example = custom(
        tmp_path,
        monkeypatch,
        """
        import os, sys
        def grade(text, example):
            print("noise"); os.write(1, b'{"correct": false}'); sys.stdout.flush()
            return True
        """,
    )
    pool = Pool(1, timeout_seconds=PATIENCE)
    assert pool.run([("x", example)])[0].correct
    pool.close()


def test_many_tasks_over_two_workers_keep_their_order():
    pool = Pool(2, timeout_seconds=PATIENCE)
    tasks = [(f"{n}+0", Example(str(n), "q", str(n if n % 3 else n + 1))) for n in range(60)]
    verdicts = pool.run(tasks)
    pool.close()
    assert [v.correct for v in verdicts] == [bool(n % 3) for n in range(60)]
    assert [v.extracted for v in verdicts] == [f"{n}+0" for n in range(60)]


def test_any_thread_may_grade_and_another_may_cancel():
    pool = Pool(1, timeout_seconds=600.0)
    pool.run([("1+1", ROOT)])
    caught = []

    def grade():
        try:
            pool.run([(ENDLESS, ROOT)])
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=grade)
    thread.start()
    _soon(lambda: pool._workers[0].task is not None)  # in the batch that is to be cancelled
    pool.cancel()
    thread.join(timeout=PATIENCE)
    assert not thread.is_alive()
    assert len(caught) == 1
    assert pool.run([(r"2^{1/2}", ROOT)])[0].correct  # it works again afterwards
    pool.close()


SCRIPT = """
import os, sys, time
from oneshot_rlvr.rewards.pool import Pool
from oneshot_rlvr.types import Example
pool = Pool(2, timeout_seconds=600.0)
example = Example("x", "q", r"\\sqrt{2}")
pool.run([("1+1", example), ("1+2", example)])
print(*pool.pids(), flush=True)
pool.run([(sys.argv[1], example), (sys.argv[1] + "+1", example)])
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent_however_it_ends(ending):
    # Without a __main__ guard and not a file: what multiprocessing's spawn could not do.
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    below = [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    spent = {pid: _processor_seconds(pid) for pid in pids}
    _soon(lambda: all(_processor_seconds(pid) > spent[pid] + 0.2 for pid in pids))  # both at it
    os.kill(parent.pid, ending)
    parent.wait(timeout=PATIENCE)
    parent.stdout.close()
    _soon(lambda: not any(map(_alive, [*pids, *below])))


def _processor_seconds(pid):
    guard = psutil.Process(pid)
    return sum(sum(p.cpu_times()[:2]) for p in (guard, *guard.children(recursive=True)))


def _alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_fork_of_the_owner_has_workers_of_its_own():
    pool = Pool(1, timeout_seconds=60.0)
    pool.run([("1+1", ROOT)])
    (mine,) = pool.pids()
    child = os.fork()
    if child == 0:
        good = pool.run([(r"2^{1/2}", ROOT)])[0].correct and mine not in pool.pids()
        pool.close()
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.pids() == [mine]
    assert pool.run([(r"2^{1/2}", ROOT)])[0].correct
    pool.close()


def test_grading_works_inside_a_daemonic_process():
    # As in Ray's workers: multiprocessing refuses children to a daemonic process.
    code = """
import multiprocessing
def work(queue):
    from oneshot_rlvr.rewards.pool import Pool
    from oneshot_rlvr.types import Example
    pool = Pool(1, timeout_seconds=60.0)
    queue.put(pool.run([("1+1", Example("x", "q", "2"))])[0].correct)
    pool.close()
if __name__ == "__main__":
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=work, args=(queue,), daemon=True)
    process.start(); print(queue.get()); process.join()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert result.stdout.strip() == "True"


BROKEN = {
    "exits": "raise SystemExit(1)",
    "raises what is no Exception": "raise KeyboardInterrupt",
    "ends its process": "os._exit(0)",
    "kills its process": "os.kill(os.getpid(), 9)",
    "never ends": "time.sleep(1000)",
    "has no bottom": "return grade(text, example)",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_verifier_that_gives_no_verdict_on_any_text_is_broken_and_no_wrong_answer(
    tmp_path, monkeypatch, body
):
    code = f"import os, time\n\ndef grade(text, example):\n    {body}"
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(2, timeout_seconds=1.0 if "sleep" in body else PATIENCE)
    with pytest.raises(GraderError, match=r"'own'"):
        pool.run([(f"text {n}", example) for n in range(24)])
    pool.close()


@pytest.mark.parametrize("raised", ["SystemExit(0)", "KeyboardInterrupt"])
def test_what_is_no_exception_is_a_broken_grader_at_the_first_text(tmp_path, monkeypatch, raised):
    example = custom(tmp_path, monkeypatch, f"def grade(text, example):\n    raise {raised}")
    pool = Pool(1, timeout_seconds=PATIENCE)
    with pytest.raises(GraderError, match=raised.split("(")[0]):
        pool.run([("x", example)])
    pool.close()


def test_a_verifier_that_ends_its_process_on_some_texts_is_broken_at_the_third(
    tmp_path, monkeypatch
):
    code = """
        import os
        def grade(text, example):
            return text == "right" or os._exit(7)
        """
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(1, timeout_seconds=PATIENCE)
    two = pool.run([(text, example) for text in ("right", "a", "b")])
    assert [v.reason for v in two] == [Reason.CORRECT, Reason.CRASH, Reason.CRASH]
    with pytest.raises(GraderError, match=r"exit code 7\): 3 texts"):  # counted over batches
        pool.run([(text, example) for text in ("right", "c")])
    pool.close()


def test_texts_that_kill_a_sound_verifier_stay_wrong_answers_however_many(tmp_path, monkeypatch):
    code = """
        import os, signal
        def grade(text, example):
            if text.startswith("kill"):
                os.kill(os.getpid(), signal.SIGSEGV)
            return text == "\\\\boxed{gold}"
        """
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(2, timeout_seconds=PATIENCE)
    verdicts = pool.run([(f"kill {n}", example) for n in range(5)])
    assert [v.reason for v in verdicts] == [Reason.CRASH] * 5
    assert len(verdicts) == 5  # the gold, which was asked between them, is nobody's answer
    pool.close()


def test_a_verifier_that_forks_gives_every_text_its_own_verdict(tmp_path, monkeypatch):
    code = """
        import os, random, time
        def grade(text, example):
            child = os.fork() == 0
            if child and random.random() < 0.3:
                raise SystemExit
            time.sleep(random.random() / 50)
            return text.endswith("right") != child
        """
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(2, timeout_seconds=PATIENCE)
    texts = [f"{n} {'right' if n % 3 else 'wrong'}" for n in range(60)]
    verdicts = pool.run([(text, example) for text in texts])
    assert [v.correct for v in verdicts] == [bool(n % 3) for n in range(60)]
    assert [v.extracted for v in verdicts] == texts
    pool.close()


def test_an_answer_to_a_task_that_is_over_is_nobody_s(tmp_path, monkeypatch):
    """A fork that takes itself for the worker answers late: while the next text is compared."""
    code = f"""
        import os, pathlib, time
        folder = pathlib.Path({str(tmp_path)!r})
        def wait_for(name):
            for _ in range(6000):
                if (folder / name).exists():
                    return
                time.sleep(0.01)
        def grade(text, example):
            number, worker = int(text), os.getpid()
            (folder / f"compared {{number}}").touch()
            if os.fork() == 0:
                os.getpid = lambda: worker
                wait_for(f"compared {{number + 1}}")
                (folder / f"late {{number}}").touch()
                return False
            if number:
                wait_for(f"late {{number - 1}}")
                time.sleep(0.3)
            return True
        """
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(1, timeout_seconds=PATIENCE)
    verdicts = pool.run([(str(number), example) for number in range(4)])
    pool.close()
    assert (tmp_path / "late 2").exists()
    assert [(v.correct, v.extracted) for v in verdicts] == [(True, str(n)) for n in range(4)]


@pytest.mark.parametrize("ending", ["close", "death of the worker", "death of the parent"])
def test_what_a_verifier_has_started_dies_with_the_pool(tmp_path, monkeypatch, ending):
    code = f"""
        import os, subprocess
        def grade(text, example):
            started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            with open({str(tmp_path / "pids")!r}, "a") as file:
                print(started.pid, file=file)
            if os.fork() == 0:
                os.setsid()
                with open({str(tmp_path / "pids")!r}, "a") as file:
                    print(os.getpid(), file=file)
                os.execvp("sleep", ["sleep", "1000"])
            if text == "die":
                os.kill(os.getpid(), 9)
            return True
        """
    example = custom(tmp_path, monkeypatch, code)
    if ending == "death of the parent":
        child = os.fork()
        if child == 0:
            Pool(1, timeout_seconds=PATIENCE).run([("x", example)])
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
    else:
        pool = Pool(1, timeout_seconds=PATIENCE)
        pool.run([("die" if ending == "death of the worker" else "x", example)])
        pool.close()
    _soon(lambda: (tmp_path / "pids").exists())
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert pids
    _soon(lambda: not any(map(_alive, pids)))


@pytest.mark.parametrize(
    "returned",
    [
        "Verdict(True, Reason.MISMATCH)",
        "Verdict(False, Reason.CORRECT)",
        "Verdict(numpy.bool_(False), Reason.MISMATCH)",
        "Verdict(False, 'no reason')",
        "numpy.array([False, True])",
    ],
)
def test_a_verdict_that_contradicts_itself_is_a_broken_grader(tmp_path, monkeypatch, returned):
    code = f"""
        import numpy
        from oneshot_rlvr.types import Reason, Verdict
        def grade(text, example):
            return {returned}
        """
    example = custom(tmp_path, monkeypatch, code)
    pool = Pool(1, timeout_seconds=PATIENCE)
    with pytest.raises(GraderError, match=r"wanted True|contradicts itself"):
        pool.run([("x", example)])
    pool.close()
