"""What the server of `watch` answers, and what it refuses. No browser."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request

import pytest

from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.report.watch.places import checked, runs_in
from oneshot_rlvr.verbs.watch import watch

SECRET = "not to be read from outside"


@pytest.fixture(scope="module")
def folder(build, tmp_path_factory):
    """Two runs, and things beside and below that are none of the reader's."""
    root = tmp_path_factory.mktemp("watched")
    build(root / "runs" / "a", steps=3, questions=2)
    build(root / "runs" / "b c" / "d", steps=2, questions=2, test=False, finish=False)
    build(root / "outside", steps=2, questions=2)
    (root / "secret.txt").write_text(SECRET)
    (root / "runs" / "a" / "secret.txt").write_text(SECRET)
    os.symlink(root / "outside", root / "runs" / "link")
    return root / "runs"


@pytest.fixture(scope="module")
def address(folder, watching):
    with watching(folder) as address:
        yield address


def ask(address, path="", *, method="GET", host=None):
    """Status, headers and body of one answer."""
    request = urllib.request.Request(f"{address}{path}", method=method)
    if host is not None:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_a_folder_lists_its_runs_and_not_what_a_link_leads_to(address, folder):
    assert list(runs_in(folder.resolve())) == ["a", "b c/d"]
    status, _, body = ask(address)
    assert status == 200
    assert "b c/d" in body
    assert "link" not in body.split("<main")[1].split("</main>")[0]


def test_pages_and_data_of_each_run_and_of_all_are_served(address, folder):
    for prefix in ("runs/a/", "runs/b%20c/d/", "all/"):
        status, headers, body = ask(address, prefix)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<h1>" in body
        parts = json.loads(ask(address, f"{prefix}parts.json")[2])
        assert "While it trained" in parts["parts"]["training"]
        assert "entropy" in json.loads(ask(address, f"{prefix}charts.json")[2])["figures"]
        rows = json.loads(ask(address, f"{prefix}rollouts.json?limit=3")[2])["rows"]
        assert len(rows) == 3
    rows = json.loads(ask(address, "runs/a/answers.json?right=1&limit=100")[2])["rows"]
    samples = Run(folder / "a").samples("test", 3)
    right = {row["k"] for row in rows if row["k"].startswith("test.3.")}
    assert len(right) <= int(samples["correct"].sum())
    beside = json.loads(ask(address, "runs/a/beside.json?example=multiply-52-4")[2])
    assert [column["step"] for column in beside["columns"]] == [1, 2, 3]
    assert json.loads(ask(address, "all/rollouts.json?run=1&limit=1")[2])["rows"][0]["s"] == 1


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", ""]
)
def test_another_host_name_is_refused(address, host):
    for path in ("", "runs/a/rollouts.json", "page.js", "events"):
        assert ask(address, path, host=host)[0] == 400
    assert ask(address, host="localhost:1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(address, method):
    assert ask(address, "runs/a/", method=method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "runs/../secret.txt", "runs/%2e%2e/secret.txt", "runs/a/secret.txt", "runs/a/../secret.txt",
        "runs/%2e%2e/outside/", "runs/..%2foutside/", "runs/link/", "runs/a/run.json", "secret.txt",
        "runs//etc/passwd", "runs/%2fetc/", "runs/a%00/", "runs/nobody/", "all/a/",
        "runs/../outside/rollouts.json", "runs/a/rollouts.json?run=9", "runs/a/rollouts.json?run=x",
        "rollouts.json", "..%2f..%2fetc/passwd",
    ],
)  # fmt: skip
def test_no_address_leads_outside_the_runs(address, path):
    status, _, body = ask(address, path)
    assert status == 404
    assert SECRET not in body
    assert "root:" not in body


def test_every_answer_may_be_read_by_this_page_alone(address):
    for path in ("", "runs/a/", "runs/a/charts.json", "page.js", "nothing"):
        headers = {k.lower(): v for k, v in ask(address, path)[1].items()}
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers or "uvicorn" in headers["server"]


def test_nonsense_in_a_request_is_no_failure(address):
    words = urllib.parse.urlencode(
        {
            "low": "1e9",
            "after": "::",
            "key": "\x00",
            "text": "\udcff".encode("utf-8", "surrogatepass"),
            "limit": "-5",
        }
    )
    for name in ("rollouts.json", "answers.json", "beside.json"):
        assert ask(address, f"runs/a/{name}?{words}")[0] == 200


def test_a_run_that_cannot_be_read_is_shown_as_such(build, watching, tmp_path):
    run = build(tmp_path / "run", steps=2, questions=2)
    (run / "run.json").write_text('{"schema_version": 99}')
    with watching(run) as address:
        status, _, body = ask(address)
        assert status == 200
        assert "schema version 99" in body
    (run / "run.json").write_text("{")
    with watching(tmp_path) as address:
        assert "damaged" in ask(address)[2]
        assert "run.json is not as it was written" in ask(address, "runs/run/")[2]
    with watching(run) as address:
        (run / "run.json").unlink()
        assert ask(address, "parts.json")[0] == 200, "it was a run when the server began"


def test_events_tell_of_the_first_state_and_of_changes(build, watching, tmp_path):
    run = build(tmp_path / "run", steps=2, questions=2, finish=False)
    with (
        watching(run) as address,
        urllib.request.urlopen(f"{address}events", timeout=60) as stream,
    ):
        first = [stream.readline() for _ in range(3)]
        assert first[0] == b"event: changed\n"
        with open(run / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 3, "train/accuracy": 0.5}\n')
        second = [stream.readline() for _ in range(3)]
        assert second[0] == b"event: changed\n"
        assert second[1] != first[1]


def test_what_is_no_folder_or_no_port_is_one_clear_error(build, tmp_path):
    with pytest.raises(RunError, match="is no folder"):
        watch(tmp_path / "nothing")
    with pytest.raises(RunError, match="is no folder"):
        checked(__file__)
    with pytest.raises(ConfigError, match="the port is 70000"):
        watch(build(tmp_path / "run", steps=1, questions=1), port=70000)
    with pytest.raises(ConfigError, match="price_per_hour"):
        watch(tmp_path / "run", price_per_hour=float("nan"))


def test_a_port_in_use_is_told(build, watching, tmp_path):
    run = build(tmp_path / "run", steps=1, questions=1)
    with watching(run) as address:
        port = int(address.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            watch(run, port=port)
