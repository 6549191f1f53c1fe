"""Answers from any server that speaks the OpenAI protocol (vLLM, SGLang, llama.cpp, hosted ones).

One request an answer, many at a time. What may pass (a timeout, 429, 5xx, a broken or senseless
reply) is tried again with growing pauses, or after what `Retry-After` asks; what stays is a counted
failure, never a wrong answer. A request that is refused (400, 422) is not asked again; what no
request can mend (401, 403, 404, no server, all of them refused) ends it with one error.

A redirect is followed within the same origin only: neither key nor questions go where nobody sent
them. What a server tells is checked before it is believed.

What a request leaves open is sent as values that change nothing (neutral.py), as far as a server
takes them; every reply says what was sent. Every answer has a key of all that it
depends on: the model, the messages, the sampling, its number; journal.py keeps it under that.
Torch-free; the standard library's HTTP only.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from oneshot_rlvr.errors import ConfigError, EndpointError
from oneshot_rlvr.evaluation.journal import Reply, counted
from oneshot_rlvr.evaluation.neutral import NEUTRAL, UNTAKEN, Taken
from oneshot_rlvr.records.files import clean_text

log = logging.getLogger(__name__)

FATAL = (401, 403, 404, 405)
PASSING = (408, 409, 425, 429)  # and every 5xx
MOST_BYTES = 32 << 20  # of a reply: no answer is longer
MOST_PAUSE_SECONDS = 60.0
SHOWN = 200  # characters of a server's own words in our errors
SHORTEST_KEY = 8  # that is a secret: servers without keys are given "EMPTY" or the like


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


class Failed(Exception):
    """One attempt that gave no answer; `passing` when another may."""

    def __init__(self, reason: str, said: str, *, passing: bool, pause: float | None = None):
        super().__init__(said)
        self.reason, self.said, self.passing, self.pause = reason, said, passing, pause


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
        reply = _send(endpoint, "models", None, min(30.0, endpoint.timeout_seconds))
        return [str(item["id"]) for item in reply["data"]]
    except Failed as failed:
        raise EndpointError(_cannot(endpoint, failed)) from failed
    except (KeyError, TypeError) as error:
        raise EndpointError(f"{endpoint.url}/models does not list models: no {error}.") from error


def alive(endpoint: Endpoint) -> bool:
    """Whether anything at all answers there, be it a refusal."""
    try:
        _send(endpoint, "models", None, min(30.0, endpoint.timeout_seconds))
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
            if not failed.passing or attempt == endpoint.retries or stop.is_set():
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
            told = _send(endpoint, path, body, endpoint.timeout_seconds)
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
    pool = ThreadPoolExecutor(endpoint.concurrency, thread_name_prefix="endpoint")
    try:
        while True:
            for request in waiting:
                running[pool.submit(ask, endpoint, request, stop, taken)] = request
                if len(running) >= endpoint.concurrency:
                    break
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            yield [(running.pop(future), future.result()) for future in done]
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _send(endpoint: Endpoint, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
    """One HTTP exchange; the reply's JSON object. Failed for anything else."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    request = urllib.request.Request(f"{endpoint.url}/{path}", data=body, headers=headers)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            raw = _whole(response, timeout)
    except urllib.error.HTTPError as error:
        raise _status(error, endpoint) from error
    except TimeoutError as error:
        raise Failed("timeout", f"no answer in {timeout:g} s", passing=True) from error
    except http.client.IncompleteRead as error:
        raise Failed("cut_off", "the reply ended early", passing=True) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise Failed("timeout", f"no answer in {timeout:g} s", passing=True) from error
        raise Failed("unreachable", str(error.reason), passing=True) from error
    except (http.client.HTTPException, OSError) as error:
        raise Failed(
            "broken_connection", f"{type(error).__name__}: {error}", passing=True
        ) from error
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Failed("garbage", f"no JSON: {_shown(raw, endpoint)!r}", passing=True) from error
    if not isinstance(reply, dict):
        raise Failed("garbage", f"no JSON object: {_shown(raw, endpoint)!r}", passing=True)
    return reply


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows within an origin, with the body that was sent; never to another one."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        try:
            same = _origin(newurl) == _origin(req.full_url)
        except ValueError:  # a port that is no number
            same = False
        if not same:
            raise Failed(
                f"fatal_{code}",
                f"it redirects to another origin ({newurl[:SHOWN]!r}), where neither the key nor "
                "the questions are sent; name that one with --endpoint if it is right",
                passing=False,
            )
        return urllib.request.Request(newurl, data=req.data, headers=dict(req.headers))

    # The standard library sends a POST on after 301 to 303 only, as a GET, and 308 from 3.11 on.
    http_error_307 = http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


_OPENER = urllib.request.build_opener(_SameOrigin)


def _whole(response: Any, timeout: float) -> bytes:
    """The reply's bytes. A server that drips is timed out all the same."""
    ends, parts, size = time.monotonic() + timeout, [], 0
    while True:
        part = response.read1(1 << 16)
        if not part:
            break
        size += len(part)
        parts.append(part)
        if size > MOST_BYTES:
            raise Failed("garbage", f"more than {MOST_BYTES >> 20} MiB", passing=False)
        if time.monotonic() > ends:
            raise TimeoutError
    if response.length:  # what Content-Length promised and did not come
        raise http.client.IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def _shown(said: str | bytes, endpoint: Endpoint) -> str:
    """The beginning of a server's own words in one line, without the key, which some repeat."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    if len(endpoint.api_key) >= SHORTEST_KEY:
        text = text.replace(endpoint.api_key, "[key]")
    return " ".join(text.split())[:SHOWN]


def _status(error: urllib.error.HTTPError, endpoint: Endpoint) -> Failed:
    """What an HTTP status means for going on."""
    body = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = error.read(4096)
    words = _shown(body, endpoint) or _shown(str(error.reason), endpoint)
    said = f"HTTP {error.code}: {words}"
    if error.code in FATAL:
        return Failed(f"fatal_{error.code}", said, passing=False)
    passing = error.code in PASSING or error.code >= 500
    return Failed(f"http_{error.code}", said, passing=passing, pause=_retry_after(error))


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    value = error.headers.get("Retry-After") if error.headers else None
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _read(reply: dict[str, Any], request: Request, endpoint: Endpoint) -> Reply:
    """The text in a reply of the protocol; Failed("garbage") where there is none."""
    try:
        choice = reply["choices"][0]
        ended = choice.get("finish_reason")
        text = choice["text"] if request.text is not None else _content(choice["message"], ended)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        shown = _shown(json.dumps(reply), endpoint)
        raise Failed("garbage", f"no answer in {shown}", passing=True) from error
    if not isinstance(text, str) or ended == "content_filter":
        reason = "content_filter" if ended == "content_filter" else "garbage"
        raise Failed(reason, f"finish_reason {ended!r}, no text", passing=reason == "garbage")
    if not (ended is None or isinstance(ended, str)):
        raise Failed("garbage", f"finish_reason {_shown(str(ended), endpoint)!r}", passing=True)
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


def _cannot(endpoint: Endpoint, failed: Failed) -> str:
    told = f"{endpoint.url} cannot be used: {failed.said}."
    if "404" in failed.reason:
        return told + f' Is "{endpoint.model}" served there, and does the URL end in /v1?'
    if failed.reason.startswith("fatal_3"):
        return told
    if failed.reason.startswith("fatal_40"):
        return told + " Is the key right (environment variable OPENAI_API_KEY)?"
    return told + " Is the server running, and is this its address?"
