"""A benchmark asked of a server: requests, the journal, grading as answers come, one result.

The twin of run.py, which asks an engine. An answer that never came is counted by its reason and
stands in no number: the result says how many are missing, and a second call asks only for those.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig
from oneshot_rlvr.errors import ConfigError, EndpointError
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.evaluation.contamination import cuts_of, new_tokens, probe_benchmark, probed
from oneshot_rlvr.evaluation.decoding import request_fields
from oneshot_rlvr.evaluation.endpoint import Endpoint, Request, alive, ask_all, refused
from oneshot_rlvr.evaluation.grading import Answer, Grader, graded, still_graded
from oneshot_rlvr.evaluation.journal import Journal, Reply
from oneshot_rlvr.evaluation.neutral import NEUTRAL
from oneshot_rlvr.evaluation.run import (
    EvaluationResult,
    Progress,
    facts_of,
    refuse_repeats,
    refuse_without_questions,
    summed_up,
)
from oneshot_rlvr.evaluation.store import identity_of
from oneshot_rlvr.examples.prompting import with_system
from oneshot_rlvr.types import Example


def evaluate_served(
    endpoint: Endpoint,
    scorer: Grader,
    benchmark: Benchmark,
    config: BenchmarkConfig,
    *,
    max_new_tokens: int,
    journal: Path,
    chat_template: str = "auto",
    prompt: str = "own",
    progress: Progress | None = None,
) -> EvaluationResult:
    """As `run.evaluate`, of a server. `chat_template` "none" asks for a bare continuation.

    `journal` keeps what came, across calls. EndpointError where no answer came at all, or where
    the server refuses; DataError for a bad gold. KeyboardInterrupt loses nothing that came.
    """
    refuse_repeats(config)
    if config.template_arguments and chat_template == "none":
        raise ConfigError(
            "template_arguments are given and prompts are sent without a chat template, so that "
            "nothing reads them. Leave them out."
        )
    benchmark = replace(benchmark, examples=with_system(benchmark.examples, config.system))
    scorer.check_golds(benchmark.examples)
    tokens = config.max_new_tokens or max_new_tokens
    requests = _requests(benchmark, config, tokens, chat_template)
    facts = facts_of(benchmark, config, tokens, endpoint.model, prompt, config.template_arguments)
    kept = Journal(journal)
    try:
        failures, said = _collect(
            endpoint, requests, kept, scorer, benchmark.examples, facts, progress
        )
    finally:
        kept.close()
    keys = [request.key(endpoint.model) for request in requests]
    samples = [{**kept.rows[key], **facts} for key in keys if key in kept.rows]
    refuse_without_questions(benchmark, samples)
    summary = summed_up(samples, facts)
    summary["sent"] = _sent(config, tokens, [kept.answers[k] for k in keys if k in kept.answers])
    if failures:
        summary["missing"] = dict(sorted(failures.items()))
        summary["missing_said"] = said
    told = {**facts, "samples": config.samples, "server": endpoint.url, "template": chat_template}
    return EvaluationResult(
        samples, summary, failures, identity_of(told, benchmark.examples), len(requests)
    )


def probe_served(
    endpoint: Endpoint, benchmark: Benchmark, journal: Path, progress: Progress | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The contamination probe of a server (contamination.py). EndpointError unless all came."""
    cuts = cuts_of(benchmark)
    config = BenchmarkConfig(benchmark=benchmark.name)
    asked = probe_benchmark(benchmark, cuts)
    refuse_without_questions(asked, cuts)
    requests = _requests(asked, config, new_tokens(cuts), "none")
    kept = Journal(journal)
    try:
        failures, said = _collect(endpoint, requests, kept, None, asked.examples, {}, progress)
    finally:
        kept.close()
    if failures:
        raise EndpointError(
            f"{sum(failures.values())} of {len(requests)} continuations never came "
            f"({told(failures)}; the last said: {said}); ask again to fetch only those."
        )
    texts = {
        cut.example.id: kept.answers[request.key(endpoint.model)].text
        for cut, request in zip(cuts, requests, strict=True)
    }
    return probed(benchmark, cuts, texts)


