"""From the pipeline's records to what is stored: a manifest, files, and a way to compare."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from torch import nn

from modularizer.assembly.class_module import ClassModule
from modularizer.classifier import Classifier
from modularizer.records import (
    Cost,
    DecomposedClass,
    Decomposition,
    PatchedManifest,
    TrainedClassifier,
)
from registry.adding import Entry
from registry.bundles.bundle import Bundle
from registry.bundles.manifest import (
    EVIDENCE_FILE,
    HISTORY_FILE,
    PICTURES_FOLDER,
    WEIGHTS_FILE,
    ClassifierManifest,
    ClassModuleManifest,
    KeptChannels,
    Parent,
    PatchedModelManifest,
    PatchEntry,
    StoredCost,
)
from registry.bundles.manifest_file import first_complaint
from registry.bundles.probe import probe_of
from registry.bundles.restoring import restore_class_module, restore_classifier, restore_patched
from registry.bundles.strict_json import dump_strict_json
from registry.bundles.tensors import dump_tensors
from registry.errors import BundleError, RegistryError
from registry.naming import class_module_name
from registry.origin import origin_of
from registry.reports import dump_report
from registry.version import Version

M = TypeVar("M")


def classifier_entry(record: TrainedClassifier) -> Entry:
    """What is stored of a strong or weak classifier.

    Raises:
        BundleError: if a value can't be stored (NaN in a metric or a tensor).
    """
    classifier = record.classifier
    manifest = _valid(
        lambda: ClassifierManifest(
            kind=record.kind,
            architecture=classifier.architecture,
            preprocessing=classifier.preprocessing,
            class_names=classifier.class_names,
            metrics=dict(record.metrics),
            cost=_stored(record.cost),
            origin=origin_of(record.provenance),
            probe=probe_of(classifier, classifier.preprocessing),
        )
    )
    contents = {
        WEIGHTS_FILE: dump_tensors(classifier.network.state_dict()),
        HISTORY_FILE: dump_strict_json([dict(row) for row in record.history], HISTORY_FILE),
    }

    def verify(bundle: Bundle) -> None:
        assert isinstance(bundle.manifest, ClassifierManifest)
        _require_same(restore_classifier(bundle, bundle.manifest).network, classifier.network)

    return Entry(record.name, manifest, contents, verify)


def class_module_entry(record: Decomposition, part: DecomposedClass, strong: Version) -> Entry:
    """What is stored of one class of a decomposition.

    Raises:
        BundleError: if a value can't be stored.
    """
    class_module = part.class_module
    manifest = _valid(
        lambda: ClassModuleManifest(
            architecture=class_module.architecture,
            preprocessing=class_module.preprocessing,
            kept=KeptChannels.from_mask(class_module.kept),
            output=class_module.output,
            class_name=class_module.class_name,
            calibration=part.calibrations["minmax"],
            other_calibrations=tuple(
                one for kind, one in part.calibrations.items() if kind != "minmax"
            ),
            strong=parent_of(strong),
            metrics={**record.metrics, **part.metrics},
            cost=_stored(part.cost),
            origin=origin_of(record.provenance),
            probe=probe_of(class_module, class_module.preprocessing),
        )
    )
    contents = {WEIGHTS_FILE: dump_tensors(class_module.network.state_dict())}
    if record.report is not None:
        contents[EVIDENCE_FILE] = dump_report(record.report)

    def verify(bundle: Bundle) -> None:
        assert isinstance(bundle.manifest, ClassModuleManifest)
        stored = restore_class_module(bundle, bundle.manifest).class_module
        _require_same(stored.network, class_module.network)

    name = class_module_name(record.name, class_module.class_name)
    return Entry(name, manifest, contents, verify)


def patched_entry(
    record: PatchedManifest,
    weak: tuple[Version, Classifier],
    class_modules: Sequence[tuple[Version, ClassModule]],
) -> Entry:
    """What is stored of a patched classifier.

    Args:
        record: as the pipeline made it.
        weak: the weak model's version, and the model as it was loaded.
        class_modules: the same of each patch's class module, in patch order.

    Raises:
        BundleError: if the parts don't fit together, or a value can't be stored.
        RegistryError: if a picture can't be read.
    """
    weak_version, weak_model = weak
    modules = [module for _, module in class_modules]
    manifest = _valid(
        lambda: PatchedModelManifest(
            weak=parent_of(weak_version),
            class_names=weak_version.class_names,
            patches=tuple(
                PatchEntry(
                    class_module=parent_of(version),
                    module_class=version.class_names[0],
                    class_name=patch.class_name,
                    calibration=patch.calibration,
                )
                for (version, _), patch in zip(class_modules, record.patches, strict=True)
            ),
            fusion=record.fusion,
            mirrored=record.mirrored,
            metrics=dict(record.metrics),
            origin=origin_of(record.provenance),
        )
    )
    contents = {EVIDENCE_FILE: dump_strict_json(dict(record.evidence), EVIDENCE_FILE)}
    for picture in record.pictures:
        contents[f"{PICTURES_FOLDER}/{_plain(picture.name)}"] = _bytes_of(picture)

    def verify(bundle: Bundle) -> None:
        assert isinstance(bundle.manifest, PatchedModelManifest)
        restore_patched(bundle.manifest, weak_model, modules)

    patched = restore_patched(manifest, weak_model, modules)
    probe = probe_of(patched, weak_model.preprocessing)
    return Entry(record.name, manifest.model_copy(update={"probe": probe}), contents, verify)


def parent_of(version: Version) -> Parent:
    """A version as another one's parent: its address, pinned by its digest."""
    return Parent(uri=version.uri, digest=version.digest)


def _stored(cost: Cost) -> StoredCost:
    return StoredCost(
        kernels=cost.kernels, parameters=cost.parameters, multiply_adds=cost.multiply_adds
    )


def _valid(build: Callable[[], M]) -> M:
    try:
        return build()
    except ValidationError as error:
        raise BundleError(f"this can't be stored: {first_complaint(error)}") from error


def _require_same(stored: nn.Module, original: nn.Module) -> None:
    found, expected = stored.state_dict(), original.state_dict()
    for name, tensor in expected.items():
        if name not in found or not torch.equal(found[name], tensor.cpu()):
            raise BundleError(f"tensor {name!r} differs after it was stored")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-") or "picture"


def _bytes_of(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise RegistryError(f"the picture {picture} can't be read: {error.strerror}") from error
