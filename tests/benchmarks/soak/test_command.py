"""``patchbay bench soak`` with the real service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.patchbay.running import run_command


def verdicts(found: Any) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in found["verdicts"]}


@pytest.mark.slow  # a minute of load
@pytest.mark.timed
def test_a_minute_of_load_gives_no_wrong_answer_while_everything_moves(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    ran = run_command("bench", "soak", "--minutes", "1", "--json", "--out", str(out))
    found = ran.json
    assert json.loads(out.read_text()) == found
    best, load = found["rows"]
    assert load["offered_per_second"] == pytest.approx(0.8 * best["requests_per_second"])
    assert load["answers"] > 20 * load["offered_per_second"]
    # Where the machine stands still at the very end, what is due then finds no connection.
    assert set(load["failures_by_kind"]) <= {"unsent"}
    assert verdicts(found) | {"failed or wrong answers": ""} == {
        "failed or wrong answers": "",
        "moves of the alias not followed": "met",
        "loads and unloads refused": "met",
        "growth of memory from the first to the last whole round": "undecided",
    }
    assert len(found["changes"]["moves"]) >= 2
    assert found["changes"]["loaded"] > 5
    assert ran.code == (0 if load["failures"] == 0 else 6)


@pytest.mark.slow
@pytest.mark.timed
def test_a_toy_soak_is_shown_as_tables() -> None:
    ran = run_command("bench", "soak", "--toy", "--minutes", "0.1", "--load", "0.3")
    assert ran.code == 0, ran.out + ran.err
    for text in ("requests/s offered", "moves of the alias", "failed or wrong answers", "met"):
        assert text in ran.out


@pytest.mark.slow
@pytest.mark.timed
def test_a_soak_that_misses_an_aim_says_so_by_its_exit_code() -> None:
    ran = run_command("bench", "soak", "--toy", "--minutes", "0.1", "--load", "2", "--json")
    assert ran.code == 6
    assert verdicts(ran.json)["failed or wrong answers"] == "missed"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--minutes", "0"), "0 is not in the range"),
        (("--minutes", "11"), "11.0 is not in the range"),
        (("--minutes", "nan"), "nan"),
        (("--load", "0"), "0 is not in the range"),
        (("--seed", "-1"), "-1 is not in the range"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, tuple) else "",
)
def test_wrong_input_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    ran = run_command("bench", "soak", *arguments)
    assert ran.code not in (0, 6, 130)
    assert ran.out == ""
    assert expected in ran.err
    assert "defect" not in ran.err
