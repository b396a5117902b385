from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.recipes import load_data
from patchbay.commands.patch import NO_GAIN
from patchbay.provenance import other_splits
from registry.bundles.manifest import Origin
from tests.patchbay.running import Shop

REPLACING = ["minmax", "quantile", "logistic", "logistic, caution 3", "fitted"]


def patch(shop: Shop, *arguments: str, name: str = "tried") -> list[str]:
    return ["patch", shop.weak, "--with", shop.modules["1"], "--name", name, *arguments]


def test_without_calibration_it_is_another_model(shop: Shop, digit_files: Path) -> None:
    raw = shop.run(*patch(shop, "--data", "digits", "--calibration", "none", "--json", name="raw"))
    assert raw.code == 0, raw.err
    image = str(digit_files / "1.png")
    first = shop.run("predict", shop.patched, image, "--json").json["predictions"][0]
    second = shop.run("predict", raw.json["uri"], image, "--json").json["predictions"][0]
    assert first["weak_scores"] == second["weak_scores"]
    assert first["scores"]["1"] != second["scores"]["1"]
    assert first["scores"]["7"] == second["scores"]["7"]


def test_auto_takes_the_rule_that_gains_most_and_keeps_what_it_chose_from(shop: Shop) -> None:
    ran = shop.run(*patch(shop, "--data", "digits", "--fusion", "auto", "--json"))
    assert ran.code == 0, ran.err
    found = ran.json
    rules = {row["rule"]: row for row in found["rules"]}
    assert list(rules) == [*REPLACING, "stack", "stack, caution 1.5"]
    harmless = [row for row in rules.values() if row["f1_gain"] > 0 <= row["accuracy_gain"]]
    best = max(harmless, key=lambda row: row["f1_gain"])
    assert found["rule"] == best["rule"]
    assert found["targets"] == best["targets"]
    evidence = shop.run("show", found["uri"], "--json").json["evidence"]
    kept = {row["rule"]: row["f1_gain"] for row in evidence["rules"]}
    assert kept == {name: row["f1_gain"] for name, row in rules.items()}
    assert (found["registered_anyway"], evidence["registered_anyway"]) == (False, False)
    assert "fusion" in shop.run("show", found["uri"]).out


def test_auto_as_a_table_marks_rules_that_saw_the_weak_model_s_images(shop: Shop) -> None:
    shown = shop.run(*patch(shop, "--data", "digits")).out
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "chosen" in "".join(lines.get(name, "") for name in REPLACING)
    assert lines["fitted"].split()[1] == "*"
    assert "*" not in lines["minmax"]
    assert "stack" not in lines
    assert "may be chance" not in shown
    assert "The best of 5 rules on the same images looks somewhat better than it is" in shown


@pytest.mark.parametrize(
    ("options", "kind", "fusion", "renormalised"),
    [
        (["--calibration", "quantile"], "quantile", "replace", False),
        (["--calibration", "logistic", "--keep-weak-entry"], "logistic", "replace", False),
        (["--calibration", "logistic", "--renormalise"], "logistic", "replace", True),
        (["--calibration", "fitted"], "fitted", "replace", True),
        (["--calibration", "fitted", "--renormalise"], "fitted", "replace", True),
        (["--calibration", "fitted", "--keep-weak-entry"], "fitted", "replace", False),
        (["--fusion", "stack"], "fitted", "stack", True),
        (["--fusion", "stack", "--caution", "2", "--mirrored"], "fitted", "stack", True),
    ],
)
def test_every_rule_can_be_asked_for_registered_and_served(
    shop: Shop, digit_files: Path, options: list[str], kind: str, fusion: str, renormalised: bool
) -> None:
    made = shop.run(*patch(shop, "--data", "digits", *options, "--json")).json
    manifest = shop.run("show", made["uri"], "--json").json["manifest"]
    assert [row["calibration"]["kind"] for row in manifest["patches"]] == [kind]
    assert manifest["fusion"]["kind"] == fusion
    assert manifest["fusion"]["renormalise"] == renormalised
    own_way = fusion == "stack" or renormalised == (kind == "fitted")
    assert ("weak entry" in made["rule"] or "renormalised" in made["rule"]) == (not own_way)
    assert manifest["mirrored"] == ("--mirrored" in options)
    (answer, *_) = shop.run("predict", made["uri"], str(digit_files), "--json").json["predictions"]
    total = sum(answer["scores"].values())
    assert (total == pytest.approx(1, abs=1e-5)) == (kind == "fitted")


