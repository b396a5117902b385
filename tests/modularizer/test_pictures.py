from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modularizer.pictures import (
    draw_convergence,
    draw_kernels_kept,
    draw_overlap,
    save_pictures,
)
from modularizer.search_report import SearchReport


def make_report(
    classes: int, layers: int, generations: int, names: Sequence[str] = ()
) -> SearchReport:
    """Modules that keep random kernels of layers with 16 of them each."""
    kept = np.random.default_rng(0).random((classes, layers, 16)) < 0.6
    flat = kept.reshape(classes, -1).astype(int)
    shared = (flat @ flat.T).tolist()
    return SearchReport(
        class_names=tuple(names) or tuple(f"class {index}" for index in range(classes)),
        layers=tuple(f"block.{index}.conv" for index in range(layers)),
        segment_kernels=(16,) * layers,
        kernels=16 * layers,
        kernels_kept=tuple(tuple(row) for row in kept.sum(axis=2).tolist()),
        kernels_shared=tuple(tuple(row[: index + 1]) for index, row in enumerate(shared)),
        history=tuple(
            {
                "fitness": 0.9 - 0.5 / step,
                "accuracy": 0.95 - 0.5 / step,
                "diff": 0.5,
                "kernels_kept": 9.0 * layers + step,
            }
            for step in range(1, generations + 1)
        ),
        strong_accuracy=0.97,
        random_accuracy=(0.2, 0.4),
    )


@pytest.mark.parametrize(("classes", "layers", "generations"), [(2, 1, 1), (100, 60, 200)])
def test_pictures_are_png_files_of_sane_size(
    tmp_path: Path, classes: int, layers: int, generations: int
) -> None:
    paths = save_pictures(make_report(classes, layers, generations), tmp_path)
    assert [path.name for path in paths] == ["convergence.png", "kernels-kept.png", "overlap.png"]
    for path in paths:
        assert 3_000 < path.stat().st_size < 300_000
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert max(picture.size) < 2000


def test_names_of_any_kind_are_drawn(tmp_path: Path) -> None:
    names = ("$a_b^{$ and $", "two\nlines", "漢字", "long " * 50)
    report = make_report(4, 2, 3, names)
    assert all(path.stat().st_size for path in save_pictures(report, tmp_path))
    labels = [text.get_text() for text in draw_overlap(report).axes[0].get_xticklabels()]
    assert labels[:3] == ["$a_b^{$ and $", "two lines", "漢字"]
    assert labels[3] == "long long long l…ng long"


def test_the_heat_maps_show_the_numbers_the_right_way_round() -> None:
    report = make_report(3, 5, 2)
    kept: Any = draw_kernels_kept(report).axes[0]
    shown = kept.images[0].get_array()
    assert shown.shape == (5, 3)
    for layer in range(5):
        for label in range(3):
            assert shown[layer, label] == report.kernels_kept[label][layer] / 16
    assert [text.get_text() for text in kept.get_xticklabels()] == list(report.class_names)
    assert len(kept.texts) == 15
    first, last = kept.texts[0], kept.texts[-1]
    assert first.get_text() == f"{report.kernels_kept[0][0] / 16:.2f}"
    assert last.get_text() == f"{report.kernels_kept[2][4] / 16:.2f}"
    overlap: Any = draw_overlap(report).axes[0]
    assert len(overlap.texts) == 6  # every pair twice, no module with itself
    low, high = overlap.images[0].get_clim()
    off_diagonal = report.overlap()[~np.eye(3, dtype=bool)]
    assert 0 <= low <= off_diagonal.min() <= off_diagonal.max() <= high <= 1


def test_many_cells_hold_no_numbers() -> None:
    axes: Any = draw_overlap(make_report(30, 2, 1)).axes[0]
    assert len(axes.texts) == 0


def test_the_curves_show_the_history_from_the_first_generation_on() -> None:
    report = make_report(2, 2, 4)
    upper, lower = draw_convergence(report).axes[:2]
    curves = {str(line.get_label()): line for line in upper.get_lines()}
    for metric, name in (("fitness", "fitness"), ("accuracy", "Acc"), ("diff", "Diff")):
        points = np.asarray(curves[name].get_xydata())
        assert points.tolist() == [[i, row[metric]] for i, row in enumerate(report.history, 1)]
    (strong,) = {np.asarray(curves["strong model's Acc"].get_ydata())[0]}
    (random,) = {np.asarray(curves["Acc of random masks of the same size"].get_ydata())[0]}
    assert (strong, random) == (0.97, pytest.approx(0.3))
    kept = np.asarray(lower.get_lines()[0].get_xydata())
    assert kept.tolist() == [[i, row["kernels_kept"]] for i, row in enumerate(report.history, 1)]


def test_a_history_without_these_metrics_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    report = make_report(2, 2, 2).model_copy(
        update={"history": ({"loss": 1.0}, {"fitness": 0.5}), "random_accuracy": ()}
    )
    save_pictures(report, tmp_path)
    drawn = [line.get_label() for line in draw_convergence(report).axes[0].get_lines()]
    assert drawn == ["fitness", "strong model's Acc"]
