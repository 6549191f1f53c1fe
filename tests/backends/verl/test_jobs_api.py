"""While a cluster starts it is waited for; what waiting cannot mend is told at once."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oneshot_rlvr.backends.verl import jobs_api
from oneshot_rlvr.backends.verl.cluster import ClusterJob
from oneshot_rlvr.backends.verl.jobs_api import JobsApi, auth_token
from oneshot_rlvr.errors import ConfigError, RunError

NO_AGENT = (500, "No available agent to submit job, please try again later.")
TAKEN = (200, '{"submission_id": "x"}')


@pytest.fixture
def cluster(monkeypatch):
    """A server that gives the answers of a list, one after the other, the last for ever; what it
    was asked. The words are those of Ray 2.60."""
    monkeypatch.setattr(jobs_api, "PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    answers, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, self.headers["Authorization"], body))
            code, text = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = answer

        def log_message(self, *args):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers, asked
    server.shutdown()
    server.server_close()


def test_a_cluster_without_an_agent_yet_is_waited_for_and_told_of_once(cluster):
    address, answers, asked = cluster
    answers += [NO_AGENT, NO_AGENT, TAKEN]
    notes = []
    assert JobsApi(address).submit("x", "echo", {"A": "1"}, note=notes.append)
    assert len(asked) == 3
    assert notes == [f"waiting for the cluster: {address} refused /api/jobs/ (500): {NO_AGENT[1]}"]
    body = json.loads(asked[-1][3])
    assert body["runtime_env"] == {"env_vars": {"A": "1"}}
    assert asked[-1][2] == "Bearer secret"


def test_one_that_never_gets_an_agent_is_told_why(cluster, monkeypatch):
    address, answers, _ = cluster
    answers += [NO_AGENT]
    monkeypatch.setattr(jobs_api, "START_SECONDS", 0.1)
    with pytest.raises(RunError, match=r"ray\[default\].*52365"):
        JobsApi(address).submit("x", "echo", {})


def test_an_answer_that_was_lost_is_no_second_job(cluster):
    address, answers, _ = cluster
    answers += [(500, "Traceback\nValueError: Job with submission_id x already exists. Use a.\n.")]
    assert JobsApi(address).submit("x", "echo", {})


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (401, "Unauthorized: Missing authentication token", "RAY_AUTH_TOKEN"),
        (400, "Traceback:\n  File x\nValueError: no such env", "ValueError: no such env"),
        (200, "<html>", "is it the port of Ray's dashboard"),
    ],
)
def test_what_waiting_cannot_mend_is_told_at_once(cluster, code, text, words):
    address, answers, asked = cluster
    answers += [(code, text)]
    with pytest.raises(RunError, match=words):
        JobsApi(address).submit("x", "echo", {})
    assert len(asked) == 1


def test_waiting_ends_when_somebody_asks(cluster):
    address, answers, asked = cluster
    answers += [NO_AGENT]
    assert not JobsApi(address).submit("x", "echo", {}, asked=lambda: len(asked) > 1)


def test_another_kind_of_address_is_refused():
    with pytest.raises(ConfigError, match="http://HEAD:8265"):
        JobsApi("ray://head:10001")


def test_the_token_is_ray_s_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    assert auth_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the home\n")
    assert auth_token() == "of the home"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the variable")
    assert auth_token() == "of the variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert auth_token() is None


def info(status, message=""):
    return (200, json.dumps({"status": status, "message": message}))


def test_a_job_that_an_earlier_launch_left_is_stopped_first(cluster, tmp_path):
    address, answers, asked = cluster
    log = tmp_path / "log.txt"
    (tmp_path / "job.json").write_text(json.dumps({"address": address, "job": "old"}))
    answers += [info("RUNNING"), (200, "{}"), info("STOPPED"), TAKEN]
    notes = []
    ClusterJob(address, "python", ["a=b"], {}, log, note=notes.append)
    paths = [(method, path) for method, path, _, _ in asked]
    assert paths == [
        ("GET", "/api/jobs/old"),
        ("POST", "/api/jobs/old/stop"),
        ("GET", "/api/jobs/old"),
        ("POST", "/api/jobs/"),
    ]
    assert "stopping job old" in notes[0]


def test_a_job_that_could_say_nothing_is_told_in_the_cluster_s_words(cluster, tmp_path):
    address, answers, _ = cluster
    answers += [TAKEN]
    job = ClusterJob(address, "python", [], {}, tmp_path / "log.txt")
    answers[:] = [info("FAILED", "the runtime environment failed"), (200, '{"logs": ""}')]
    assert job.poll() == 1
    assert job.log() == "the runtime environment failed"
