"""A benchmark asked of a server that errs, stalls and babbles: counted, retried, never a zero."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import ConfigError, EndpointError, RecordsError, RunError
from oneshot_rlvr.evaluation import Benchmark, exchange
from oneshot_rlvr.evaluation import endpoint as endpoints
from oneshot_rlvr.evaluation.endpoint import Endpoint, endpoint_from
from oneshot_rlvr.evaluation.journal import Journal, Reply
from oneshot_rlvr.evaluation.served import evaluate_served, probe_served
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example
from oneshot_testing import files_of_at_most

EXAMPLES = [
    Example(id=f"e{i}", question=f"What is {i}?", answer=str(i), verifier="numeric")
    for i in range(6)
]
BENCHMARK = Benchmark("six", EXAMPLES)


def endpoint(server, **options):
    settings = {"retries": 2, "first_pause_seconds": 0.01, "timeout_seconds": 60.0} | options
    return Endpoint(server.url, "served", **settings)


class Counting(Scorer):
    """Counts the texts that it is asked to grade."""

    graded = 0

    def grade_texts(self, texts, examples):
        self.graded += len(texts)
        return super().grade_texts(texts, examples)


def run(
    server, tmp_path, *, samples=1, temperature=0.0, benchmark=BENCHMARK, scorer=None, **options
):
    config = BenchmarkConfig(benchmark="file", samples=samples, temperature=temperature, seed=1)
    chat_template = options.pop("chat_template", "auto")
    with scorer or Scorer(RewardConfig(workers=0), seed=0) as grader:
        return evaluate_served(
            endpoint(server, **options), grader, benchmark, config,
            max_new_tokens=9, journal=tmp_path / "j.jsonl", chat_template=chat_template,
        )  # fmt: skip


def number(body):
    text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return int(text.split()[2].rstrip("?"))


def right(body, before):
    return f"\\boxed{{{number(body)}}}"


def test_a_server_s_answers_are_graded_as_an_engine_s(servers, tmp_path):
    with servers.serving(lambda b, n: "\\boxed{3}") as server:
        result = run(server, tmp_path)
    assert [s["correct"] for s in result.samples] == [i == 3 for i in range(6)]
    assert result.summary["overall"]["reasons"] == {"correct": 1, "mismatch": 5}
    assert result.summary["overall"]["tokens_mean"] == 3
    assert result.failures == {}
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("served", 0.0, 9)


def test_samples_of_a_question_are_asked_with_seeds_of_their_own(servers, tmp_path):
    with servers.serving(right) as server:
        result = run(server, tmp_path, samples=4, temperature=0.6)
    assert len({body["seed"] for body in server.bodies}) == 24
    assert [(s["example_id"], s["sample"]) for s in result.samples] == [
        (f"e{q}", k) for q in range(6) for k in range(4)
    ]
    assert result.summary["samples"] == 4
    assert result.summary["overall"]["pass_at_k"]["4"]["value"] == 1.0


def test_as_many_requests_as_allowed_run_at_once_and_no_more(servers, tmp_path):
    together = threading.Barrier(3)

    def behave(body, before):
        together.wait(timeout=60)  # answers only when three are here
        return right(body, before)

    with servers.serving(behave) as server:
        run(server, tmp_path, concurrency=3)
    assert server.most_open == 3


TROUBLE = {
    "429": ("status", 429, {}),
    "500": ("status", 500, {}),
    "garbage": ("raw", b"<html>busy</html>"),
    "no choices": ("raw", b'{"choices": []}'),
    "a list": ("raw", b"[1, 2]"),
    "no text": {"text": None},
    "truncated": ("short", b'{"choices": [{"mess'),
}


@pytest.mark.parametrize("trouble", list(TROUBLE))
def test_trouble_that_passes_is_retried_and_leaves_no_trace(servers, tmp_path, trouble):
    with servers.serving(lambda b, n: TROUBLE[trouble] if n < 2 else right(b, n)) as server:
        result = run(server, tmp_path)
    assert result.summary["overall"]["accuracy"]["value"] == 1.0
    assert result.failures == {}
    assert len(server.bodies) == 18


REASONS = {
    "429": "http_429", "500": "http_500", "garbage": "garbage", "no choices": "garbage",
    "a list": "garbage", "no text": "garbage", "truncated": "cut_off",
}  # fmt: skip


@pytest.mark.parametrize("trouble", list(TROUBLE))
def test_trouble_that_stays_is_counted_and_is_no_wrong_answer(servers, tmp_path, trouble):
    with servers.serving(
        lambda b, n: TROUBLE[trouble] if number(b) == 2 else right(b, n)
    ) as server:
        result = run(server, tmp_path)
    assert result.failures == {REASONS[trouble]: 1}
    assert result.summary["missing"] == {REASONS[trouble]: 1}
    assert [s["example_id"] for s in result.samples] == ["e0", "e1", "e3", "e4", "e5"]
    assert result.summary["overall"]["accuracy"]["value"] == 1.0
    assert result.summary["overall"]["questions"] == 5


def test_a_timeout_is_counted_and_asked_again_by_the_next_call(servers, tmp_path):
    over = threading.Event()

    def behave(body, before):
        if number(body) == 2:
            over.wait(120)
        return right(body, before)

    with servers.serving(behave) as server:
        result = run(server, tmp_path, timeout_seconds=4.0, retries=0)
        late = result.failures["timeout"]  # on a busy machine more than the one
        assert result.failures == {"timeout": late}
        assert "e2" not in {s["example_id"] for s in result.samples}
        assert len(result.samples) == 6 - late
        over.set()
        ends = time.monotonic() + 60
        while len(server.bodies) < 6:  # one that was late may still be on its way
            assert time.monotonic() < ends
            time.sleep(0.01)
        again = run(server, tmp_path)
    assert again.failures == {}
    assert len(again.samples) == 6
    assert len(server.bodies) - 6 == late  # only what was missing


def test_a_request_that_cannot_pass_is_not_retried(servers, tmp_path):
    bad = ("status", 400, {})
    with servers.serving(lambda b, n: bad if number(b) == 2 else right(b, n)) as server:
        result = run(server, tmp_path, concurrency=1)  # the first answer proves what it takes
    assert result.failures == {"http_400": 1}
    assert result.summary["missing_said"] == 'HTTP 400: {"error": {"message": "no"}}'
    assert len(server.bodies) == 6


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_server_that_refuses_every_request_is_one_error_in_its_words_at_once(
    servers, tmp_path, status
):
    with servers.serving(lambda b, n: ("status", status, {})) as server:
        with pytest.raises(EndpointError) as caught:
            run(server, tmp_path, concurrency=2, retries=5, first_pause_seconds=30.0)
        assert set(server.seen.values()) == {1}  # nobody was asked twice
        asked = {number(body) for body in server.bodies}
        assert len(asked) <= 4
        # Not for a field either: with every neutral value, with the standard's, with none.
        ways = 1 if status == 413 else 3
        assert len(server.bodies) <= ways * len(asked)
    # Two are asked at a time; a third may have been answered before the first two were read.
    assert re.search(
        rf"refused the first ([2-4]) requests \(http_{status} \1\), which no retry mends",
        str(caught.value),
    )
    assert '{"error": {"message": "no"}}' in str(caught.value)
    assert "retries" not in str(caught.value)


SAMPLING = {"top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
MORE = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}


def told(result):
    """What the summary says was sent, beside what every request holds."""
    (sent,) = result.summary["sent"]
    assert sent.pop("temperature") == 0.0
    assert sent.pop("max_tokens") == 9
    return sent


def test_what_a_request_leaves_open_is_sent_as_values_that_change_nothing(servers, tmp_path):
    """Servers fill it from the model's generation_config.json, and greedy is not greedy."""
    with servers.serving(right) as server:
        result = run(server, tmp_path)
    assert len(server.bodies) == 6
    for body in server.bodies:
        assert body.items() >= {**SAMPLING, **MORE}.items()
    assert told(result) == {"answers": 6, **SAMPLING, **MORE}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("unknown", "taken"), [("repetition_penalty", SAMPLING), ("presence_penalty", {})]
)
def test_a_server_is_not_sent_again_what_it_does_not_know(
    servers, tmp_path, caplog, unknown, taken, status
):
    def strict(body, before):
        return ("status", status, {}) if unknown in body else right(body, before)

    with servers.serving(strict) as server:
        result = run(server, tmp_path, concurrency=1)
        refused = [body for body in server.bodies if unknown in body]
    assert result.failures == {}
    assert result.summary["overall"]["accuracy"]["value"] == 1.0
    assert len(refused) == (1 if taken else 2)  # the first question alone
    assert len(server.bodies) == 6 + len(refused)
    assert told(result) == {"answers": 6, **taken}
    assert f"does not take {'top_k' if taken else 'top_p'}" in caplog.text
    assert caplog.text.count("does not take") == 1


