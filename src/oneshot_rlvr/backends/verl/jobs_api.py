"""Ray's Jobs API in plain HTTP (Ray 2.60; no Ray is needed here): submit, ask, read, stop.

A cluster that is starting refuses for a while: first nothing listens, then the dashboard answers
and no job agent does. Both are waited for. What waiting cannot mend is told at once.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError, RunError

REQUEST_SECONDS = 30.0
START_SECONDS = 180.0  # a cluster's: Ray's agents import for half a minute on a busy machine
PAUSE_SECONDS = 2.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class NotYet(RunError):
    """What a cluster answers that is still starting, or whose head is away for a moment."""


class JobsApi:
    """`address`: http://HEAD:8265. ConfigError for another kind of address."""

    def __init__(self, address: str):
        if not address.startswith(("http://", "https://")):
            raise ConfigError(
                f'backend.ray_address is "{address}"; wanted the address of Ray\'s Jobs API, '
                "http://HEAD:8265."
            )
        self.address = address.rstrip("/")

    def submit(
        self,
        identity: str,
        entrypoint: str,
        variables: Mapping[str, str],
        *,
        note: Callable[[str], None] = lambda text: None,
        asked: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Starts a job, waiting for the cluster where it is starting; False where `asked` to stop
        came first. RunError where it does not take the job."""
        body = {
            "entrypoint": entrypoint,
            "submission_id": identity,
            "runtime_env": {"env_vars": dict(variables)},
        }
        began, told = time.monotonic(), False
        while True:
            if asked():
                return False
            try:
                self._request("POST", "/api/jobs/", body)
                return True
            except NotYet as error:
                if time.monotonic() - began > START_SECONDS:
                    words = f"{error} That has been so for {START_SECONDS:.0f} seconds."
                    raise RunError(f"{words} {_advice(error)}") from error
                if not told:
                    told = True
                    note(f"waiting for the cluster: {error}")
                time.sleep(PAUSE_SECONDS)
            except RunError as error:
                # An answer that was lost on its way: the cluster had taken the job.
                if f"{identity} already exists" in str(error):
                    return True
                raise

    def info(self, identity: str) -> dict[str, Any]:
        """Ray's words on a job: `status`, `message`, ..."""
        return self._request("GET", f"/api/jobs/{identity}")

    def logs(self, identity: str) -> str:
        """All that a job has said."""
        return str(self._request("GET", f"/api/jobs/{identity}/logs").get("logs") or "")

    def stop(self, identity: str) -> None:
        """Asks the cluster to end a job; it takes a few seconds."""
        self._request("POST", f"/api/jobs/{identity}/stop")

    def version(self) -> str:
        """The cluster's Ray."""
        return str(self._request("GET", "/api/version").get("ray_version"))

    def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if token := auth_token():
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
                told = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            words = error.read(20_000).decode("utf-8", "replace")
            raise self._refusal(path, error.code, words) from error
        except ValueError as error:
            raise RunError(
                f"{self.address} answers, but not as Ray's Jobs API does; is it the port of Ray's "
                "dashboard (8265)?"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            what = f"the Ray cluster at {self.address} does not answer: {reason}."
            if isinstance(reason, socket.gaierror):  # a name that nobody has
                raise RunError(what) from error
            raise NotYet(what) from error
        return told if isinstance(told, dict) else {}

    def _refusal(self, path: str, code: int, words: str) -> RunError:
        if code in (401, 403):
            return RunError(
                f"the Ray cluster at {self.address} wants a token ({code}); set RAY_AUTH_TOKEN to "
                "that of the cluster (there: ray get-auth-token)."
            )
        lines = [line.strip() for line in words.strip().splitlines() if line.strip(" .")]
        # The last line of a traceback is what it is about.
        told = (lines[-1] if lines else "no reason given")[:300].rstrip(".")
        kind = NotYet if "No available agent" in words or code in (502, 503, 504) else RunError
        return kind(f"{self.address} refused {path} ({code}): {told}.")


def auth_token() -> str | None:
    """The token that Ray's own clients would send: RAY_AUTH_TOKEN, the file of RAY_AUTH_TOKEN_PATH,
    ~/.ray/auth_token; none with RAY_AUTH_MODE=disabled."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _advice(error: RunError) -> str:
    if "No available agent" not in str(error):
        return "Is the head running, and does its dashboard listen beyond 127.0.0.1?"
    return (
        "Its head runs no job agent: Ray there needs `pip install 'ray[default]'`, and the agent a "
        "port of its own (52365, which another Ray on the same machine takes; ray start "
        "--dashboard-agent-listen-port=PORT). Its dashboard_agent.log says which."
    )
