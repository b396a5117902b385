"""From a checked bundle to a model that runs: built by name, filled with the stored tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.class_module import ClassModule, both_ways, known_as
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.classifier import Classifier
from modularizer.errors import ModularizerError
from registry.bundles.bundle import Bundle
from registry.bundles.manifest import (
    WEIGHTS_FILE,
    ClassifierManifest,
    ClassModuleManifest,
    PatchedModelManifest,
    PatchEntry,
)
from registry.bundles.probe import require_room, require_same_answers
from registry.bundles.skeleton import network_skeleton
from registry.bundles.tensors import parse_tensors, require_layout
from registry.errors import BundleError


@dataclass(frozen=True)
class LoadedClassModule:
    """A class module as it came from the registry, with the calibrations stored with it."""

    class_module: ClassModule
    calibrations: Mapping[str, Calibration]

    @property
    def class_name(self) -> str:
        """The class it scores."""
        return self.class_module.class_name


Model = Classifier | LoadedClassModule | PatchedClassifier
"""What comes out of the registry."""


def restore_network(
    bundle: Bundle, manifest: ClassifierManifest | ClassModuleManifest
) -> Classifier | LoadedClassModule:
    """What a bundle with weights of its own holds; raises as the two below."""
    if isinstance(manifest, ClassifierManifest):
        return restore_classifier(bundle, manifest)
    return restore_class_module(bundle, manifest)


def restore_classifier(bundle: Bundle, manifest: ClassifierManifest) -> Classifier:
    """A strong or a weak classifier, on the CPU, in evaluation mode.

    Raises:
        BundleError: if its architecture can't be built or a tensor doesn't fit it.
    """
    skeleton = network_skeleton(manifest)
    require_room(skeleton, manifest.preprocessing)
    network = _filled(skeleton, bundle)
    classifier = Classifier(
        network,
        architecture=manifest.architecture,
        preprocessing=manifest.preprocessing,
        class_names=manifest.class_names,
    ).eval()
    outputs = len(manifest.class_names)
    require_same_answers(classifier, manifest.preprocessing, outputs, manifest.probe)
    return classifier


def restore_class_module(bundle: Bundle, manifest: ClassModuleManifest) -> LoadedClassModule:
    """A class module with its calibration, on the CPU, in evaluation mode.

    Raises:
        BundleError: if it can't be sliced as it says or a tensor doesn't fit.
    """
    skeleton = network_skeleton(manifest)
    require_room(skeleton, manifest.preprocessing)
    network = _filled(skeleton, bundle)
    class_module = ClassModule(
        network,
        architecture=manifest.architecture,
        kept=manifest.kept.to_mask(),
        output=manifest.output,
        class_name=manifest.class_name,
        preprocessing=manifest.preprocessing,
    ).eval()
    require_same_answers(class_module, manifest.preprocessing, 1, manifest.probe)
    return LoadedClassModule(class_module, manifest.calibrations)


def restore_patched(
    manifest: PatchedModelManifest, weak: Classifier, class_modules: Sequence[ClassModule]
) -> PatchedClassifier:
    """A patched classifier from its parts, where the weak model is, in evaluation mode.

    Raises:
        BundleError: if a part is not the one that the manifest speaks of.
    """
    if weak.class_names != manifest.class_names:
        raise BundleError(
            f"the weak model scores {', '.join(weak.class_names)}, the patched model expects "
            f"{', '.join(manifest.class_names)}"
        )
    for entry, class_module in zip(manifest.patches, class_modules, strict=True):
        if entry.module_class != class_module.class_name:
            raise BundleError(
                f"{entry.class_module.uri} scores {class_module.class_name!r}, the patched model "
                f"expects {entry.module_class!r}"
            )
    patches = [
        Patch(_plugged_in(class_module, entry, mirrored=manifest.mirrored), entry.calibration)
        for entry, class_module in zip(manifest.patches, class_modules, strict=True)
    ]
    try:
        patched = PatchedClassifier(weak, patches, manifest.fusion).eval().to(weak.device)
    except ModularizerError as error:
        raise BundleError(f"the parts don't fit together: {error}") from error
    require_same_answers(patched, weak.preprocessing, len(weak.class_names), manifest.probe)
    return patched


def _plugged_in(class_module: ClassModule, entry: PatchEntry, *, mirrored: bool) -> ClassModule:
    if entry.class_name != class_module.class_name:
        class_module = known_as(class_module, entry.class_name)
    return both_ways(class_module) if mirrored else class_module


def _filled(skeleton: nn.Module, bundle: Bundle) -> nn.Module:
    stored = bundle.manifest.files.get(WEIGHTS_FILE)
    if stored is None:
        raise BundleError(f"the bundle has no {WEIGHTS_FILE}; it was not written by patchbay")
    with (bundle.folder / WEIGHTS_FILE).open("rb") as file:
        require_layout(file, stored.size_bytes, skeleton.state_dict())
    skeleton.load_state_dict(parse_tensors(bundle.read(WEIGHTS_FILE)), assign=True)
    for name, tensor in [*skeleton.named_parameters(), *skeleton.named_buffers()]:
        if tensor.is_meta:
            raise BundleError(f"tensor {name!r} of the network is not stored in bundles")
    return skeleton