def test_a_refusal_that_comes_after_another_s_answer_is_still_one_of_a_field(servers, tmp_path):
    def strict(body, before):
        if "top_k" not in body:
            return right(body, before)
        time.sleep(0.1 * number(body))  # the last is refused when the first has its answer
        return ("status", 422, {})

    with servers.serving(strict) as server:
        result = run(server, tmp_path, concurrency=6)
    assert result.failures == {}
    assert len(result.samples) == 6


def test_what_was_sent_is_known_when_the_answers_come_from_the_journal(servers, tmp_path):
    def strict(body, before):
        return ("status", 422, {}) if "top_k" in body else right(body, before)

    with servers.serving(strict) as server:
        run(server, tmp_path)
        asked = len(server.bodies)
        again = run(server, tmp_path)
        assert len(server.bodies) == asked
    assert told(again) == {"answers": 6, **SAMPLING}


def test_retry_after_is_obeyed(servers, tmp_path):
    busy = ("status", 429, {"Retry-After": "1"})
    one = Benchmark("one", EXAMPLES[:1])
    with servers.serving(lambda b, n: busy if n == 0 else right(b, n)) as server:
        started = time.monotonic()
        run(server, tmp_path, benchmark=one)
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_ends_at_once_with_one_error(servers, tmp_path, status):
    with (
        servers.serving(lambda b, n: ("status", status, {})) as server,
        pytest.raises(EndpointError, match=rf"cannot be used: HTTP {status}"),
    ):
        run(server, tmp_path, concurrency=2)
    assert len(server.bodies) <= 4


