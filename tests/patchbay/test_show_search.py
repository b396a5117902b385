"""``patchbay show`` of a class module: what its search did, from a real registry."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from modularizer.records import Cost, DecomposedClass, Decomposition, Provenance
from patchbay.search_view import bar, course
from registry.registry import Registry
from tests.patchbay.running import Shop


@pytest.fixture(scope="module")
def without_search(shop: Shop) -> Iterator[str]:
    """A class module as they were registered before searches were kept; gone again afterwards."""
    registry = Registry.open(shop.home)
    loaded = registry.load_class_module(shop.modules["0"])
    cost = Cost(kernels=1, parameters=1, multiply_adds=1)
    record = Decomposition(
        name="before",
        classes=[
            DecomposedClass(loaded.class_module, loaded.calibrations, {"kernels_kept": 1.0}, cost)
        ],
        metrics={},
        history=[{"fitness": 0.5}],
        provenance=Provenance({}, 0, "digits", "ab" * 32),
    )
    (uri,) = registry.add_decomposition(record, strong_uri=shop.strong)
    yield uri
    MlflowClient(registry.tracking_uri, registry.tracking_uri).delete_registered_model("before.0")


def test_show_tells_in_json_what_the_search_found(shop: Shop) -> None:
    registry = Registry.open(shop.home)
    masks = {
        name: registry.load_class_module(uri).class_module.kept.tolist()
        for name, uri in shop.modules.items()
    }
    for name, uri in shop.modules.items():
        found = shop.run("show", uri, "--json").json
        search = found["search"]
        assert search["generations"] == len(found["evidence"]["search"]["history"]) == 2
        assert search["first"] == found["evidence"]["search"]["history"][0]
        assert search["last"]["accuracy"] == found["metrics"]["composed_accuracy"]
        assert search["strong_accuracy"] == found["metrics"]["strong_accuracy"]
        # Two plain layers of 8 and 16 kernels: the mask's channels are the kernels.
        own = {index for index, kept in enumerate(masks[name]) if kept}
        assert [one["kept"] for one in search["layers"]] == [
            len([index for index in own if index < 8]),
            len([index for index in own if index >= 8]),
        ]
        assert [one["kernels"] for one in search["layers"]] == [8, 16]
        assert search["overlap"].keys() == masks.keys() - {name}
        for other, overlap in search["overlap"].items():
            theirs = {index for index, kept in enumerate(masks[other]) if kept}
            assert overlap == pytest.approx(len(own & theirs) / len(own | theirs))
        assert found["pictures"] == []


def test_show_tells_the_same_in_tables(shop: Shop) -> None:
    search = shop.run("show", shop.modules["1"], "--json").json["search"]
    shown = shop.run("show", shop.modules["1"]).out
    assert "Search: 2 generations" in shown
    for metric in ("fitness", "accuracy", "diff"):
        assert f"{search['last'][metric]:.4f}" in shown
    for layer in search["layers"]:
        assert f"{layer['kept']} of {layer['kernels']}" in shown
    for overlap in search["overlap"].values():
        assert f"{overlap:.3f}" in shown


def test_show_draws_the_pictures_and_names_them(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"
    ran = shop.run("show", shop.modules["1"], "--pictures", str(folder))
    assert ran.code == 0, ran.err
    names = ["convergence.png", "kernels-kept.png", "overlap.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert f"drawn: {folder / name}" in ran.out
        with Image.open(folder / name) as picture:
            picture.verify()
    again = shop.run("show", shop.modules["1"], "--pictures", str(folder), "--json")
    assert again.json["pictures"] == [str(folder / name) for name in names]


def test_a_version_from_before_says_so_plainly(
    shop: Shop, without_search: str, tmp_path: Path
) -> None:
    shown = shop.run("show", without_search)
    assert shown.code == 0, shown.err
    assert "This version holds no evidence of its search" in shown.out
    found = shop.run("show", without_search, "--json").json
    assert (found["search"], found["evidence"], found["pictures"]) == (None, {}, [])
    refused = shop.run("show", without_search, "--pictures", str(tmp_path / "none"))
    assert refused.code == 1
    assert "nothing to draw" in refused.err
    assert refused.out == ""
    assert not (tmp_path / "none").exists()


def test_only_class_modules_have_a_search_to_draw(shop: Shop, tmp_path: Path) -> None:
    for uri in (shop.strong, shop.patched):
        assert "Search" not in shop.run("show", uri).out
        assert shop.run("show", uri, "--json").json["search"] is None
        refused = shop.run("show", uri, "--pictures", str(tmp_path))
        assert refused.code == 1
        assert "Only class modules come of a search" in refused.err


def test_a_folder_that_cannot_be_made_is_named(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = shop.run("show", shop.modules["1"], "--pictures", str(tmp_path / "file" / "below"))
    assert ran.code == 1
    assert str(tmp_path / "file") in ran.err
    assert "defect" not in ran.err


@pytest.mark.parametrize(
    ("values", "blocks"),
    [
        ([0.0, 1.0], "▁█"),
        ([5.0, 5.0, 5.0], "▁▁▁"),
        ([0.0], "▁"),
        ([], ""),
        ([float(v) for v in range(8)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_course_runs_from_the_lowest_to_the_highest(values: list[float], blocks: str) -> None:
    assert course(values) == blocks


def test_a_long_course_is_thinned_and_ends_with_the_last_value() -> None:
    found = course([0.0] * 199 + [1.0], width=20)
    assert found == "▁" * 19 + "█"


def test_bars_stand_for_shares() -> None:
    assert bar(0.5, width=4) == "██░░"
    assert bar(1.0, width=4) == "████"
    assert bar(0.0, width=4) == "░░░░"


def test_a_terminal_that_takes_ascii_alone_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert bar(0.5, width=4) == "##.."
    assert course([0.0, 1.0]) == ""
