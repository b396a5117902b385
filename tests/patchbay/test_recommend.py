"""``patchbay recommend`` on a real registry, and patches of classes under other names."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from modularizer.datasets.digits import read_digits
from modularizer.recommending import Candidate
from patchbay.candidates import Fitting, Scored, fitting_modules, strong_versions
from patchbay.commands.patch import NO_GAIN
from registry.bundles.cache import BundleCache
from registry.registry import Registry
from registry.store.client import open_store
from registry.store.places import Folder, place_of
from tests.patchbay.running import NET, Ran, Shop, run_command
from tests.patchbay.test_wrong_input import refused
from tests.registry.conftest import make_decomposition, make_trained

DIGITS = ("--data", "digits")
WORDS = {"7": "seven", "8": "eight", "1": "one"}
SEARCH = ("--candidates", "4", "--parents", "2", "--generations", "2", "--random-draws", "1")


@dataclass(frozen=True)
class Stock:
    """A shop that holds modules of a strong model with other words for the same classes."""

    shop: Shop
    strong: str
    modules: dict[str, str]
    names: Path
    data: Path

    def recommend(self, *options: str) -> Ran:
        return self.shop.run("recommend", self.shop.weak, *DIGITS, *options)

    def mapped(self, *options: str) -> Ran:
        return self.recommend("--class-names", str(self.names), *options)


@pytest.fixture(scope="module")
def stock(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    folder = tmp_path_factory.mktemp("stock")
    digits = read_digits().only(list(WORDS))
    file, names = folder / "words.npz", folder / "names.json"
    np.savez(
        file,
        train_images=digits.images[::2], train_labels=digits.labels[::2],
        test_images=digits.images[1::2], test_labels=digits.labels[1::2],
        class_names=np.array(list(WORDS.values())),
    )  # fmt: skip
    names.write_text(json.dumps({own: [word] for own, word in WORDS.items()}))
    trained = shop.run(
        "train", "words", "--data", str(file), "--epochs", "15", "--batch-size", "32",
        "--learning-rate", "0.05", *NET, "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    strong = trained.json["uri"]
    ran = shop.run("modularize", strong, "--data", str(file), *SEARCH, "--json")
    assert ran.code == 0, ran.err
    modules = {row["class_name"]: row["uri"] for row in ran.json["modules"]}
    return Stock(shop, strong, modules, names, file)


@pytest.fixture(scope="module")
def found(stock: Stock) -> Any:
    ran = stock.mapped("--json")
    assert ran.code == 0, ran.err
    return ran.json


def again(command: str, *more: str) -> Ran:
    """A printed command, word for word, as a shell would split it."""
    program, *words = shlex.split(command)
    assert program == "patchbay"
    return run_command(*words, *more)


def test_every_module_of_a_class_of_the_weak_model_is_scored(stock: Stock, found: Any) -> None:
    assert found["scored"] == found["fitting"] == 4  # three by word, and strong.1
    assert found["listed"] == 6
    tried = {one["uri"] for row in found["recommendations"] for one in row["modules"]} | {
        row["uri"] for row in found["left_out"]
    }
    assert tried == {*stock.modules.values(), stock.shop.modules["1"]}
    assert found["recommended"] == len(found["recommendations"])
    gains = [row["macro_f1_gain"] for row in found["recommendations"]]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0
    for row in found["recommendations"]:
        assert row["others_loss"] <= found["settings"]["max_others_loss"]
        assert not any(one["of_the_weak_model"] for one in row["modules"])


def test_modules_of_the_very_model_are_named_as_such(stock: Stock) -> None:
    found = stock.shop.run("recommend", stock.strong, "--data", str(stock.data), "--json").json
    assert found["fitting"] == found["scored"] == 3
    rows = [one for row in found["recommendations"] for one in row["modules"]]
    assert {one["uri"] for one in [*rows, *found["left_out"]]} == set(stock.modules.values())
    assert all(one["of_the_weak_model"] for one in [*rows, *found["left_out"]])
    assert found["strong_models"] == []  # it is no other model than the weak one


def test_what_a_printed_command_registers_is_what_was_recommended(stock: Stock, found: Any) -> None:
    several = [row for row in found["recommendations"] if len(row["modules"]) > 1]
    single = [row for row in found["recommendations"] if len(row["modules"]) == 1]
    for row in (several[0], single[-1]):
        made = again(row["command"], "--json")
        assert made.code == 0, made.err
        assert made.json["rule"] == row["rule"]
        assert made.json["targets"] == row["targets"]
        registry = Registry.open(stock.shop.home)
        patched = registry.load_patched(made.json["uri"])
        assert patched.class_names == ("7", "8", "1")
        assert [one.class_name for one in patched.patches] == [
            one["class_name"] for one in row["modules"]
        ]
        manifest: Any = registry.manifest(made.json["uri"])
        assert [one.module_class for one in manifest.patches] == [
            one["module_class"] for one in row["modules"]
        ]
    judged = stock.shop.run("evaluate", made.json["uri"], *DIGITS, "--json").json
    assert [one["target"] for one in judged["targets"]] == [row["modules"][0]["class_name"]]


def test_the_fusion_asked_for_is_in_the_command(stock: Stock) -> None:
    ran = stock.mapped("--fusion", "auto", "--top", "1", "--class", "7", "--json").json
    (row,) = ran["recommendations"]
    made = again(row["command"], "--json").json
    assert (made["rule"], made["targets"]) == (row["rule"], row["targets"])
    assert "--fusion auto" in row["command"]
    assert {one["class_name"] for one in row["modules"]} == {"7"}


def test_costs_are_those_of_the_modules_together(stock: Stock, found: Any) -> None:
    listed = {one.uri: one for one in Registry.open(stock.shop.home).versions("class_module")}
    for row in found["recommendations"]:
        for key in ("kernels", "parameters", "multiply_adds"):
            of_each = [listed[one["uri"]].metrics[key] for one in row["modules"]]
            assert row["cost"][key] == sum(of_each) > 0
        # float32 and a header; batch statistics and counters may be stored beside parameters
        assert row["cost"]["weights_bytes"] > 4 * row["cost"]["parameters"]
        latency = row["latency"]
        assert 0 < latency["low_ms"] <= latency["median_ms"] <= latency["high_ms"]
        assert latency["n"] >= 30
        assert latency["median_ms"] > found["weak"]["latency"]["low_ms"]


def test_a_strong_model_that_is_better_on_each_class_is_named_instead(
    stock: Stock, found: Any
) -> None:
    assert found["instead"] == stock.strong
    (strong,) = found["strong_models"]  # the other one lacks 7 and 8; the weak one is no other
    assert (strong["uri"], strong["better_on_each_class"]) == (stock.strong, True)
    assert strong["macro_f1"] > strong["weak_macro_f1"] == found["weak"]["macro_f1"]
    for one in strong["targets"]:
        assert one["patched"]["f1"] > one["weak"]["f1"]
    assert [one["target"] for one in strong["targets"]] == list(WORDS)
    shown = stock.mapped("--top", "1").out
    assert f"Use the strong model instead: {stock.strong}" in shown
    assert "weak > strong" in shown


def test_the_tables_fit_and_name_the_next_command(stock: Stock, found: Any) -> None:
    ran = stock.mapped()
    lines = ran.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Next: ")) <= 100
    assert f"Next: {found['recommendations'][0]['command']}" in lines
    _, _, rest = ran.out.partition("Patches for ")
    drawn, mark, _ = rest.partition("? The interval of the gain reaches 0")
    rows = found["recommendations"]
    doubtful = [one["may_be_chance"] for row in rows for one in [row, *row["targets"]]]
    assert mark
    assert drawn.count("?") == sum(doubtful)
    for row in rows:
        assert f"{row['macro_f1_gain']:+.4f}" in drawn
        assert all(one["uri"].removeprefix("models:/") in drawn for one in row["modules"])
        if len(row["modules"]) < len(WORDS):
            assert f"{0 - row['others_loss']:+.3f}" in drawn
    assert "looks better than it is" in " ".join(ran.out.split())
    few = stock.mapped("--top", "1").out
    assert f"the 1 best of {found['recommended']}" in few


def test_what_diagnose_prints_works_word_for_word(stock: Stock) -> None:
    steps = stock.shop.run("diagnose", stock.shop.weak, *DIGITS, "--json").json["next"]
    assert again(steps[0]["command"]).code in (0, NO_GAIN)


@contextmanager
def files_gone(shop: Shop, *uris: str) -> Iterator[None]:
    """Their files are elsewhere for a while."""
    store = open_store(shop.home)
    registry = Registry.open(shop.home)
    moved = []
    for uri in uris:
        model = store.client.get_logged_model(registry.find(uri).model_id)
        place = place_of(store.tracking_uri, model.artifact_location)
        assert isinstance(place, Folder)
        moved.append((place.path, place.path.with_name("elsewhere")))
    try:
        for folder, elsewhere in moved:
            folder.rename(elsewhere)
        yield
    finally:
        for folder, elsewhere in moved:
            elsewhere.rename(folder)


def test_only_modules_that_fit_are_downloaded(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path))  # where nothing is yet
    others = [stock.modules[word] for word in WORDS.values()]
    others += [stock.shop.modules[name] for name in ("0", "2")]
    with files_gone(stock.shop, *others):
        ran = stock.recommend("--json")
    assert ran.code in (0, NO_GAIN)
    assert (ran.json["unusable"], ran.json["fitting"], ran.json["scored"]) == ([], 1, 1)
    registry = Registry.open(stock.shop.home)
    fetched = {registry.find(uri).digest for uri in [stock.shop.weak, *ran_modules(ran)]}
    assert set(BundleCache(tmp_path).digests()) == fetched


def ran_modules(ran: Ran) -> set[str]:
    rows = [one for row in ran.json["recommendations"] for one in row["modules"]]
    return {one["uri"] for one in [*rows, *ran.json["left_out"]]}


def test_a_module_that_does_not_load_is_named_and_left_out(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path))
    broken = stock.modules["seven"]
    with files_gone(stock.shop, broken):
        ran = stock.mapped("--json")
        text = stock.mapped("--top", "1")
    assert ran.code == 0
    assert [one["uri"] for one in ran.json["unusable"]] == [broken]
    assert "is refused" in ran.json["unusable"][0]["reason"]
    assert ran.json["scored"] == ran.json["fitting"] - 1
    assert broken not in ran_modules(ran)
    assert f"left out: {broken}" in text.err


def test_a_strong_model_that_may_have_learnt_from_the_images_is_warned_of(stock: Stock) -> None:
    same = stock.recommend("--json")
    assert (same.json["warnings"], same.err.count("warning")) == ([], 0)
    other = stock.recommend("--data-seed", "3", "--json")
    (warning,) = other.json["warnings"]
    assert warning.startswith(f"the strong model {stock.shop.strong} was trained with other splits")
    assert "warning: the weak model was trained with other splits" in other.err


def test_a_newer_version_takes_the_place_of_an_older_one_without_an_alias(stock: Stock) -> None:
    from dataclasses import replace

    from modularizer.class_names import OtherNames

    (first,) = [
        one
        for one in Registry.open(stock.shop.home).versions("class_module")
        if one.uri == stock.shop.modules["1"]
    ]
    named = replace(first, version=2, aliases=("chosen",))
    versions = [first, named, replace(first, version=3)]
    names = OtherNames(("7", "8", "1"))

    def numbers(**options: Any) -> list[int]:
        return [one.version.version for one in fitting_modules(versions, names, **options)]

    assert numbers() == [2, 3]
    assert numbers(all_versions=True) == [1, 2, 3]
    assert numbers(classes=["7"]) == []
    assert numbers(classes=["1"]) == [2, 3]


def test_where_nothing_gains_the_exit_code_says_so(stock: Stock, tmp_path: Path) -> None:
    blank = npz(tmp_path / "blank.npz", list(WORDS.values()))  # nobody can tell them apart
    useless = stock.shop.run("recommend", stock.strong, "--data", str(blank), "--class", "seven")
    assert useless.code == NO_GAIN
    assert "nothing to recommend: none of the 1 class modules that fit gains" in useless.err
    other = npz(tmp_path / "other.npz", ["a", "b"])
    once = ("--epochs", "1", "--json")
    made = stock.shop.run("train", "letters", "--data", str(other), *NET, *once).json
    nothing = stock.shop.run("recommend", made["uri"], "--data", str(other))
    assert nothing.code == NO_GAIN
    assert "class modules is of a class that was asked for (a, b); --class-names" in nothing.err


def npz(file: Path, names: list[str]) -> Path:
    labels = np.arange(40) % len(names)
    images = np.zeros((40, 8, 8, 1), np.uint8)
    np.savez(
        file,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
        class_names=np.array(names),
    )  # fmt: skip
    return file


def test_patch_without_names_names_the_option(stock: Stock) -> None:
    asked = ("--with", stock.modules["seven"], "--name", "never", *DIGITS)
    refused(
        stock.shop.run("patch", stock.shop.weak, *asked),
        stock.modules["seven"], "'seven'", "it has 7, 8, 1", "--class-names",
    )  # fmt: skip


def test_wrong_input_is_refused(stock: Stock, tmp_path: Path) -> None:
    shop = stock.shop
    refused(shop.run("recommend", shop.modules["1"], *DIGITS), "found a class module")
    refused(
        shop.run("recommend", shop.patched, *DIGITS),
        "patched already", f"patchbay recommend {shop.weak}",
    )  # fmt: skip
    refused(stock.recommend("--class", "nine"), "has no class 'nine'; it has 7, 8, 1")
    refused(stock.recommend("--name", "strong"), "belongs to models of kind strong")
    refused(stock.recommend("--max-others-loss", "nan"), "nan")
    wrong = tmp_path / "names.json"
    wrong.write_text('{"nine": ["neun"]}')
    for command in (("recommend",), ("patch", "--with", shop.modules["1"], "--name", "never")):
        refused(
            shop.run(command[0], shop.weak, *command[1:], *DIGITS, "--class-names", str(wrong)),
            str(wrong), "no class 'nine'",
        )  # fmt: skip


def test_another_model_at_the_address_of_a_strong_one_is_not_taken_for_it(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    strong = make_trained("strong")
    strong_uri = registry.add_classifier(strong)
    record = make_decomposition("strong", strong.classifier)
    scored = [
        Scored(Fitting(registry.find(uri), "x"), Candidate(uri, "x", torch.zeros(0), {}), 0)
        for uri in registry.add_decomposition(record, strong_uri=strong_uri)
    ]
    assert [one.uri for one in strong_versions(registry, scored)] == [strong_uri]
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    client.set_model_version_tag("strong", "1", "patchbay.metrics", "broken")
    assert strong_versions(registry, scored) == []
    client.delete_registered_model("strong")
    assert strong_versions(registry, scored) == []
    assert registry.add_classifier(make_trained("strong", seed=1)) == strong_uri
    assert strong_versions(registry, scored) == []