def test_a_server_that_never_answers_is_one_error_and_not_a_score_of_zero(servers, tmp_path):
    with (
        servers.serving(lambda b, n: ("status", 503, {})) as server,
        pytest.raises(
            EndpointError, match=r"gave no answer: .* \(http_503 \d\), each asked up to 3 times"
        ),
    ):
        run(server, tmp_path, concurrency=2)
    with socket.socket() as nobody:  # bound, so that nobody else listens there, and not listening
        nobody.bind(("127.0.0.1", 0))
        gone = servers.Server(nobody.getsockname()[1])
        with pytest.raises(EndpointError, match="unreachable"):
            run(gone, tmp_path, retries=0)


@pytest.fixture
def silent(servers):
    """A server that takes connections and then says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield servers.Server(listening.getsockname()[1])


def test_a_server_that_takes_connections_and_says_nothing_is_given_up_in_minutes(
    silent, tmp_path, monkeypatch
):
    default = Endpoint("u", "m")
    assert default.patience_seconds + endpoints.LIST_SECONDS < 300 < default.timeout_seconds
    monkeypatch.setattr(endpoints, "LIST_SECONDS", 0.3)
    with pytest.raises(EndpointError, match=r"3 requests have waited for 0.3 s.*--patience"):
        run(silent, tmp_path, concurrency=3, retries=5, patience_seconds=0.3)
    hanging = [thread for thread in threading.enumerate() if thread.name == "endpoint"]
    assert hanging  # they are in a read of 60 s, for which the end of the process must not wait
    assert all(thread.daemon for thread in hanging)


def test_a_slow_model_is_no_dead_server(servers, tmp_path):
    def slow(body, before):
        time.sleep(0.5)
        return right(body, before)

    with servers.serving(slow) as server:
        result = run(server, tmp_path, concurrency=1, retries=0, patience_seconds=0.05)
    assert not result.failures
    assert result.summary["overall"]["accuracy"]["value"] == 1.0


def test_what_came_before_the_silence_is_kept(servers, tmp_path, monkeypatch):
    over = threading.Event()

    def stops(body, before):
        if number(body) >= 2:
            over.wait(60)
        return right(body, before)

    with servers.serving(stops) as server:
        monkeypatch.setattr(endpoints, "alive", lambda endpoint: False)
        with pytest.raises(EndpointError, match="is silent: 1 requests"):
            run(server, tmp_path, concurrency=1, patience_seconds=2.0)
        over.set()
        assert len(server.bodies) == 3
        asked = len(server.bodies)
        run(server, tmp_path)
        assert len(server.bodies) - asked == 4


def test_before_any_answer_a_timeout_is_not_asked_again_and_after_one_once(servers, tmp_path):
    over = threading.Event()

    def never(body, before):
        if number(body) > 0:
            over.wait(60)
        return right(body, before)

    with servers.serving(never) as server:
        hard = {"concurrency": 1, "retries": 5, "timeout_seconds": 1.0, "patience_seconds": 0.0}
        unanswered = Benchmark("rest", EXAMPLES[1:3])
        with pytest.raises(EndpointError, match=r"timeout 1\).*--timeout SECONDS waits longer"):
            run(server, tmp_path, benchmark=unanswered, **hard)
        assert len(server.bodies) == 1
        result = run(server, tmp_path, benchmark=Benchmark("two", EXAMPLES[:2]), **hard)
        assert result.failures == {"timeout": 1}
        assert [number(body) for body in server.bodies[1:]] == [0, 1, 1]
        over.set()


def test_a_host_that_takes_no_connection_is_unreachable_soon(servers, monkeypatch):
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # more than its queue takes: the next one waits
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = servers.Server(full.getsockname()[1]).url
        with pytest.raises(EndpointError, match=r"no connection within 0.3 s"):
            endpoints.models(Endpoint(url, "", timeout_seconds=60.0))


def test_an_answer_that_was_cut_by_its_length_is_graded_and_counted_as_cut(servers, tmp_path):
    with servers.serving(lambda b, n: {"text": "so", "ended": "length"}) as server:
        result = run(server, tmp_path)
    assert result.summary["overall"]["truncated_share"] == 1.0
    assert result.summary["overall"]["reasons"] == {"no_answer": 6}


def test_a_server_that_counts_no_tokens_leaves_their_number_unknown(servers, tmp_path):
    with servers.serving(lambda b, n: {"text": right(b, n), "tokens": None}) as server:
        result = run(server, tmp_path)
    assert result.summary["overall"]["tokens_mean"] is None
    assert result.samples[0]["tokens"] is None


def test_what_is_answered_is_neither_asked_nor_graded_again(servers, tmp_path):
    with servers.serving(right) as server:
        first = run(server, tmp_path)
        scorer = Counting(RewardConfig(workers=0), seed=0)
        again = run(server, tmp_path, scorer=scorer)
        assert len(server.bodies) == 6
        assert scorer.graded == 0
        assert again.samples == first.samples
        more = run(server, tmp_path, benchmark=Benchmark("six", [*EXAMPLES, Example(
            id="e6", question="What is 6?", answer="6", verifier="numeric")]))  # fmt: skip
        assert len(server.bodies) == 7
        assert len(more.samples) == 7


def test_a_call_that_was_killed_goes_on_where_it_was(servers, tmp_path):
    with servers.serving(right) as server:
        run(server, tmp_path)
        journal = tmp_path / "j.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        answers = [line for line in lines if b'"graded"' not in line]
        # Killed with four answers kept, two of them graded, and a line half written.
        kept = [*answers[:4], *[line for line in lines if b'"graded"' in line][:2]]
        journal.write_bytes(b"".join(kept) + answers[4][:25])
        scorer = Counting(RewardConfig(workers=0), seed=0)
        result = run(server, tmp_path, scorer=scorer)
    assert len(result.samples) == 6
    assert len(server.bodies) == 8
    assert scorer.graded == 4


def test_another_gold_grades_the_kept_answer_again_without_asking(servers, tmp_path):
    with servers.serving(right) as server:
        run(server, tmp_path)
        changed = [
            Example(e.id, e.question, "77" if e.id == "e2" else e.answer, e.verifier)
            for e in EXAMPLES
        ]
        result = run(server, tmp_path, benchmark=Benchmark("six", changed))
        assert len(server.bodies) == 6
    assert [s["correct"] for s in result.samples] == [i != 2 for i in range(6)]


def test_a_journal_that_is_none_is_refused_and_left_alone(servers, tmp_path):
    (tmp_path / "j.jsonl").write_text("something else\n")
    with (
        servers.serving(right) as server,
        pytest.raises(ConfigError, match=r"j\.jsonl, line 1, is no answer"),
    ):
        run(server, tmp_path)
    assert (tmp_path / "j.jsonl").read_text() == "something else\n"


def test_without_a_chat_template_the_bare_text_is_continued(servers, tmp_path):
    with servers.serving(right) as server:
        run(server, tmp_path, chat_template="none")
    assert {body["prompt"] for body in server.bodies} == {e.question for e in EXAMPLES}


def test_the_probe_counts_questions_that_the_server_finishes(servers, tmp_path):
    benchmark = Benchmark("p", [
        Example(f"q{i}", f"one two three four five six seven eight nine {i}", "x") for i in range(4)
    ])  # fmt: skip
    rest = "seven eight nine "

    def behave(body, before):
        # The number is hidden: every question begins alike, and only one ends in 2.
        return rest + "2 and so on"

    with servers.serving(behave) as server:
        rows, summary = probe_served(endpoint(server), benchmark, tmp_path / "p.jsonl")
    assert server.bodies[0]["prompt"] == "one two three four five six"
    assert summary["completed"]["value"] == 0.25
    assert summary["ids"] == ["q2"]
    assert [row["matched_share"] for row in rows] == [0.75, 0.75, 1.0, 0.75]


# Finding the server.


def test_the_only_model_served_is_taken_and_of_several_one_must_be_named(servers):
    with servers.serving(right) as server:
        found = endpoint_from(server.url + "/chat/completions")
        assert (found.url, found.model) == (server.url, "served")
        assert endpoint_from(server.url.removesuffix("/v1")).url == server.url
    with (
        servers.serving(right, names=("a", "b")) as server,
        pytest.raises(ConfigError, match=r"serves 2 models \(a, b\); name one"),
    ):
        endpoint_from(server.url)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "", "http://"])
def test_what_is_no_url_is_told(url):
    with pytest.raises(ConfigError, match="wanted a URL"):
        endpoint_from(url)


def test_the_key_is_sent_and_kept_out_of_records_and_messages(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with servers.serving(right) as server:
        found = endpoint_from(server.url, first_pause_seconds=0.01)
        with Scorer(RewardConfig(workers=0), seed=0) as scorer:
            evaluate_served(
                found, scorer, BENCHMARK, BenchmarkConfig(benchmark="file"),
                max_new_tokens=9, journal=tmp_path / "j.jsonl",
            )  # fmt: skip
        assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "secret" not in repr(found)
    assert "secret" not in (tmp_path / "j.jsonl").read_text()


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_repeats_the_key_does_not_make_us_tell_it(servers, tmp_path, status):
    key = "sk-" + 40 * "s"
    said = f"{170 * 'x'} {key} is odd".encode()  # where our own cut would leave half of it
    with (
        servers.serving(lambda body, n: ("status", status, {}, said)) as server,
        pytest.raises(EndpointError) as told,
    ):
        run(server, tmp_path, api_key=key, retries=0)
    assert "sss" not in str(told.value)
    assert "[key]" in str(told.value)


def test_asking_a_server_needs_no_torch():
    code = (
        "import sys, oneshot_rlvr.evaluation.served, oneshot_rlvr.evaluation.regrade\n"
        "import oneshot_rlvr.evaluation.comparison, oneshot_rlvr.verbs.evaluate\n"
        "found = {'torch', 'transformers', 'vllm'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_neither_key_nor_questions_follow_a_redirect_to_another_origin(servers, tmp_path, code):
    with servers.serving(right) as other:
        away = {"Location": f"{other.url}/chat/completions"}
        with (
            servers.serving(lambda b, n: ("status", code, away)) as server,
            pytest.raises(EndpointError, match="redirects to another origin") as caught,
        ):
            run(server, tmp_path, api_key="sk-secret")
        assert other.bodies == []
        assert other.headers == []
        assert "sk-secret" not in str(caught.value)
        assert len(server.bodies) <= 6  # asked once each, not again


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_within_an_origin_a_redirected_question_arrives_whole(servers, tmp_path, code):
    there = {"Location": "/v1/elsewhere"}
    with servers.serving(lambda b, n: ("status", code, there) if n == 0 else right(b, n)) as server:
        result = run(server, tmp_path, api_key="sk-secret")
    assert result.summary["overall"]["accuracy"]["value"] == 1.0
    assert {h["Authorization"] for h in server.headers} == {"Bearer sk-secret"}


def many(count):
    return Benchmark("many", [
        Example(id=f"e{i}", question=f"What is {i}?", answer=str(i), verifier="numeric")
        for i in range(count)
    ])  # fmt: skip


def test_a_server_that_dies_is_asked_no_more_and_what_came_is_kept(servers, tmp_path):
    def dies(body, before):
        return right(body, before) if number(body) < 10 else ("status", 503, {})

    with servers.serving(dies) as server:
        with pytest.raises(EndpointError, match=r"answers no more.* 10 answers .* are kept in"):
            run(server, tmp_path, benchmark=many(200), concurrency=4)
        # A round of four, each asked three times, and what ran beside it: not 190 times three.
        assert len(server.bodies) <= 10 + 3 * 8
    with servers.serving(right) as server:
        result = run(server, tmp_path, benchmark=many(200), concurrency=4)
        assert len(server.bodies) == 190
    assert result.summary["overall"]["accuracy"]["value"] == 1.0


def test_a_server_that_is_slow_at_some_questions_is_asked_on(servers, tmp_path):
    over = threading.Event()

    def slow(body, before):
        if 6 <= number(body) < 12:
            over.wait(60)
        return right(body, before)

    with servers.serving(slow) as server:
        result = run(
            server, tmp_path, benchmark=many(20), concurrency=3, retries=0, timeout_seconds=1.0
        )
        over.set()
    assert result.failures == {"timeout": 6}
    assert len(result.samples) == 14


@pytest.mark.parametrize("tokens", [10**12, -5, True, "7", 7.0, float("nan")])
def test_a_number_of_tokens_that_cannot_be_is_unknown(servers, tmp_path, tokens):
    with servers.serving(lambda b, n: {"text": right(b, n), "tokens": tokens}) as server:
        result = run(server, tmp_path)
    assert {s["tokens"] for s in result.samples} == {None}
    assert result.summary["overall"]["tokens_mean"] is None
    assert result.summary["overall"]["accuracy"]["value"] == 1.0


def test_a_journal_has_one_writer(servers, tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    with servers.serving(right) as server:
        with pytest.raises(RunError, match=r"another process.*--samples-out"):
            run(server, tmp_path)
        assert server.bodies == []
        journal.close()
        run(server, tmp_path)


def test_a_damaged_line_is_asked_again_and_the_rest_is_kept(servers, tmp_path, caplog):
    with servers.serving(right) as server:
        run(server, tmp_path)
        path = tmp_path / "j.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        # Still JSON, and another answer: without a sum it would be believed.
        where = next(n for n, line in enumerate(lines) if b"boxed{2}" in line)
        key = json.loads(lines[where])["key"]
        lines = [
            line.replace(b"boxed{2}", b"boxed{3}") if json.loads(line)["key"] == key else line
            for line in lines
        ]
        path.write_bytes(b"".join(lines))
        result = run(server, tmp_path)
        assert len(server.bodies) == 7
    assert result.summary["overall"]["accuracy"]["value"] == 1.0
    assert "damaged" in caplog.text


@pytest.mark.parametrize("room", [0, 30, 130])
def test_an_answer_that_fits_in_part_leaves_the_journal_as_it_was(tmp_path, room):
    path = tmp_path / "j.jsonl"
    with files_of_at_most(room):
        journal = Journal(path)
        with pytest.raises(RecordsError, match="raise the limit"):
            journal.answered("a", Reply("x" * 100, 3))
        journal.close()
    assert path.read_bytes() == b""
    journal = Journal(path)
    journal.answered("a", Reply("y", 3))
    journal.close()
    assert Journal(path).answers["a"].text == "y"


def test_a_journal_that_is_moved_away_is_an_error_at_the_next_answer(tmp_path):
    journal = Journal(tmp_path / "ev" / "j.jsonl")
    journal.answered("a", Reply("x", 1, True))
    (tmp_path / "ev").rename(tmp_path / "elsewhere")
    with pytest.raises(RecordsError, match="removed or moved away"):
        journal.answered("b", Reply("y", 1, True))
    journal.close()
    assert set(Journal(tmp_path / "elsewhere" / "j.jsonl").answers) == {"a", "b"}
    assert not (tmp_path / "ev").exists()
