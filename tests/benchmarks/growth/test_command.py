"""``patchbay bench memory-growth`` at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.patchbay.running import run_command

COMMAND = ("bench", "memory-growth")
NAMES = {
    "modules": {
        *("weight_bytes", "disk_bytes", "process_bytes", "first_load_seconds", "load_seconds"),
        *("read_seconds", "one_image_ms", "explained_image_ms", "batch_ms"),
    },
    "listed": {
        *("register_one_seconds", "list_seconds", "list_peak_bytes", "modules_of_one_seconds"),
        "find_seconds",
    },
    "classes": {
        *("compose_seconds", "compose_peak_bytes", "plan_seconds", "decode_seconds"),
        *("diff_seconds", "diff_peak_bytes", "combine_ms", "combine_all_ms"),
    },
}
SIZES = {"modules": [1, 2, 4], "listed": [5, 10, 20], "classes": [10, 20, 40]}


@pytest.mark.slow  # a process for each size
def test_every_curve_is_measured_fitted_shown_and_drawn(tmp_path: Path) -> None:
    out, pictures = tmp_path / "growth.json", tmp_path / "pictures"
    ran = run_command(*COMMAND, "--toy", "--json", "--out", str(out), "--pictures", str(pictures))
    assert ran.code == 0, ran.err
    found = ran.json
    assert json.loads(out.read_text()) == found
    curves: dict[tuple[str, str], list[int]] = {}
    for row in found["rows"]:
        curves.setdefault((row["series"], row["name"]), []).append(row["size"])
        assert 0 < row["lowest"] <= row["median"] <= row["p90"] <= row["highest"]
    assert curves == {(one, name): SIZES[one] for one, names in NAMES.items() for name in names}
    assert {(one["series"], one["name"]) for one in found["fits"]} == set(curves)
    weights = [row["median"] for row in found["rows"] if row["name"] == "weight_bytes"]
    [fit] = [one for one in found["fits"] if one["name"] == "weight_bytes"]
    assert fit["r_squared"] > 0.9
    assert fit["per_item_bytes"] == pytest.approx((weights[-1] - weights[0]) / 3, rel=0.1)
    assert found["settings"]["tiny"]
    assert found["environment"]["commit"]
    with Image.open(pictures / "growth.png") as picture:
        assert picture.size[0] > 1000
    again = run_command(*COMMAND, "--figures", str(out), "--pictures", str(tmp_path / "again"))
    assert again.code == 0, again.err
    for text in ("weight MiB", "class modules in a registry", "exponent", "for each", "growth.png"):
        assert text in again.out
    assert (tmp_path / "again" / "growth.png").stat().st_size > 10_000


def test_one_series_can_be_measured_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "new" / "growth.json"
    ran = run_command(*COMMAND, "--toy", "--series", "classes", "--out", str(out))
    assert ran.code == 0, ran.err
    found = json.loads(out.read_text())
    assert {row["series"] for row in found["rows"]} == {"classes"}
    assert "compose seconds" in ran.out
    assert "weight" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--modules", "8"), "--modules: growth needs two different sizes at least"),
        (("--listed", "10,10"), "--listed: growth needs two different sizes at least"),
        (("--classes", "1,2"), "--classes: Input should be greater than or equal to 2"),
        (("--classes", "0,2"), "expected numbers from 1 to 3000"),
        (("--modules", "many"), "expected numbers from 1 to 256"),
        (("--series", "words"), "'words' is not one of"),
        (("--width", "nan"), "not a finite number"),
        (("--repeats", "0"), "0 is not in the range"),
        (("--figures", "nowhere.json"), "does not exist"),
    ],
)
def test_what_can_t_be_measured_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    ran = run_command(*COMMAND, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert expected in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON", '{"rows": [], "verdicts": []}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    other = tmp_path / "other.json"
    other.write_text(text)
    ran = run_command(*COMMAND, "--figures", str(other))
    assert ran.code == 1
    assert "expected figures of patchbay bench memory-growth" in ran.err
