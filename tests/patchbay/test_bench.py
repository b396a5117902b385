"""Each benchmark at toy size, so that none rots."""

from __future__ import annotations

from pathlib import Path

import pytest

from modularizer.datasets.recipes import load_data
from tests.patchbay.running import Shop, run_command

TINY = (
    *("--width-multiplier", "0.05", "--epochs", "1", "--candidates", "3"),
    *("--images", "20", "--generations", "2", "--workers", "1"),
)


def test_the_bracket_benchmark_gives_its_seconds() -> None:
    sizes = ("--classes", "4", "--candidates", "5", "--images", "40", "--repeats", "2")
    found = run_command("bench", "search", "--stage", "bracket", "--json", *sizes).json
    assert found["bracket_seconds"] > 0
    assert found["diff_seconds"] > 0
    assert found["bracket"]["repeats"] == 2
    assert found["environment"]["threads"] == 1


def test_the_bracket_benchmark_as_a_table_with_the_plain_way() -> None:
    sizes = ("--classes", "3", "--candidates", "4", "--images", "10", "--repeats", "1")
    shown = run_command("bench", "search", "--stage", "bracket", "--reference", *sizes).out
    assert "3 classes x 4 candidates x 10 images" in shown
    assert "plain diff" in shown
    assert "10% was done" in shown
    assert "same results" in shown


def test_a_generation_of_a_model_trained_on_the_spot() -> None:
    found = run_command("bench", "search", "--reference", "--json", *TINY).json
    assert len(found["rows"]) == 2
    for key in ("generation_seconds", "bracket_seconds", "diff_seconds", "passes"):
        assert found[key] > 0
    assert found["generation_ratio"] > 0
    assert found["bracket_ratio"] > 0
    assert found["disagreements"] == []
    assert found["subject"]["training_seconds"] > 0
    assert found["environment"]["device"] == "cpu"


def test_a_generation_of_a_registered_model_as_a_table(shop: Shop) -> None:
    sizes = ("--candidates", "3", "--images", "9999", "--generations", "2", "--reference")
    other = ("--setting", "sensitive_drop=[0,0.2]")
    ran = shop.run("bench", "search", "--model", shop.strong, "--data", "digits", *sizes, *other)
    assert ran.code == 0, ran.err
    there = len(load_data("digits", classes=["0", "1", "2"]).validation)
    assert f"{shop.strong}: 3 classes x 3 candidates x {there} images" in ran.out
    assert f"digits has {there} validation images" in ran.err
    assert "images x candidates a second" in ran.out
    assert "same results" in ran.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--images", "0"), "0 is not in the range"),
        (("--images", "9"), "fewer than the 10 classes"),
        (("--top", "0"), "0 is not in the range"),
        (("--candidates", "1"), "1 is not in the range"),
        (("--reference", "--reference-share", "0.05"), "0.05 is not in the range"),
        (("--reference-share", "0.5"), "--reference"),
        (("--ablation", "--reference"), "--ablation"),
        (("--out", "here"), "--ablation"),
        (("--data", "nothing"), "no data 'nothing'"),
        (("--precision", "tf32"), "tf32"),
        (("--setting", "sensitive_drop=[0.5,0.1]"), "sensitive_drop"),
        (("--setting", "no_such=1"), "no_such"),
        (("--setting", "top=1"), "--setting doesn't take top"),
        (("--setting", 'search="gradient"'), "--setting doesn't take search"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, tuple) else "",
)
def test_wrong_input_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    ran = run_command("bench", "search", *arguments)
    assert ran.code not in (0, 130)
    assert ran.out == ""
    assert expected in ran.err
    assert "defect" not in ran.err


def test_an_unknown_model_is_refused(shop: Shop) -> None:
    ran = shop.run("bench", "search", "--model", "models:/nobody/1")
    assert ran.code == 1
    assert "nobody" in ran.err
    assert "defect" not in ran.err


@pytest.mark.slow
def test_the_ablation_keeps_its_rows_a_table_and_a_picture(tmp_path: Path) -> None:
    command = ("bench", "search", "--ablation", *TINY, "--out", str(tmp_path / "out"))
    ran = run_command(*command)
    assert ran.code == 0, ran.err
    assert "first population" in ran.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"search-ablation.json", "search-ablation.png"} < names
    assert run_command(*command, "--json").json["rows"]


@pytest.mark.slow
def test_the_decode_benchmark_compares_two_widths() -> None:
    found = run_command("bench", "search", "--stage", "decode", "--repeats", "1", "--json").json
    assert [one["width_multiplier"] for one in found["networks"]] == [0.25, 1.0]
    assert all(0 < one["decode_share"] < 1 for one in found["networks"])