def test_mirrored_modules_answer_for_an_image_and_its_mirror_image_alike(
    shop: Shop, tmp_path: Path
) -> None:
    from modularizer.datasets.digits import read_digits

    images = read_digits().only(["7", "8", "1"]).images[:20]
    files = {"as_is": images, "mirrored": images[:, :, ::-1]}
    for name, raw in files.items():
        np.save(tmp_path / f"{name}.npy", raw)
    # raw scores, so that what the weak model sees makes no difference to them
    options = ["--data", "digits", "--calibration", "none", "--json"]
    scores = {}
    shown = {}
    for way in ("mirrored", "plain"):
        flags = ["--mirrored"] if way == "mirrored" else []
        made = shop.run(*patch(shop, *options, *flags, name="ways")).json["uri"]
        shown[way] = "as they are and mirrored" in shop.run("show", made).out
        told = shop.run(*patch(shop, *options[:-1], *flags, name="ways")).out
        assert ("(none, mirrored)" in told) == (way == "mirrored")
        for name in files:
            ran = shop.run("predict", made, str(tmp_path / f"{name}.npy"), "--json").json
            scores[way, name] = [row["scores"]["1"] for row in ran["predictions"]]
    assert scores["mirrored", "as_is"] == pytest.approx(scores["mirrored", "mirrored"])
    once, other = (scores["plain", name] for name in files)
    mean = np.mean([once, other], axis=0)
    assert scores["mirrored", "as_is"] == pytest.approx(mean, abs=1e-4)
    assert once != pytest.approx(other, abs=1e-2)
    assert shown == {"mirrored": True, "plain": False}


def test_without_data_the_paper_s_rule_is_registered_unjudged(shop: Shop) -> None:
    ran = shop.run(*patch(shop, "--json", name="blind"))
    assert ran.code == 0, ran.err
    assert (ran.json["rule"], ran.json["split"], ran.json["targets"]) == ("minmax", None, [])
    assert "no images were given" in shop.run(*patch(shop, name="blind")).out
    shown = shop.run("show", ran.json["uri"], "--json").json
    assert shown["metrics"] == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--calibration", "fitted"], "give --data"),
        (["--fusion", "stack"], "give --data"),
        (["--calibration", "auto"], "give --data"),
        (["--calibration", "minmax", "--fusion", "auto"], "give --data"),
        (["--data", "digits", "--fusion", "stack", "--calibration", "minmax"], "fits its own"),
        (["--data", "digits", "--renormalise"], "not with auto"),
        (["--data", "digits", "--keep-weak-entry"], "--keep-weak-entry goes with a --calibration"),
        (["--data", "digits", "--fusion", "stack", "--renormalise"], "always renormalises"),
        (["--data", "digits", "--fusion", "stack", "--keep-weak-entry"], "always renormalises"),
        (["--data", "digits", "--caution", "2"], "not with auto"),
        (
            ["--data", "digits", "--caution", "2", "--calibration", "minmax"],
            "by minmax are no odds",
        ),
        (
            ["--data", "digits", "--fusion", "auto", "--calibration", "fitted", "--renormalise"],
            "--renormalise goes with one rule",
        ),
        (["--data", "digits", "--calibration", "fitted", "--caution", "nan"], "not a finite"),
        (["--data", "digits", "--calibration", "fitted", "--caution", "inf"], "not a finite"),
        (
            ["--data", "digits", "--fusion", "auto", "--calibration", "fitted", "--caution", "2"],
            "--caution goes with one rule",
        ),
        (["--data", "digits", "--fusion", "auto", "--caution", "2"], "goes with one rule"),
        (["--anyway"], "--anyway goes with a choice"),
        (
            ["--data", "digits", "--calibration", "fitted", "--anyway"],
            "--anyway goes with a choice",
        ),
        (["--data", "digits", "--fusion", "stack", "--anyway"], "--anyway goes with a choice"),
        (["--data-seed", "0"], "--data-seed goes with --data"),
        (["--size", "8"], "--size goes with --data"),
        (["--data", "digits", "--caution", "0", "--calibration", "fitted"], "0"),
        (["--data", "digits", "--calibration", "sigmoid"], "sigmoid"),
    ],
)
def test_what_can_not_be_done_is_said_at_once(shop: Shop, options: list[str], said: str) -> None:
    ran = shop.run(*patch(shop, *options, name="never"))
    assert ran.code == 2
    assert said in ran.err
    assert "models:/never" not in shop.run("list", "--json").out


