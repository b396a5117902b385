"""``patchbay diagnose`` on a real registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from modularizer.classifier import predict
from modularizer.datasets.recipes import load_data
from modularizer.diagnosis import diagnose
from patchbay.diagnosis_view import show_diagnosis
from registry.registry import Registry
from tests.patchbay.running import Ran, Shop
from tests.patchbay.test_wrong_input import refused

DIGITS = ("--data", "digits")


@pytest.fixture(scope="module")
def stored(shop: Shop) -> Any:
    """A stored diagnosis of the weak model, as JSON."""
    ran = shop.run("diagnose", shop.weak, *DIGITS, "--store", "--json")
    assert ran.code == 0, ran.err
    return ran.json


def test_every_kind_that_answers_is_as_scikit_learn_sees_it(shop: Shop, stored: Any) -> None:
    registry = Registry.open(shop.home)
    for uri, options in (
        (shop.weak, ()),
        (shop.strong, ("--split", "test")),
        (shop.patched, ("--data-seed", "0")),
    ):
        ran = shop.run("diagnose", uri, *DIGITS, *options, "--json")
        assert (ran.code, ran.err) == (0, "")
        found = ran.json
        model: Any = registry.load(uri).model
        data = load_data("digits", classes=model.class_names)
        images = data.test.open("a test") if "test" in options else data.validation
        predicted = predict(model, images.images).argmax(axis=1)
        every = range(len(model.class_names))
        measured = precision_recall_fscore_support(
            images.labels, predicted, labels=every, zero_division=0
        )
        rows = found["classes"]
        assert [row["class_name"] for row in rows] == list(model.class_names)
        for key, column in zip(("precision", "recall", "f1", "support"), measured, strict=True):
            assert [row[key] for row in rows] == pytest.approx(list(column))
        assert found["accuracy"] == pytest.approx(accuracy_score(images.labels, predicted))
        matrix = confusion_matrix(images.labels, predicted, labels=every)
        names = model.class_names
        for one in found["confusions"]:
            place = names.index(one["true_class"]), names.index(one["answered_class"])
            assert one["count"] == matrix[place]
        assert (found["uri"], found["images"]) == (uri, len(images))
        assert found["split"] == ("test" if "test" in options else "validation")
        assert found["data"] == {"source": "digits", "fingerprint": images.fingerprint}
        assert (found["run_id"], found["pictures"]) == (None, [])


def test_the_tables_fit_and_show_marks_costs_and_the_next_step(shop: Shop, stored: Any) -> None:
    marked = stored["worth_patching"]
    assert marked  # the weak model was stopped halfway
    ran = shop.run("diagnose", shop.weak, *DIGITS, "--top", "2")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(len(line) for line in lines if "patchbay recommend" not in line) <= 100
    for row in stored["classes"]:
        (line,) = [one for one in lines if one.split()[:1] == [row["class_name"]] and " to " in one]
        assert f"{row['f1']:.3f}" in line
        assert ("* patch" in line) == row["worth_patching"]
    assert f"The 2 costliest of {len(stored['confusions'])} confusions" in ran.out
    assert f"{stored['confusions'][1]['macro_f1_cost']:.4f}" in ran.out
    command = f"patchbay recommend {shop.weak} --data digits --home {shop.home}"
    assert f"Next, for {', '.join(marked)}: {command}" in lines
    assert stored["next"] == [{"class_name": name, "command": command} for name in marked]


def test_a_patched_model_is_patched_anew_from_its_weak_one(shop: Shop) -> None:
    ran = shop.run("diagnose", shop.patched, *DIGITS, "--margin", "0", "--json")
    assert all(shop.weak in one["command"] for one in ran.json["next"])
    assert ran.json["margin"] == ran.json["settings"]["margin"] == 0


def test_the_margin_moves_the_mark(shop: Shop, stored: Any) -> None:
    found = shop.run("diagnose", shop.weak, *DIGITS, "--margin", "0.99", "--json").json
    assert (found["worth_patching"], found["next"]) == ([], [])
    assert found["classes"][0]["gap_interval"] == stored["classes"][0]["gap_interval"]
    assert (
        "No class is worth a patch"
        in shop.run("diagnose", shop.weak, *DIGITS, "--margin", "0.99").out
    )


def test_pictures_are_drawn_where_asked_for(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"
    ran = shop.run("diagnose", shop.weak, *DIGITS, "--pictures", str(folder))
    assert ran.code == 0, ran.err
    for name in ("by-class.png", "confusions.png"):
        assert f"drawn: {folder / name}" in ran.out
        with Image.open(folder / name) as picture:
            picture.verify()


def test_what_is_stored_is_shown_with_the_version(shop: Shop, stored: Any) -> None:
    shown = shop.run("show", shop.weak, "--json").json["diagnoses"]
    (one,) = [one for one in shown if one["run_id"] == stored["run_id"]]
    assert one["macro_f1"] == pytest.approx(stored["macro_f1"])
    assert (one["split"], one["images"]) == ("validation", stored["images"])
    assert (one["data"], one["worth_patching"]) == (stored["data"], stored["worth_patching"])
    text = " ".join(shop.run("show", shop.weak).out.split())
    assert f"validation images of digits: macro F1 {stored['macro_f1']:.3f}" in text
    assert shop.run("show", shop.strong, "--json").json["diagnoses"] == []
    assert "diagnosed" not in shop.run("show", shop.strong).out


def test_other_splits_than_the_models_are_warned_of(shop: Shop) -> None:
    for uri, called in ((shop.strong, "the model"), (shop.patched, "the weak model")):
        ran = shop.run("diagnose", uri, *DIGITS, "--data-seed", "5", "--json")
        assert ran.code == 0
        assert f"warning: {called} was trained with other splits" in ran.err
        assert ran.json["settings"]["data_seed"] == 5


def data_file(folder: Path, names: list[str], labels: Any) -> str:
    """An .npz with blank images under these labels, for training and for testing alike."""
    images = np.zeros((len(labels), 8, 8, 1), np.uint8)
    file = folder / "data.npz"
    np.savez(
        file,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
        class_names=np.array(names),
    )  # fmt: skip
    return str(file)


def test_names_and_classes_of_any_kind_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[bold]", "the quite long name of a class, its first part alone", "nobody"]
    labels = np.arange(40) % 2
    found = diagnose(labels, labels[::-1].copy(), class_names=names, draws=20)
    show_diagnosis("title", found, most_confusions=10)
    out = capsys.readouterr().out
    assert "[bold]" in out
    assert "the quit...t alone" in out
    (line,) = [one for one in out.splitlines() if "nobody" in one]
    assert line.split() == ["nobody", "no", "image", "0", "0", "-", "-", "-", "-"]
    assert max(map(len, out.splitlines())) <= 100
    show_diagnosis("title", diagnose(labels, labels, class_names=names), most_confusions=10)
    out = capsys.readouterr().out
    assert "Macro F1 1.000" in out
    assert "onfusions" not in out


def not_stored(shop: Shop, ran: Ran, *expected: str) -> None:
    """It was refused, and nothing was kept."""
    refused(ran, *expected)
    registry = Registry.open(shop.home)
    assert all(
        registry.diagnoses(version) == []
        for version in registry.versions()
        if version.uri != shop.weak
    )


def test_wrong_input_is_refused_and_nothing_stored(shop: Shop, stored: Any, tmp_path: Path) -> None:
    def run(uri: str, *options: str) -> Ran:
        return shop.run("diagnose", uri, "--store", *options)

    not_stored(shop, run(shop.modules["1"], *DIGITS), "class module", shop.modules["1"])
    not_stored(shop, run("models:/nobody/1", *DIGITS), "nobody")
    not_stored(shop, run("weak/1", *DIGITS), "models:/")
    missing = str(tmp_path / "no.npz")
    not_stored(shop, run(shop.strong, "--data", missing), missing)
    other = data_file(tmp_path, ["ape", "bee"], np.arange(20) % 2)
    not_stored(shop, run(shop.strong, "--data", other), "'0'", "ape, bee")
    for options, said in (
        (("--margin", "nan"), "nan"),
        (("--margin", "1"), "margin"),
        (("--top", "-1"), "top"),
        (("--split", "train"), "train"),
    ):
        not_stored(shop, run(shop.strong, *DIGITS, *options), said)
    (tmp_path / "file").write_text("")
    below = str(tmp_path / "file" / "below")
    not_stored(shop, run(shop.strong, *DIGITS, "--pictures", below), str(tmp_path / "file"))
