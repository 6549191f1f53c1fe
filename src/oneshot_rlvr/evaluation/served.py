"""A benchmark asked of a server: requests, the journal, grading as answers come, one result.

The twin of run.py, which asks an engine. An answer that never came is counted by its reason and
stands in no number: the result says how many are missing, and a second call asks only for those.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig
from oneshot_rlvr.errors import EndpointError
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.evaluation.contamination import cuts_of, new_tokens, probe_benchmark, probed
from oneshot_rlvr.evaluation.endpoint import (
    Endpoint,
    Journal,
    Reply,
    Request,
    ask_all,
    refused,
)
from oneshot_rlvr.evaluation.grading import Answer, Grader, graded, options_of, verifier_version
from oneshot_rlvr.evaluation.run import (
    EvaluationResult,
    Progress,
    facts_of,
    refuse_repeats,
    refuse_without_questions,
    summed_up,
)
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
    scorer.check_golds(benchmark.examples)
    tokens = config.max_new_tokens or max_new_tokens
    requests = _requests(benchmark, config, tokens, chat_template)
    facts = facts_of(benchmark, config, tokens, endpoint.model, prompt)
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
    if failures:
        summary["missing"] = dict(sorted(failures.items()))
        summary["missing_said"] = said
    return EvaluationResult(samples, summary, failures)


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
    return [
        Request(
            row=row,
            sample=sample,
            temperature=config.temperature,
            max_new_tokens=tokens,
            seed=_seed(config.seed, benchmark.name, example.id, sample),
            messages=tuple(example.chat()) if chat_template != "none" else (),
            text=_bare(example) if chat_template == "none" else None,
        )
        for row, example in enumerate(benchmark.examples)
        for sample in range(config.samples)
    ]


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
        if scorer is not None and _still_graded(journal.rows.get(key), examples[request.row]):
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
    failures: Counter[str] = Counter()
    last = Reply()
    if progress is not None:
        progress(done, len(requests))
    for batch in ask_all(endpoint, missing):
        for request, reply in batch:
            if reply.failure:
                failures[reply.failure] += 1
                last = reply
            else:
                journal.answered(request.key(endpoint.model), reply)
        _give_up(endpoint, len(missing), failures, done, last)
        came = [request for request, reply in batch if not reply.failure]
        grade(came)
        done += len(came)
        if progress is not None:
            progress(done, len(requests))
    return dict(failures), last.said or last.failure


def _give_up(
    endpoint: Endpoint, asked: int, failures: Counter[str], done: int, last: Reply
) -> None:
    """EndpointError once a full round of requests failed and none ever came."""
    failed = failures.total()
    if done or failed < min(asked, endpoint.concurrency) or not failed:
        return
    said = last.said or last.failure
    if all(refused(reason) for reason in failures):
        raise EndpointError(
            f"{endpoint.url} refused the first {failed} requests ({told(failures)}), which no "
            f"retry mends; it says: {said}."
        )
    raise EndpointError(
        f"{endpoint.url} gave no answer: {failed} of {failed} requests failed "
        f"({told(failures)}), each after {endpoint.retries} retries; the last said: "
        f"{said}. Is the server running, and is this its address?"
    )


def _still_graded(row: Mapping[str, Any] | None, example: Example) -> bool:
    """Whether a kept verdict is what grading would give now."""
    return row is not None and (
        row["verifier_version"] == verifier_version()
        and row["answer"] == example.answer
        and row["verifier"] == example.verifier
        and row["options"] == options_of(example)
    )
