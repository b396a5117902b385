from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from modularizer.diagnosis import Diagnosis, diagnose
from modularizer.diagnosis_pictures import draw_by_class, draw_confusions, save_diagnosis_pictures


def make_diagnosis(names: list[str], images: int = 30, *, wrong: float = 0.2) -> Diagnosis:
    """Equally good classes but for the first, which is right a third of the time."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(names)), images)
    other = generator.integers(len(names), size=len(labels))
    chance = np.where(labels == 0, 0.7, wrong)
    predicted = np.where(generator.random(len(labels)) < chance, other, labels)
    return diagnose(labels, predicted, class_names=names, draws=200)


@pytest.mark.parametrize("classes", [2, 45])
def test_pictures_are_png_files_of_sane_size(tmp_path: Path, classes: int) -> None:
    found = make_diagnosis([f"class {index}" for index in range(classes)])
    paths = save_diagnosis_pictures(found, tmp_path)
    assert [path.name for path in paths] == ["by-class.png", "confusions.png"]
    for path in paths:
        assert 3_000 < path.stat().st_size < 400_000
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert max(picture.size) < 2000


def test_bars_and_intervals_are_those_of_the_classes_the_weakest_first() -> None:
    found = make_diagnosis(["first", "second", "third", "fourth"], 60)
    assert found.worth_patching == ("first",)
    panels = draw_by_class(found).axes
    assert [axes.get_title() for axes in panels] == ["F1", "precision", "recall"]
    named = [label.get_text() for label in panels[0].get_yticklabels()]
    assert named[0] == "first *"
    assert named == [one.class_name + " *" * one.worth_patching for one in found.weakest_first()]
    for axes, metric in zip(panels, ("f1", "precision", "recall"), strict=True):
        values = [getattr(one, metric) for one in found.weakest_first()]
        spreads = [getattr(one, f"{metric}_interval") for one in found.weakest_first()]
        widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
        assert widths == pytest.approx(values)
        (lines,) = [one for one in axes.collections if isinstance(one, LineCollection)]
        ends = [(float(line[0, 0]), float(line[1, 0])) for line in lines.get_segments()]
        assert ends == [pytest.approx((one.low, one.high)) for one in spreads]
        assert len({bar.get_facecolor() for bar in axes.patches}) == 2


def test_of_very_many_classes_the_weakest_are_drawn() -> None:
    found = make_diagnosis([f"class {index}" for index in range(110)], 5)
    figure = draw_by_class(found)
    assert len(figure.axes[0].patches) == 100
    assert "weakest 100 of 110" in figure.get_suptitle()


def test_confusions_are_written_in_their_cells() -> None:
    found = make_diagnosis(["a", "b", "c"], 40)
    axes = draw_confusions(found).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    matrix = found.confusion_matrix()
    assert written == {
        (column, row): str(count) for (row, column), count in np.ndenumerate(matrix) if count
    }


def test_names_of_any_kind_and_a_class_without_images_are_drawn(tmp_path: Path) -> None:
    names = ("$a_b^{$ and $", "two\nlines", "漢字", "long " * 50, "nobody")
    labels = np.arange(40) % 4
    found = diagnose(labels, np.roll(labels, 9), class_names=names, draws=50)
    assert all(path.stat().st_size for path in save_diagnosis_pictures(found, tmp_path))
    perfect = diagnose(labels, labels, class_names=names, draws=50)
    colours = draw_confusions(perfect).axes[0].images[0].get_array()
    assert colours is not None
    assert not np.any(colours > 0)
    alone = diagnose(labels * 0, labels * 0, class_names=["only"], draws=50)
    assert all(path.stat().st_size for path in save_diagnosis_pictures(alone, tmp_path))
