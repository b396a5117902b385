"""``patchbay bench serving`` at toy size, with real servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.serving.settings import PEERS
from tests.patchbay.running import run_command
from tests.waiting import wait_until

TOY = ("bench", "serving", "--toy", "--rounds", "1", "--window", "1", "--clients", "1,4")

Started = Callable[[], list[psutil.Process]]


def row(found: Any, name: str, payload: str, clients: int) -> Any:
    [one] = [
        one
        for one in found["rows"]
        if (one["name"], one["payload"], one["clients"]) == (name, payload, clients)
        and one["arrivals"] == "closed"
    ]
    return one


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The processes that the command started and that still run, whoever their parent is now."""
    mark = uuid4().hex
    monkeypatch.setenv("STARTED_BY_THIS_TEST", mark)

    def living() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("STARTED_BY_THIS_TEST") == mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # gone meanwhile, a zombie, or another user's
        return found

    return living


@pytest.mark.timed
def test_the_service_is_measured_patched_and_weak(tmp_path: Path, started: Started) -> None:
    out = tmp_path / "folder" / "serving.json"
    ran = run_command(*TOY, "--peers", "none", "--json", "--out", str(out))
    assert ran.code == 0, ran.err
    found = ran.json
    assert json.loads(out.read_text()) == found
    for name, payload in (
        *(("patched", "npy"), ("patched", "png"), ("patched", "jpeg")),
        *(("patched", "v2-json"), ("patched", "v2-binary")),
        ("weak", "npy"),
    ):
        for clients in (1, 4):
            one = row(found, name, payload, clients)
            assert one["requests_per_second"] > 0
            assert 0 < one["p50_ms"] <= one["p99_ms"]
            assert (one["failures"], one["failures_by_kind"]) == (0, {})
            assert one["server_cpu_ms"] > 0
            assert 100 < one["rss_mib"] <= found["peers"]["patchbay"]["rss_mib"]
    rhythms = [one["arrivals"] for one in found["rows"] if one["arrivals"] != "closed"]
    assert rhythms == ["steady", "poisson", "bursts", "overload", "after overload"]
    assert found["overload"]["offered_per_second"] >= found["overload"]["goodput_per_second"] > 0
    names = {(one["name"], one["clients"]) for one in found["comparisons"]}
    assert ("patched / weak", 4) in names
    assert ("service overhead, CPU ms a request", 1) in names
    assert {one.get("verdict") for one in found["comparisons"]} == {None, "undecided"}
    assert set(found["peers"]) == {"patchbay"}
    assert found["peers"]["patchbay"]["startup_seconds"] > 1
    assert found["peers"]["patchbay"]["rss_mib"] > 100
    assert found["generator"]["ceiling"][1]["requests_per_second"] > 500
    assert found["subject"]["weights"].startswith("random")
    assert {"processor", "commit", "bentoml", "torch"} <= set(found["environment"])
    wait_until(lambda: not started(), "nothing that it started goes on")


@pytest.mark.slow  # starts the other servers, too
@pytest.mark.timed
def test_other_servers_are_measured_beside_it(tmp_path: Path, started: Started) -> None:
    out, pictures = tmp_path / "serving.json", tmp_path / "pictures"
    drawn = ("--out", str(out), "--pictures", str(pictures))
    ran = run_command("bench", "serving", "--toy", *drawn)
    assert ran.code == 0, ran.err
    found = json.loads(out.read_text())
    assert set(found["peers"]) == {"patchbay", *PEERS}
    assert "wrong label" not in ran.out
    for name in PEERS:
        assert f"patched / {name}" in ran.out
        assert f"{name}: ready after" in ran.out
        [payload] = {one["payload"] for one in found["rows"] if one["name"] == name}
        assert f"{name}'s {payload}" in ran.err
        for clients in (1, 4):
            one = row(found, name, payload, clients)
            assert one["requests_per_second"] > 0
            assert (one["failures"], one["failures_by_kind"]) == (0, {})
            assert one["server_cpu_ms"] > 0
            assert 100 < one["rss_mib"] <= found["peers"][name]["rss_mib"]
    ratios = [one for one in found["comparisons"] if one["name"] == "patched / litserve"]
    assert [(one["clients"], one["aim"]) for one in ratios] == [(1, None), (4, None)]
    assert {*PEERS, "uvicorn"} <= set(found["environment"])
    assert [path.name for path in pictures.iterdir()] == ["serving.png"]
    wait_until(lambda: not started(), "nothing that it started goes on")


@pytest.mark.slow  # starts the service once more
def test_a_server_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litserve", None)
    ran = run_command(*TOY, "--peers", "litserve", "--json")
    assert ran.code == 0, ran.err
    assert "litserve is left out: it is not installed" in ran.err
    assert set(ran.json["peers"]) == {"patchbay"}
    assert "litserve" not in {one["name"] for one in ran.json["rows"]}
    assert "litserve" not in ran.json["environment"]


def test_earlier_figures_are_shown_and_drawn(tmp_path: Path) -> None:
    earlier = Path(__file__).parents[3] / "benchmarks" / "results" / "serving-cpu.json"
    ran = run_command("bench", "serving", "--figures", str(earlier), "--pictures", str(tmp_path))
    assert ran.code == 0, ran.err
    assert "patched / mlflow" in ran.out
    assert "mlflow: ready after" in ran.out
    assert [path.name for path in tmp_path.iterdir()] == ["serving.png"]
    ran = run_command("bench", "serving", "--figures", str(earlier), "--json")
    assert ran.json == json.loads(earlier.read_text())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    soak = Path(__file__).parents[3] / "benchmarks" / "results" / "soak-cpu.json"
    other = tmp_path / "other.json"
    for text in ("[]", "{}", "no JSON", soak.read_text()):
        other.write_text(text)
        ran = run_command("bench", "serving", "--figures", str(other))
        assert ran.code == 1
        assert "expected figures of patchbay bench serving" in ran.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--rounds", "0"), "0 is not in the range"),
        (("--window", "nan"), "nan"),
        (("--window", "0.01"), "0.01 is not in the range"),
        (("--clients", "1,,2"), "commas between"),
        (("--clients", "0"), "from 1 to 1024"),
        (("--clients", "2000"), "from 1 to 1024"),
        (("--clients", "many"), "from 1 to 1024"),
        (("--peers", "triton"), "'triton' is not one of mlflow, starlette, litserve"),
        (("--peers", "mlflow,none"), "'none' is not one of"),
        (("--peers", "mlflow,,litserve"), "commas between"),
        (("--no-mlflow",), "No such option"),
        (("--figures", "nowhere.json"), "does not exist"),
        (("--figures", __file__, "--toy"), "--toy goes with a measurement"),
        (("--figures", __file__, "--peers", "none"), "--peers goes with a measurement"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, tuple) else "",
)
def test_wrong_input_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    ran = run_command("bench", "serving", *arguments)
    assert ran.code not in (0, 130)
    assert ran.out == ""
    assert expected in ran.err
    assert "defect" not in ran.err


def test_a_file_that_can_not_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run_command(*TOY, "--out", str(tmp_path / "file" / "serving.json"))
    assert ran.code == 1
    assert "ready" not in ran.err
    assert str(tmp_path / "file") in ran.err
    assert "defect" not in ran.err
