"""``patchbay show``: one page a version, the same on a terminal and as JSON; ``patchbay list``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pytest

from patchbay.lineage import descendants
from registry.registry import Registry
from registry.version import Version
from tests.patchbay.running import Shop


@pytest.fixture(scope="module")
def promoted(shop: Shop) -> Iterator[str]:
    """An alias that was moved to the patched version although the gate may refuse."""
    words = ("--alias", "shown", "--force", "--reason", "to be shown")
    ran = shop.run("promote", shop.patched, *words)
    assert ran.code == 0, ran.err
    yield "models:/patched@shown"
    Registry.open(shop.home)._store.client.delete_registered_model_alias("patched", "shown")


def test_lineage_goes_up_to_the_data_and_down_to_what_is_in_use(shop: Shop, promoted: str) -> None:
    found = shop.run("show", shop.patched, "--json").json
    up = {one["uri"]: one for one in found["lineage"]["up"]}
    assert {uri: one["depth"] for uri, one in up.items()} == {
        shop.weak: 1,
        shop.modules["1"]: 1,
        shop.strong: 2,
    }
    assert up[shop.strong]["made_with"]["source"] == "digits"
    assert len(up[shop.strong]["made_with"]["fingerprint"]) == 64
    down = shop.run("show", shop.strong, "--json").json["lineage"]["down"]
    (patched,) = [one for one in down if one["uri"] == shop.patched]
    assert patched["depth"] == 2
    assert promoted in patched["in_use_as"]
    text = " ".join(shop.run("show", shop.modules["1"]).out.split())
    assert f"{shop.patched} (patched; in use as " in text
    assert promoted in text


def test_the_gate_s_last_verdict_is_shown(shop: Shop, promoted: str) -> None:
    gate = shop.run("show", promoted, "--json").json["gate"]
    assert (gate["alias"], gate["action"]) == ("shown", "promotion")
    assert gate["reason"] == "to be shown"
    shown = shop.run("show", promoted).out
    assert ("passed" if gate["verdict"]["passed"] else "refused, overruled") in shown
    assert "reason given: to be shown" in shown
    assert shop.run("show", shop.weak, "--json").json["gate"] is None


def test_files_are_those_that_mlflow_hands_out(shop: Shop, tmp_path: Path) -> None:
    uri = shop.modules["0"]
    mlflow.set_tracking_uri(f"sqlite:///{shop.home}/mlflow.db")
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    page = shop.run("show", uri, "--json").json
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert there == {"bundle.json", *(one["name"] for one in page["files"])}
    shown = shop.run("show", uri).out
    for one in page["files"]:
        raw = (folder / one["name"]).read_bytes()
        assert one["size_bytes"] == len(raw)
        assert one["sha256"] == hashlib.sha256(raw).hexdigest()
        assert f"{one['sha256'][:24]}..." in shown
    assert page["digest"] == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()


def test_plots_are_named_with_where_they_lie(shop: Shop) -> None:
    page = shop.run("show", shop.modules["0"], "--json").json
    assert [one["name"] for one in page["plots"]] == [
        f"pictures/{name}.png" for name in ("convergence", "kernels-kept", "overlap")
    ]
    assert {one["where"] for one in page["plots"]} == {f"run {page['mlflow']['run_id']}"}


def test_a_patched_version_costs_what_its_parts_do(shop: Shop) -> None:
    costs = {
        uri: shop.run("show", uri, "--json").json["cost"]
        for uri in (shop.weak, shop.modules["1"], shop.patched)
    }
    for name, total in costs[shop.patched].items():
        assert total == costs[shop.weak][name] + costs[shop.modules["1"]][name] > 0


def test_every_page_fits_a_terminal_of_100_columns(
    shop: Shop, promoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for uri in (shop.strong, shop.weak, shop.modules["1"], promoted):
        ran = shop.run("show", uri)
        assert ran.code == 0, ran.err
        assert max(map(len, ran.out.splitlines())) <= 100


def test_weak_and_patched_stand_side_by_side_with_intervals(shop: Shop) -> None:
    page = shop.run("show", shop.patched, "--json").json
    (evaluation,) = page["evidence"]["validation"]
    shown = shop.run("show", shop.patched).out
    for name in ("precision", "recall", "f1", "others_accuracy"):
        assert f"{evaluation['weak'][name]:.3f} > {evaluation['patched'][name]:.3f}" in shown
    low = evaluation["gain_spread"]["f1"]["low"]
    assert f"{low:+.2f} to" in shown


def test_a_list_can_be_narrowed_by_name_and_class(shop: Shop) -> None:
    def listed(*words: str) -> set[str]:
        return {row["uri"] for row in shop.run("list", "--json", *words).json}

    assert shop.modules["1"] in listed("--class", "1", "--kind", "class_module")
    assert shop.modules["0"] not in listed("--class", "1")
    assert listed("--class", "0") >= {shop.strong, shop.modules["0"]}
    found = listed("--name", "strong.", "--class", "2")
    assert shop.modules["2"] in found
    assert all(uri.startswith("models:/strong.2/") for uri in found)
    assert "no such version" in shop.run("list", "--name", "nobody").out


def version(name: str, *parents: str) -> Version:
    return Version(
        name=name,
        version=1,
        kind="patched",
        aliases=(),
        class_names=("a",),
        patched_classes=(),
        created=datetime.now(UTC),
        metrics={},
        digest="ab" * 32,
        parents=parents,
        parent_digests=(),
        model_id="m-1",
        run_id="r",
    )


def test_tags_that_make_a_circle_end() -> None:
    one, two = version("one", "models:/two/1"), version("two", "models:/one/1")
    assert [found.uri for found in descendants(one, [one, two])] == ["models:/two/1"]
    both = replace(two, parents=("models:/one/1", "models:/one/1"))
    assert len(descendants(one, [one, both])) == 1
