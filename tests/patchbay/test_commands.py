"""The commands on a real registry, each as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modularizer.datasets.digits import read_digits
from tests.patchbay.running import NET, QUICK, Shop, run_command


def test_list_holds_every_version_with_kind_and_aliases(shop: Shop) -> None:
    rows = {row["uri"]: row for row in shop.run("list", "--json").json}
    expected = {shop.strong: "strong", shop.weak: "weak", shop.patched: "patched"}
    expected |= dict.fromkeys(shop.modules.values(), "class_module")
    assert {uri: rows[uri]["kind"] for uri in expected} == expected
    for row in rows.values():
        assert {"name", "version", "kind", "aliases"} <= row.keys()
    only = shop.run("list", "--json", "--kind", "weak").json
    assert [row["uri"] for row in only] == [shop.weak]


def test_list_as_a_table_names_every_version(shop: Shop) -> None:
    shown = shop.run("list").out
    for uri in (shop.strong, shop.weak, shop.patched, *shop.modules.values()):
        assert uri.removeprefix("models:/").rpartition("/")[0] in shown


def test_show_tells_lineage_both_ways(shop: Shop) -> None:
    found = shop.run("show", shop.modules["1"], "--json").json
    assert found["parents"] == [shop.strong]
    assert shop.patched in found["used_by"]
    shown = shop.run("show", shop.patched).out
    assert shop.weak in shown
    assert shop.modules["1"] in shown


def test_patch_keeps_the_weak_answers_beside_the_patched_ones(shop: Shop) -> None:
    found = shop.run("evaluate", shop.patched, "--data", "digits", "--json").json
    (target,) = found["targets"]
    assert target["target"] == "1"
    assert found["split"] == "test"
    for side in ("weak", "patched"):
        assert target[side].keys() == {"precision", "recall", "f1", "others_accuracy"}
        assert all(0 <= value <= 1 for value in target[side].values())


def test_evaluate_as_a_table_shows_weak_and_patched(shop: Shop) -> None:
    shown = shop.run("evaluate", shop.patched, "--data", "digits", "--split", "validation").out
    assert "weak > patched" in shown
    assert "others right" in shown


def test_predict_gives_the_same_for_file_folder_and_arrays(
    shop: Shop, digit_files: Path, tmp_path: Path
) -> None:
    images = read_digits().images[:3]
    npy, npz = tmp_path / "a.npy", tmp_path / "a.npz"
    np.save(npy, images)
    np.savez(npz, images=images)

    def labels(path: Path) -> list[tuple[str, float]]:
        ran = shop.run("predict", shop.patched, str(path), "--json")
        assert ran.code == 0, ran.err
        return [(p["label"], p["scores"]["1"]) for p in ran.json["predictions"]]

    one_by_one = [labels(digit_files / f"{index}.png")[0] for index in range(3)]
    for path in (digit_files, npy, npz):
        found = labels(path)
        assert [label for label, _ in found] == [label for label, _ in one_by_one]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in one_by_one], atol=1e-5)


def test_predict_with_a_plain_classifier_has_no_weak_side(shop: Shop, digit_files: Path) -> None:
    ran = shop.run("predict", shop.strong, str(digit_files / "0.png"), "--json")
    (answer,) = ran.json["predictions"]
    assert answer.keys() == {"image", "label", "scores"}
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_predict_as_a_table_names_image_and_answer(shop: Shop, digit_files: Path) -> None:
    shown = shop.run("predict", shop.patched, str(digit_files)).out
    assert str(digit_files / "2.png") in shown


def test_tables_say_what_training_and_modularizing_found(shop: Shop, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "other"))
    trained = run_command(
        "train", "tiny", "--data", "digits", "--classes", "0,1", *NET, *QUICK, *home
    )
    assert "models:/tiny/1: epoch" in trained.out
    taken_apart = run_command(
        "modularize", "models:/tiny/1", "--data", "digits", "--candidates", "3", "--parents", "2",
        "--generations", "1", "--random-draws", "1", *home,
    )  # fmt: skip
    assert taken_apart.code == 0, taken_apart.err
    assert "random masks of the same size" in taken_apart.out