def told(failures: Mapping[str, int]) -> str:
    """Counted failures in words: "timeout 2, http_500 1"."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(failures.items()))


def _requests(
    benchmark: Benchmark, config: BenchmarkConfig, tokens: int, chat_template: str
) -> list[Request]:
    fields = request_fields(config)
    return [
        Request(
            row=row,
            sample=sample,
            temperature=config.temperature,
            max_new_tokens=tokens,
            seed=_seed(config.seed, benchmark.name, example.id, sample),
            messages=tuple(example.chat()) if chat_template != "none" else (),
            text=_bare(example) if chat_template == "none" else None,
            fields=fields,
        )
        for row, example in enumerate(benchmark.examples)
        for sample in range(config.samples)
    ]


def _sent(config: BenchmarkConfig, tokens: int, replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """How the answers were asked for, as the requests said it, and how many of them.

    What a server refused is not in it; a journal of an earlier version does not know more.
    """
    asked = {"temperature": config.temperature, "max_tokens": tokens}
    levels = Counter(reply.neutral for reply in replies)
    known = sorted(n for n in levels if n is not None and n < len(NEUTRAL))
    told = [{"answers": levels[n], **asked, **NEUTRAL[n]} for n in known]
    rest = len(replies) - sum(levels[n] for n in known)
    return told + ([{"answers": rest, **asked, "more": "unknown"}] if rest else [])


def _bare(example: Example) -> str:
    return "\n\n".join(turn["content"] for turn in example.chat())


def _seed(seed: int, benchmark: str, example_id: str, sample: int) -> int:
    """The server's seed of one answer: no two answers to a question share one."""
    told_by = f"{seed}/{benchmark}/{example_id}/{sample}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(told_by, digest_size=4).digest(), "big") >> 1


def _collect(
    endpoint: Endpoint,
    requests: Sequence[Request],
    journal: Journal,
    scorer: Grader | None,
    examples: Sequence[Example],
    facts: Mapping[str, Any],
    progress: Progress | None,
) -> tuple[dict[str, int], str]:
    """Fills the journal; failures counted by reason, and the server's words about the last one.

    Without a scorer nothing is graded.
    """
    keys = [request.key(endpoint.model) for request in requests]
    missing: list[Request] = []
    ungraded: list[Request] = []
    for request, key in zip(requests, keys, strict=True):
        if scorer is not None and still_graded(journal.rows.get(key), examples[request.row]):
            continue
        if key in journal.answers:
            ungraded.append(request)
        else:
            missing.append(request)

    def grade(came: Sequence[Request]) -> None:
        if scorer is None or not came:
            return
        of = [(request, request.key(endpoint.model)) for request in came]
        answers = [
            Answer(examples[r.row], r.sample, a.text, a.tokens, a.finished)
            for r, key in of
            for a in [journal.answers[key]]
        ]
        for (_, key), row in zip(of, graded(answers, scorer, facts), strict=True):
            journal.graded(key, row)

    grade(ungraded)
    done = len(requests) - len(missing)
    breaker = _Breaker(endpoint, len(missing), done, journal.path)
    if progress is not None:
        progress(done, len(requests))
    for batch in ask_all(endpoint, missing):
        came = [request for request, reply in batch if not reply.failure]
        for request, reply in batch:
            if not reply.failure:
                journal.answered(request.key(endpoint.model), reply)
        grade(came)
        for _, reply in batch:
            breaker.told(reply)
        done += len(came)
        if progress is not None:
            progress(done, len(requests))
    return dict(breaker.failures), breaker.last.said or breaker.last.failure


class _Breaker:
    """Ends an evaluation whose server answers no more, once everything that came is kept.

    After as many failed requests in a row as run at once, each of them retried. A server that only
    lets requests time out may be slow at these questions: it goes on where it still answers at all.
    """

    def __init__(self, endpoint: Endpoint, asked: int, done: int, journal: Path):
        self.failures: Counter[str] = Counter()
        self.last = Reply()
        self._endpoint, self._done, self._journal = endpoint, done, journal
        # Single questions may fail; of few, all must.
        self._limit = min(asked, endpoint.concurrency) if not done else max(3, endpoint.concurrency)
        self._in_a_row: Counter[str] = Counter()

    def told(self, reply: Reply) -> None:
        """A request is over. EndpointError where that is the end."""
        if not reply.failure:
            self._done += 1
            self._limit = max(3, self._endpoint.concurrency)
            self._in_a_row.clear()
            return
        self.failures[reply.failure] += 1
        self.last = reply
        if self._done and refused(reply.failure):
            self._in_a_row.clear()  # it lives, and has read the request
            return
        self._in_a_row[reply.failure] += 1
        if self._in_a_row.total() < self._limit:
            return
        if self._done and set(self._in_a_row) == {"timeout"} and alive(self._endpoint):
            self._in_a_row.clear()
            return
        raise EndpointError(self._words())

    def _words(self) -> str:
        url, failed, said = self._endpoint.url, self._in_a_row, self.last.said or self.last.failure
        if self._done:
            return (
                f"{url} answers no more: {failed.total()} requests in a row failed "
                f"({told(failed)}), each asked up to {self._endpoint.retries + 1} times; the last "
                f"said: {said}. The {self._done} answers that came are kept in {self._journal}; "
                "the same command asks only for the rest."
            )
        longer = " --timeout SECONDS waits longer." if set(failed) == {"timeout"} else ""
        if all(refused(reason) for reason in failed):
            return (
                f"{url} refused the first {failed.total()} requests ({told(failed)}), which no "
                f"retry mends; it says: {said}."
            )
        return (
            f"{url} gave no answer: {failed.total()} of {failed.total()} requests failed "
            f"({told(failed)}), each asked up to {self._endpoint.retries + 1} times; the last "
            f"said: {said}. Is the server running, and is this its address?{longer}"
        )
