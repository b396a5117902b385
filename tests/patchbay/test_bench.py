"""Each benchmark at toy size, so that none rots."""

from __future__ import annotations

import pytest

from tests.patchbay.running import run_command


def test_the_bracket_benchmark_gives_its_seconds() -> None:
    sizes = ("--classes", "4", "--candidates", "5", "--images", "40", "--repeats", "2")
    found = run_command("bench", "search", "--stage", "bracket", "--json", *sizes).json
    assert found["bracket_seconds"] > 0
    assert found["diff_seconds"] > 0
    assert found["bracket"]["repeats"] == 2
    assert found["environment"]["threads"] == 1


def test_the_bracket_benchmark_as_a_table() -> None:
    sizes = ("--classes", "2", "--candidates", "2", "--images", "10", "--repeats", "1")
    assert "2 classes x 2 candidates x 10 images" in run_command("bench", "search", *sizes).out


@pytest.mark.slow
def test_the_decode_benchmark_compares_two_widths() -> None:
    found = run_command("bench", "search", "--stage", "decode", "--repeats", "1", "--json").json
    assert [one["width_multiplier"] for one in found["networks"]] == [0.25, 1.0]
    assert all(0 < one["decode_share"] < 1 for one in found["networks"])
