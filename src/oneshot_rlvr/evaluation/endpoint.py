"""Answers from any server that speaks the OpenAI protocol (vLLM, SGLang, llama.cpp, hosted ones).

One request an answer, many at a time. What may pass (a timeout, 429, 5xx, a broken or senseless
reply) is tried again with growing pauses, or after what `Retry-After` asks; what stays is a counted
failure, never a wrong answer. A request that is refused (400, 422) is not asked again; what no
request can mend (401, 403, 404, no server, all of them refused) ends it with one error.

How long an answer takes says nothing of a server, which may be slow. One that answers no request
for minutes, and does not list its models meanwhile either, is dead: that ends it too.

What a server tells is checked before it is believed; exchange.py has the HTTP.

What a request leaves open is sent as values that change nothing (neutral.py), as far as a server
takes them; every reply says what was sent. Every answer has a key of all that it
depends on: the model, the messages, the sampling, its number; journal.py keeps it under that.
Torch-free.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any

from oneshot_rlvr.errors import ConfigError, EndpointError
from oneshot_rlvr.evaluation.exchange import PASSING, SHOWN, Failed, send, shown
from oneshot_rlvr.evaluation.journal import Reply, counted
from oneshot_rlvr.evaluation.neutral import NEUTRAL, UNTAKEN, Taken
from oneshot_rlvr.records.files import clean_text

log = logging.getLogger(__name__)

MOST_PAUSE_SECONDS = 60.0
LIST_SECONDS = 30.0  # to list its models, which no slow answer keeps it from
TIMED_OUT_AGAIN = 1  # times; what took the whole of --timeout twice will take it again


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: `url` up to and including /v1, the model's name there, how hard to try."""

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 16
    retries: int = 5
    timeout_seconds: float = 600.0
    first_pause_seconds: float = 1.0
    patience_seconds: float = 180.0
    """With no answer to any request; then the server must at least list its models. 0: no end."""


@dataclass(frozen=True, slots=True)
class Request:
    """One answer to ask for; `messages` for the chat, `text` for a bare continuation."""

    row: int
    sample: int
    temperature: float
    max_new_tokens: int
    seed: int
    messages: tuple[dict[str, str], ...] = ()
    text: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else is asked of the decoding (`decoding.request_fields`)."""

    def body(self, model: str, neutral: Mapping[str, Any] = NEUTRAL[0]) -> dict[str, Any]:
        """What is sent, with those values for what the request leaves open."""
        shared = {
            **neutral,
            "model": model,
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": self.seed,
            **self.fields,
        }
        if self.text is not None:
            return {**shared, "prompt": self.text}
        return {**shared, "messages": list(self.messages)}

    def key(self, model: str) -> str:
        """Names the answer: equal exactly when everything that it depends on is.

        What a server refused is in it too: it was asked for, and the answer says what it got.
        """
        told = json.dumps([self.body(model), self.sample], sort_keys=True)
        return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest()


def endpoint_from(
    url: str, model: str = "", *, api_key_variable: str = "OPENAI_API_KEY", **options: Any
) -> Endpoint:
    """An endpoint; with no model named, the only one that the server serves.

    The key comes from the environment, so that it stands in no command line and no record.
    ConfigError for a URL that is none or a model that must be named; EndpointError where nobody
    answers.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--endpoint is {url!r}; wanted a URL such as http://localhost:8000/v1.")
    base = url.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/models"):
        base = base.removesuffix(ending)
    if urllib.parse.urlsplit(base).path in ("", "/"):
        base += "/v1"
    made = Endpoint(base, model, os.environ.get(api_key_variable, ""), **options)
    if made.concurrency < 1 or made.retries < 0 or made.timeout_seconds <= 0:
        raise ConfigError("--concurrency must be at least 1, --retries 0, --timeout above 0.")
    if not made.patience_seconds >= 0:
        raise ConfigError("--patience must be seconds, or 0 for no end.")
    if model:
        return made
    served = models(made)
    if len(served) != 1:
        raise ConfigError(
            f"{base} serves {len(served)} models ({', '.join(served[:5]) or 'none'}); name one: "
            "oneshot evaluate NAME --endpoint URL."
        )
    return Endpoint(base, served[0], made.api_key, **options)


def models(endpoint: Endpoint) -> list[str]:
    """The names that the server serves. EndpointError where it cannot be asked."""
    try:
        reply = send(endpoint, "models", None, min(LIST_SECONDS, endpoint.timeout_seconds))
        return [str(item["id"]) for item in reply["data"]]
    except Failed as failed:
        raise EndpointError(_cannot(endpoint, failed)) from failed
    except (KeyError, TypeError) as error:
        raise EndpointError(f"{endpoint.url}/models does not list models: no {error}.") from error


def alive(endpoint: Endpoint) -> bool:
    """Whether anything at all answers there, be it a refusal."""
    try:
        send(endpoint, "models", None, min(LIST_SECONDS, endpoint.timeout_seconds))
    except Failed as failed:
        return failed.reason.startswith(("http_", "fatal_4")) or failed.reason == "garbage"
    return True


def refused(reason: str) -> bool:
    """Whether a reason of failure is a request that the server would refuse again."""
    status = reason.removeprefix("http_")
    return status.isdecimal() and int(status) < 500 and int(status) not in PASSING


