"""``patchbay bench inference`` on the networks of a registered model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.inference.registered import registered_networks
from benchmarks.inference.settings import InferenceSettings, RandomNetworks, SavedNetworks
from benchmarks.inference.subject import RandomMaker, SavedMaker, Subject, save_networks
from benchmarks.serving.subject import TOY, register_subject
from modularizer.assembly.class_module import both_ways, known_as
from modularizer.cost import count_cost
from registry.errors import RegistryError
from registry.registry import Registry
from tests.patchbay.running import Ran, run_command


@dataclass(frozen=True)
class Home:
    """A registry with one patched model of one patch."""

    folder: Path
    registry: Registry
    uri: str

    def run(self, uri: str, *arguments: str) -> Ran:
        return run_command("bench", "inference", uri, "--home", str(self.folder), *arguments)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("inference") / "home"
    registry = Registry.open(folder)
    return Home(folder, registry, register_subject(registry, TOY).uri)


def test_the_networks_are_those_of_the_registry(home: Home, tmp_path: Path) -> None:
    networks = registered_networks(home.registry, home.uri, tmp_path, most=8)
    assert (networks.modules, networks.has_strong) == (1, True)
    subject = Subject(InferenceSettings(networks=networks), is_packed=False)
    model = home.registry.load_patched(home.uri)
    [x] = subject.inputs([subject.weak], 3)
    with torch.inference_mode():
        assert torch.equal(subject.weak.run(x), model.weak.run(x))
        assert torch.equal(subject.modules(1)[0].run(x), model.patches[0].class_module.run(x))
        [strong] = home.registry.versions("strong")
        expected = home.registry.load_classifier(strong.uri).run(x)
        torch.testing.assert_close(subject.strong.run(x), expected)
        # All kernels and one output: the strong model's first column.
        torch.testing.assert_close(subject.masked_module.run(x), expected[:, 0])


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_networks_come_out_of_the_folder_as_they_went_in(tmp_path: Path, is_mirrored: bool) -> None:
    networks = RandomNetworks(architecture="simcnn", width=0.1)
    made = RandomMaker(networks)
    plain = known_as(made.module(0), "another name")
    module = both_ways(plain).eval() if is_mirrored else plain
    save_networks(tmp_path, made.weak(), [module], made.strong())
    found = SavedMaker(
        SavedNetworks(uri="models:/m/1", folder=tmp_path, modules=1, has_strong=True)
    )
    again = found.module(0)
    assert again.sees_both_ways is is_mirrored
    assert (again.class_name, again.output) == (module.class_name, module.output)
    assert torch.equal(again.kept, module.kept)
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again.run(x), module.run(x))
        for before, after in ((made.weak(), found.weak()), (made.strong(), found.strong())):
            assert torch.equal(after.run(x), before.run(x))
            assert after.class_names == before.class_names
            assert after.preprocessing == before.preprocessing
            assert after.architecture == before.architecture
    for path in tmp_path.iterdir():
        torch.load(path, weights_only=True)  # nothing in it is code


@pytest.mark.slow  # two processes
def test_its_rows_are_measured(home: Home) -> None:
    ran = home.run(home.uri, "--batch", "2", "--repeats", "2", "--no-memory", "--json")
    assert ran.code == 0, ran.err
    rows: dict[tuple[str, str], Any] = {
        (one["name"], one["executor"]): one for one in ran.json["rows"]
    }
    assert {name for name, _ in rows} == {
        *("weak", "module", "strong", "patched", "patched_masked", "patched_strong")
    }
    assert {one["model"] for one in ran.json["rows"]} == {home.uri}
    weak = home.registry.load_patched(home.uri).weak
    counted = count_cost(weak.network, weak.preprocessing)
    assert rows["weak", "in_turn"]["multiply_adds"] == counted.multiply_adds
    assert rows["weak", "in_turn"]["parameters"] == counted.parameters
    assert str(home.folder) not in str(ran.json)
    assert "folder" not in ran.json["settings"][home.uri]["networks"]


def test_another_kind_of_model_is_refused(home: Home, tmp_path: Path) -> None:
    [strong] = home.registry.versions("strong")
    with pytest.raises(RegistryError, match="expected a patched model"):
        registered_networks(home.registry, strong.uri, tmp_path, most=8)
    ran = home.run(strong.uri)
    assert ran.code == 1
    assert "expected a patched model" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("models:/nothing/1",), 1, "nothing"),
        (("models:/served/1", "--width", "0.5"), 2, "--width is of networks with random weights"),
        (("models:/served/1", "--toy"), 2, "--toy is of networks with random weights"),
    ],
)
def test_what_does_not_go_with_an_address_is_refused(
    home: Home, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    ran = home.run(*arguments)
    assert ran.code == code
    assert expected in ran.err