def trained_with(data: DataSplits, **changed: Any) -> Origin:
    known = {
        "settings": {"data_seed": data.seed},
        "data_source": data.source,
        "data_fingerprint": data.fingerprint,
    }
    return Origin.model_validate({"seed": 0, "software": {}, **known, **changed})


def test_other_splits_than_the_weak_model_s_are_warned_of() -> None:
    first, second = (load_data("digits", seed=seed, classes=["7", "8", "1"]) for seed in (0, 3))
    assert other_splits(trained_with(first), first, "validation") is None
    told = other_splits(trained_with(second), first, "validation")
    assert told is not None
    assert "other splits of digits (those of --data-seed 3, not 0)" in told
    # the same seed, and yet other images: the file or its size has changed
    told = other_splits(trained_with(first, data_fingerprint="0" * 64), first, "validation")
    assert told is not None
    assert "--data-seed" not in told
    assert "other images, sizes or splits of digits" in told
    assert other_splits(trained_with(second, settings={}), first, "validation") is not None


@pytest.mark.parametrize(
    "unknown",
    [
        {"data_source": "other.npz"},
        {"data_source": "", "data_fingerprint": "", "settings": {}},
        {"data_fingerprint": ""},
    ],
)
def test_where_the_weak_model_s_splits_are_not_known_nothing_is_warned_of(
    unknown: dict[str, Any],
) -> None:
    data = load_data("digits", classes=["7", "8", "1"])
    other = replace(data, source="")
    for here in (data, other):
        assert (
            other_splits(
                trained_with(data, **{"data_fingerprint": "0" * 64, **unknown}), here, "validation"
            )
            is None
        )


def test_patch_warns_of_a_seed_that_the_weak_model_was_not_trained_with(shop: Shop) -> None:
    asked = patch(shop, "--data", "digits", "--calibration", "minmax", "--json", name="seeds")
    assert shop.run(*asked).err == ""
    ran = shop.run(*asked, "--data-seed", "1")
    assert ran.code == 0
    (line,) = ran.err.splitlines()
    assert line.startswith("warning: the weak model was trained with other splits of digits")
    assert "--data-seed 0, not 1" in line
    assert "validation" in line
    assert ran.json["split"] == "validation"
    judged = shop.run("evaluate", ran.json["uri"], "--data", "digits", "--data-seed", "1")
    assert "may be among the test ones" in judged.err
    assert shop.run("evaluate", ran.json["uri"], "--data", "digits").err == ""


def test_figures_on_images_that_a_rule_was_fitted_on_are_said_to_flatter_it(shop: Shop) -> None:
    asked = patch(shop, "--data", "digits", "--json", name="flattered")
    said = {}
    for calibration in ("fitted", "minmax"):
        made = shop.run(*asked, "--calibration", calibration).json["uri"]
        for split in ("validation", "test"):
            shown = shop.run("evaluate", made, "--data", "digits", "--split", split).out
            said[calibration, split] = "these figures flatter it" in shown
    assert [which for which, flattered in said.items() if flattered] == [("fitted", "validation")]