def ask(endpoint: Endpoint, request: Request, stop: threading.Event, taken: Taken) -> Reply:
    """One answer, with retries. EndpointError for what no retry can mend."""
    generator = random.Random(request.key(endpoint.model))
    for attempt in range(endpoint.retries + 1):
        try:
            return _as_taken(endpoint, request, taken)
        except Failed as failed:
            if not failed.passing and failed.reason.startswith("fatal"):
                raise EndpointError(_cannot(endpoint, failed)) from failed
            last = endpoint.retries
            if failed.reason == "timeout":  # before any answer nothing says that another try helps
                last = min(last, TIMED_OUT_AGAIN if taken.proven else 0)
            if not failed.passing or attempt >= last or stop.is_set():
                return Reply(failure=failed.reason, said=failed.said[:SHOWN])
            pause = endpoint.first_pause_seconds * 2**attempt * (0.5 + generator.random())
            stop.wait(min(MOST_PAUSE_SECONDS, max(pause, failed.pause or 0.0)))
    raise AssertionError("the last attempt returned")


def _as_taken(endpoint: Endpoint, request: Request, taken: Taken) -> Reply:
    """One attempt; before the first answer, also without the values that the server refuses.

    A request that is refused with none of them is refused for itself: the first refusal is raised.
    """
    path = "completions" if request.text is not None else "chat/completions"
    refusal: Failed | None = None
    for level in range(taken.level, len(NEUTRAL)):
        body = json.dumps(request.body(endpoint.model, NEUTRAL[level])).encode("utf-8")
        try:
            told = send(endpoint, path, body, endpoint.timeout_seconds)
            reply = _read(told, request, endpoint)
        except Failed as failed:
            if failed.reason not in UNTAKEN or taken.settles(level):
                raise
            refusal = refusal or failed
            continue
        if taken.answered(level) and refusal is not None:
            left = ", ".join(name for name in NEUTRAL[0] if name not in NEUTRAL[level])
            log.warning(
                "%s does not take %s (%s); what it fills in for them is not known here.",
                *(endpoint.url, left, refusal.said),
            )
        return replace(reply, neutral=level)
    assert refusal is not None  # every level was refused
    raise refusal


def ask_all(
    endpoint: Endpoint, requests: Sequence[Request]
) -> Iterator[list[tuple[Request, Reply]]]:
    """Replies in batches as they come, `concurrency` at a time. An EndpointError ends all."""
    stop = threading.Event()
    waiting = iter(requests)
    running: dict[Future[Reply], Request] = {}
    taken = Taken()
    patience = endpoint.patience_seconds or None
    try:
        while True:
            for request in waiting:
                running[_begun(endpoint, request, stop, taken)] = request
                if len(running) >= endpoint.concurrency:
                    break
            if not running:
                return
            done, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
            if not done and not alive(endpoint):
                raise EndpointError(_silent(endpoint, len(running)))
            yield [(running.pop(future), future.result()) for future in done]
    finally:
        stop.set()


def _begun(
    endpoint: Endpoint, request: Request, stop: threading.Event, taken: Taken
) -> Future[Reply]:
    """`ask` in a thread of its own, which nobody waits for at the end: it may hang in a read."""
    future: Future[Reply] = Future()

    def run() -> None:
        try:
            future.set_result(ask(endpoint, request, stop, taken))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="endpoint", daemon=True).start()
    return future


def _read(reply: dict[str, Any], request: Request, endpoint: Endpoint) -> Reply:
    """The text in a reply of the protocol; Failed("garbage") where there is none."""
    try:
        choice = reply["choices"][0]
        ended = choice.get("finish_reason")
        text = choice["text"] if request.text is not None else _content(choice["message"], ended)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        said = f"no answer in {shown(json.dumps(reply), endpoint)}"
        raise Failed("garbage", said, passing=True) from error
    if not isinstance(text, str) or ended == "content_filter":
        reason = "content_filter" if ended == "content_filter" else "garbage"
        raise Failed(reason, f"finish_reason {ended!r}, no text", passing=reason == "garbage")
    if not (ended is None or isinstance(ended, str)):
        raise Failed("garbage", f"finish_reason {shown(str(ended), endpoint)!r}", passing=True)
    usage = reply.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # No more than were asked for, or, where the server asks itself, than the text has bytes.
    most = max(request.max_new_tokens, len(text.encode("utf-8", "replace")) + 1)
    return Reply(clean_text(text), counted(tokens, most), finished=ended != "length")


def _content(message: Any, ended: Any) -> Any:
    content = message.get("content")
    if content is None and ended == "length":
        return ""  # a reasoning model that was cut before its answer began
    return content


def _silent(endpoint: Endpoint, requests: int) -> str:
    return (
        f"{endpoint.url} is silent: {requests} requests have waited for "
        f"{endpoint.patience_seconds:g} s, and meanwhile it does not list its models either. What "
        "came before is kept; the same command asks only for the rest. For a server that does one "
        "thing at a time, and each for longer, give --patience SECONDS (0: no end)."
    )


def _cannot(endpoint: Endpoint, failed: Failed) -> str:
    told = f"{endpoint.url} cannot be used: {failed.said}."
    if "404" in failed.reason:
        return told + f' Is "{endpoint.model}" served there, and does the URL end in /v1?'
    if failed.reason.startswith("fatal_3"):
        return told
    if failed.reason.startswith("fatal_40"):
        return told + " Is the key right (environment variable OPENAI_API_KEY)?"
    return told + " Is the server running, and is this its address?"
