from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search.ablation import Ablation, Variant, base_settings, variants
from benchmarks.search.pictures import save_ablation
from benchmarks.search.subject import Workbench, open_workbench
from modularizer.progress import Progress, ProgressCallback
from tests.benchmarks.search.samples import subject

BASE = base_settings(candidates=3, generations=2)


@pytest.fixture(scope="module")
def benches() -> Iterator[tuple[Workbench, Workbench]]:
    whole = subject(24)
    with (
        open_workbench(whole, BASE, workers=1) as bench,
        open_workbench(whole.first_classes(3), BASE, workers=1) as small,
    ):
        yield bench, small


def test_every_row_changes_what_its_group_says_and_nothing_else() -> None:
    fields = {
        "base": set(),
        "grouping": {"grouping"},
        "first population": {"first_population", "sensitive_drop", "insensitive_drop"},
        "alpha": {"alpha"},
        "N_I": {"candidates", "parents", "top"},
        "bracket": {"bracket"},
        "published code": {
            *("elites", "adaptive_alpha", "passing", "least_passing", "most_passing"),
        },
    }
    base = base_settings(candidates=20, generations=30)
    rows = variants(base)
    assert {row.group for row in rows} == set(fields)
    for row in rows:
        settings = row.settings(base, seed=0)
        changed = {
            name for name in type(base).model_fields
            if getattr(settings, name) != getattr(base, name)
        }  # fmt: skip
        assert changed <= fields[row.group]
        assert changed or row.group == "base" or (row.group, row.name) == ("bracket", "on")
    sizes = {row.settings(base, 0).candidates for row in rows}
    assert sizes == {10, 20, 40}
    alphas = {row.settings(base, 0).alpha for row in rows}
    assert alphas == {0.5, 0.7, 0.9, 1.0}


def test_the_paper_s_drop_ranges_have_a_row_where_the_base_has_others() -> None:
    base = base_settings(
        candidates=4,
        generations=2,
        changes={"sensitive_drop": (0, 0.2), "first_population": "weighted"},
    )
    rows = [row for row in variants(base) if row.group == "first population"]
    assert [row.name for row in rows] == ["sensitivity", "random", "the paper's drop ranges"]
    assert rows[-1].settings(base, 0).sensitive_drop == (0.1, 0.5)
    assert rows[0].settings(base, 0).sensitive_drop == (0, 0.2)


def test_rows_seeds_and_a_picture(benches: tuple[Workbench, Workbench], tmp_path: Path) -> None:
    found = Ablation(BASE, (0, 1)).run(*benches)
    assert [(row["group"], row["name"]) for row in found["rows"]] == [
        (row.group, row.name) for row in variants(BASE)
    ]
    for row in found["rows"]:
        assert [run["seed"] for run in row["runs"]] == [0, 1]
        low, high = row["spread"]["fitness"]
        assert low <= row["fitness"] <= high
        assert row["fitness"] == pytest.approx(0.9 * row["accuracy"] + 0.1 * row["diff"])
        assert row["passes"] > 0
        assert 0 < row["kernels_kept"] <= 1
    on, off = (row for row in found["rows"] if row["group"] == "bracket")
    for with_it, without in zip(on["runs"], off["runs"], strict=True):
        first = with_it["history"][0], without["history"][0]  # of the same first candidates
        assert first[0]["fitness"] <= first[1]["fitness"] + 1e-12
    save_ablation(json.loads(json.dumps(found)), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


def test_a_finished_row_is_taken_again_and_no_other(
    benches: tuple[Workbench, Workbench], tmp_path: Path
) -> None:
    rows = (Variant("base", "it"), Variant("alpha", "0.5", {"alpha": 0.5}))

    def run(seeds: tuple[int, ...] = (0,)) -> tuple[dict[str, Any], int]:
        heard: list[Progress] = []

        def progress(_: str) -> ProgressCallback:
            return heard.append

        ablation = Ablation(BASE, seeds, tmp_path)
        return ablation.run(*benches, chosen=rows, progress=progress), len(heard)

    first, generations = run()
    assert generations == 4
    again, none = run()
    assert none == 0
    assert again == first
    _, others = run((1,))
    assert others == 4
    next(tmp_path.glob("run-*.json")).write_text("{broken")
    repaired, two = run((0, 1))
    assert two == 2
    assert [row["runs"][0]["fitness"] for row in repaired["rows"]] == [
        row["fitness"] for row in first["rows"]
    ]
