"""A hub that does not answer is asked twice, and then no more."""

import socket

import pytest
from huggingface_hub import constants

from oneshot_rlvr import hub


@pytest.fixture
def endpoint(monkeypatch):
    """A server's address, not offline, no proxies; the sleeping is counted."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub, "PAUSE_SECONDS", 0.0)
    hub._reachable.cache_clear()
    yield lambda url: monkeypatch.setattr(constants, "ENDPOINT", url)
    hub._reachable.cache_clear()


def test_a_hub_that_does_not_answer_is_tried_twice_and_its_cache_used(
    endpoint, monkeypatch, caplog
):
    tried = []

    def refuse(address, timeout):
        tried.append(address)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", refuse)
    endpoint("https://hub.example")
    hub.look()
    hub.look()
    assert tried == [("hub.example", 443)] * 2
    assert constants.HF_HUB_OFFLINE
    assert "https://hub.example does not answer" in caplog.text


def test_a_hub_that_answers_is_left_alone(endpoint):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint(f"http://127.0.0.1:{server.getsockname()[1]}")
        hub.look()
    assert not constants.HF_HUB_OFFLINE


def test_behind_a_proxy_nothing_is_concluded(endpoint, monkeypatch):
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy.example"})
    endpoint("https://hub.example")
    hub.look()
    assert not constants.HF_HUB_OFFLINE
