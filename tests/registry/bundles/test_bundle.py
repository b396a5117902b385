from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from registry.bundles.bundle import Bundle, read_bundle, write_bundle
from registry.bundles.manifest import ClassifierManifest, ClassModuleManifest
from registry.bundles.restoring import restore_class_module, restore_classifier
from registry.bundles.tensors import dump_tensors, parse_tensors
from registry.entries import class_module_entry, classifier_entry
from registry.errors import BundleError
from registry.version import Version, version_from_tags, version_tags
from tests.registry.conftest import make_decomposition, make_trained

WEIGHTS = "weights.safetensors"


def restore(folder: Path, digest: str) -> None:
    bundle = read_bundle(folder, digest)
    if isinstance(bundle.manifest, ClassifierManifest):
        restore_classifier(bundle, bundle.manifest)
    else:
        assert isinstance(bundle.manifest, ClassModuleManifest)
        restore_class_module(bundle, bundle.manifest)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    entry = classifier_entry(make_trained("strong"))
    return write_bundle(tmp_path, entry.manifest, entry.contents)


@pytest.fixture
def class_module_bundle(tmp_path: Path) -> Bundle:
    trained = make_trained("strong")
    strong = classifier_entry(trained)
    version: Version = version_from_tags(
        version_tags(strong.manifest, "0" * 64),
        name="strong",
        version=1,
        aliases=(),
        created_ms=0,
        source=f"models:/m-{'0' * 32}",
        run_id=None,
    )
    record = make_decomposition("strong", trained.classifier)
    entry = class_module_entry(record, record.classes[1], version)
    return write_bundle(tmp_path, entry.manifest, entry.contents)


def forge(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> str:
    """Rewrite ``bundle.json`` as a stranger with write access would; gives its new digest."""
    path = bundle.folder / "bundle.json"
    plain = json.loads(path.read_bytes())
    change(plain)
    path.write_text(json.dumps(plain))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forge_weights(bundle: Bundle, raw: bytes) -> str:
    """Replace the weights, with a ``bundle.json`` that vouches for them."""
    (bundle.folder / WEIGHTS).write_bytes(raw)
    stored = {"sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": len(raw)}
    return forge(bundle, lambda plain: plain["files"].update({WEIGHTS: stored}))


def tensors_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    return parse_tensors(bundle.read(WEIGHTS))


def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert read_bundle(bundle.folder, bundle.digest) == bundle
    assert set(bundle.manifest.files) == {WEIGHTS, "history.json"}
    restore(bundle.folder, bundle.digest)


def test_a_class_module_bundle_is_read_as_it_was_written(class_module_bundle: Bundle) -> None:
    restore(class_module_bundle.folder, class_module_bundle.digest)


def test_the_same_model_has_the_same_digest(bundle: Bundle, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    entry = classifier_entry(make_trained("strong"))
    assert write_bundle(again, entry.manifest, entry.contents).digest == bundle.digest


@pytest.mark.parametrize("name", [WEIGHTS, "history.json", "bundle.json"])
def test_a_changed_byte_is_refused(bundle: Bundle, name: str) -> None:
    path = bundle.folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=rf"{name} was changed after it was registered"):
        read_bundle(bundle.folder, bundle.digest)


@pytest.mark.parametrize("name", [WEIGHTS, "history.json", "bundle.json"])
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(bundle.folder, bundle.digest)


def test_a_longer_file_is_refused(bundle: Bundle) -> None:
    with (bundle.folder / WEIGHTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"expected .* bytes, found"):
        read_bundle(bundle.folder, bundle.digest)


@pytest.mark.parametrize("name", ["extra.py", "pictures/extra.png", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(bundle: Bundle, name: str) -> None:
    path = bundle.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("print('hello')")
    with pytest.raises(BundleError, match=r"doesn't list"):
        read_bundle(bundle.folder, bundle.digest)


def test_a_symbolic_link_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.folder / WEIGHTS
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="symbolic link"):
        read_bundle(bundle.folder, bundle.digest)


def test_a_link_to_a_folder_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "pictures").symlink_to("/")
    with pytest.raises(BundleError, match="symbolic link"):
        read_bundle(bundle.folder, bundle.digest)


def test_a_pipe_is_refused_and_not_waited_for(bundle: Bundle) -> None:
    os.mkfifo(bundle.folder / "pipe")
    with pytest.raises(BundleError, match="no plain file"):
        read_bundle(bundle.folder, bundle.digest)


def test_a_swarm_of_files_is_refused(bundle: Bundle) -> None:
    for number in range(201):
        (bundle.folder / f"f{number}").touch()
    with pytest.raises(BundleError, match="at most"):
        read_bundle(bundle.folder, bundle.digest)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_listed_path_that_leaves_the_bundle_is_refused(bundle: Bundle, name: str) -> None:
    stored = {"sha256": "0" * 64, "size_bytes": 1}
    digest = forge(bundle, lambda plain: plain["files"].update({name: stored}))
    with pytest.raises(BundleError, match="plain file name"):
        read_bundle(bundle.folder, digest)


def test_contents_can_not_be_written_outside(tmp_path: Path) -> None:
    entry = classifier_entry(make_trained("strong"))
    with pytest.raises(BundleError, match="plain file name"):
        write_bundle(tmp_path, entry.manifest, {**entry.contents, "../out": b""})
    assert not (tmp_path.parent / "out").exists()


def test_a_file_changed_after_the_check_is_refused_when_it_is_read(bundle: Bundle) -> None:
    checked = read_bundle(bundle.folder, bundle.digest)
    (bundle.folder / "history.json").write_bytes(b"[]")
    with pytest.raises(BundleError, match="was changed"):
        checked.read("history.json")


def test_a_bundle_without_weights_is_refused(bundle: Bundle) -> None:
    for name in (WEIGHTS, "history.json"):
        (bundle.folder / name).unlink()
    digest = forge(bundle, lambda plain: plain.update(files={}))
    with pytest.raises(BundleError, match=WEIGHTS):
        restore(bundle.folder, digest)


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "os.system", "arguments": {"command": "true"}},
        {"name": "torchvision.vgg16", "arguments": {}},
        {"name": "simcnn", "arguments": {}},
        {"name": "simcnn", "arguments": {"num_classes": 3, "no_such": 1}},
        {"name": "simcnn", "arguments": {"num_classes": -1}},
        {"name": "simcnn", "arguments": {"num_classes": "three"}},
        {"name": "simcnn", "arguments": {"num_classes": 10**30}},
        {"name": "simcnn", "arguments": {"num_classes": 3, "stages": 5}},
        {"name": "simcnn", "arguments": {"num_classes": 3, "stages": [[10**12, 10**12]]}},
        {"name": "simcnn", "arguments": {"num_classes": 3, "stages": [[8, None]]}},
        {"name": "rescnn", "arguments": {"num_classes": 3, "width_multiplier": 1e308}},
        {"name": "simcnn", "arguments": {"num_classes": 3}},
    ],
)
def test_an_architecture_that_is_unknown_or_does_not_fit_is_refused(
    bundle: Bundle, architecture: dict[str, Any]
) -> None:
    digest = forge(bundle, lambda plain: plain.update(architecture=architecture))
    with pytest.raises(BundleError):
        restore(bundle.folder, digest)