@pytest.fixture(scope="module")
def one_fix(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits, of which the paper's rule sets one right and changes no other answer."""
    from PIL import Image

    from modularizer.datasets.digits import read_digits

    root = tmp_path_factory.mktemp("one-fix") / "few"
    digits = read_digits().only(["7", "8", "1"])
    np.save(root.parent / "all.npy", digits.images)
    ran = shop.run("predict", shop.patched, str(root.parent / "all.npy"), "--json")
    weak, patched = (
        np.array([digits.class_index(row[key]) for row in ran.json["predictions"]])
        for key in ("weak_label", "label")
    )
    own, kept = digits.labels == digits.class_index("1"), weak == patched
    fixed = np.flatnonzero(own & ~kept & (patched == digits.labels))[:1]
    right = np.flatnonzero(own & kept & (weak == digits.labels))[:3]
    others = np.flatnonzero(~own & kept)[:20]
    assert (len(fixed), len(right)) == (1, 3)
    for part in ("train", "validation", "test"):
        for index in (*fixed, *right, *others):
            folder = root / part / digits.class_names[digits.labels[index]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.images[index, :, :, 0]).save(folder / f"{index}.png")
    return root


def test_a_gain_of_one_image_is_said_to_be_perhaps_chance(shop: Shop, one_fix: Path) -> None:
    asked = patch(shop, "--data", str(one_fix), "--calibration", "minmax", name="lucky")
    ran = shop.run(*asked, "--json")
    assert ran.err == ""  # data of another name than the weak model's
    (target,) = ran.json["targets"]
    assert (target["fixes"], target["regressions"]) == (1, 0)
    assert target["patched"]["f1"] > target["weak"]["f1"]
    assert target["gain_interval"]["f1"][0] == 0
    assert target["may_be_chance"] is True
    shown = shop.run(*asked).out
    assert "reaches 0: on these images the gain may be chance" in shown
    assert "looks somewhat better" not in shown  # it is one rule, not the best of several


@pytest.fixture(scope="module")
def nothing_to_gain(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits of the weak model's classes, all of which it gets right already."""
    from modularizer.datasets.digits import read_digits

    folder = tmp_path_factory.mktemp("right")
    digits = read_digits().only(["7", "8", "1"])
    np.save(folder / "all.npy", digits.images)
    ran = shop.run("predict", shop.weak, str(folder / "all.npy"), "--json")
    assert ran.code == 0, ran.err
    said = np.array([digits.class_index(row["label"]) for row in ran.json["predictions"]])
    right = digits.take(np.flatnonzero(said == digits.labels))
    file = folder / "right.npz"
    np.savez(
        file,
        train_images=right.images, train_labels=right.labels,
        test_images=right.images, test_labels=right.labels,
        class_names=np.array(right.class_names),
    )  # fmt: skip
    return file


def test_where_nothing_gains_nothing_is_registered_unless_anyway(
    shop: Shop, nothing_to_gain: Path
) -> None:
    asked = patch(shop, "--data", str(nothing_to_gain), name="useless")
    ran = shop.run(*asked)
    assert ran.code == NO_GAIN
    assert "nothing was registered" in ran.err
    assert "minmax" in ran.out
    told = shop.run(*asked, "--json")
    assert told.code == NO_GAIN
    assert told.json["uri"] is None
    assert "no rule makes the patched classes better" in told.json["reason"]
    assert all(row["f1_gain"] <= 0 or row["accuracy_gain"] < 0 for row in told.json["rules"])
    assert "models:/useless" not in shop.run("list", "--json").out
    anyway = shop.run(*asked, "--anyway", "--json")
    assert anyway.code == 0, anyway.err
    evidence = shop.run("show", anyway.json["uri"], "--json").json["evidence"]
    assert [row["rule"] for row in evidence["rules"]] == REPLACING
    assert (anyway.json["registered_anyway"], evidence["registered_anyway"]) == (True, True)
    shown = shop.run(*asked, "--anyway").out
    assert "No rule gained" in shown
    assert "gains nothing on these images" in shown
    assert "looks somewhat better" not in shown