def test_an_unknown_architecture_is_answered_with_those_there_are(bundle: Bundle) -> None:
    digest = forge(bundle, lambda plain: plain["architecture"].update(name="backdoor"))
    with pytest.raises(BundleError, match=r"'backdoor'.*simcnn"):
        restore(bundle.folder, digest)


def test_pickled_weights_are_refused_and_not_run(bundle: Bundle) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("the pickle was run",))

    digest = forge_weights(bundle, pickle.dumps(Trap()))
    with pytest.raises(BundleError, match="not a safetensors file"):
        restore(bundle.folder, digest)


def test_a_renamed_tensor_is_refused(bundle: Bundle) -> None:
    tensors = tensors_of(bundle)
    tensors["classifier.9.weight"] = tensors.pop("classifier.4.weight", torch.zeros(1))
    with pytest.raises(BundleError, match=r"tensor 'classifier"):
        restore(bundle.folder, forge_weights(bundle, dump_tensors(tensors)))


def test_another_dtype_or_shape_is_refused(bundle: Bundle) -> None:
    tensors = tensors_of(bundle)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    for wrong in (tensors[name].double(), tensors[name][:1], tensors[name].flatten()):
        raw = dump_tensors({**tensors, name: wrong})
        with pytest.raises(BundleError, match=rf"tensor '{name}': expected F32"):
            restore(bundle.folder, forge_weights(bundle, raw))


def test_nan_in_the_weights_is_refused(bundle: Bundle) -> None:
    import safetensors.torch

    tensors = tensors_of(bundle)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = float("nan")
    digest = forge_weights(bundle, safetensors.torch.save(tensors))
    with pytest.raises(BundleError, match="NaN"):
        restore(bundle.folder, digest)


def test_class_names_that_are_not_one_a_score_are_refused(bundle: Bundle) -> None:
    digest = forge(bundle, lambda plain: plain.update(class_names=["a", "b"]))
    with pytest.raises(BundleError, match="one score for each of 2 classes, found"):
        restore(bundle.folder, digest)


def test_a_preprocessing_that_does_not_fit_is_refused(bundle: Bundle) -> None:
    wrong = {"size": [16, 16], "channels": 1, "mean": [0.5], "std": [0.5]}
    digest = forge(bundle, lambda plain: plain.update(preprocessing=wrong))
    with pytest.raises(BundleError, match="doesn't take the images"):
        restore(bundle.folder, digest)


@pytest.mark.parametrize(
    "change",
    [
        {"kept": {"count": 8, "bits": "ff"}},
        {"kept": {"count": 10_000_000, "bits": "00" * 1_250_000}},
        {"output": 3},
        {"output": 10**20},
        {"output": -1},
    ],
)
def test_a_class_module_cut_otherwise_is_refused(
    class_module_bundle: Bundle, change: dict[str, Any]
) -> None:
    digest = forge(class_module_bundle, lambda plain: plain.update(change))
    with pytest.raises(BundleError):
        restore(class_module_bundle.folder, digest)


def test_a_class_module_with_another_mask_is_refused(class_module_bundle: Bundle) -> None:
    def flip(plain: dict[str, Any]) -> None:
        first = int(plain["kept"]["bits"][0], 16) ^ 8
        plain["kept"]["bits"] = f"{first:x}{plain['kept']['bits'][1:]}"

    with pytest.raises(BundleError, match="tensor"):
        restore(class_module_bundle.folder, forge(class_module_bundle, flip))


def test_a_huge_image_size_is_refused_before_weights_are_read(bundle: Bundle) -> None:
    """A small file that would take gigabytes in its test prediction."""

    def change(plain: dict[str, Any]) -> None:
        arguments = {"num_classes": len(plain["class_names"])}
        plain["architecture"] = {"name": "torchvision.squeezenet1_1", "arguments": arguments}
        plain["preprocessing"] |= {"size": [4096, 4096], "channels": 3}
        plain["preprocessing"] |= {"mean": [0.5] * 3, "std": [0.2] * 3}

    with pytest.raises(BundleError, match="on images of 4096 x 4096 a layer"):
        restore(bundle.folder, forge(bundle, change))
