"""A patched model out of bundles that are at hand, without a store to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier
from registry.bundles.bundle import Bundle
from registry.bundles.manifest import WEIGHTS_FILE, PatchedModelManifest
from registry.bundles.restoring import restore_network, restore_patched
from registry.errors import BundleError
from registry.loading import PartSource


@dataclass(frozen=True)
class Part:
    """What a patched model is put together from.

    Attributes:
        uri: its address, for people.
        bundle: of a weak model or a class module.
    """

    uri: str
    bundle: Bundle


def assemble(
    manifest: PatchedModelManifest, parts: Sequence[Part], source: PartSource | None
) -> PatchedClassifier:
    """A patched model that runs, in evaluation mode.

    Args:
        manifest: its own.
        parts: the weak model, then its class modules, in patch order.
        source: where its parts may be in memory already; None loads them.

    Raises:
        BundleError: if a part is not the one that the manifest speaks of.
    """
    pinned = tuple(parent.digest for parent in manifest.parents)
    found = tuple(part.bundle.digest for part in parts)
    if pinned != found:
        raise BundleError(f"expected the parts {_short(pinned)}, found {_short(found)}")
    weak, *modules = (take_part(part, source) for part in parts)
    if not isinstance(weak, Classifier):
        raise BundleError(f"expected a weak model at {parts[0].uri}, found a class module")
    class_modules = [one for one in modules if isinstance(one, ClassModule)]
    if len(class_modules) != len(modules):
        raise BundleError("expected class modules beside the weak model, found another classifier")
    return restore_patched(manifest, weak, class_modules)


def take_part(part: Part, source: PartSource | None) -> Classifier | ClassModule:
    """A part's network, on the CPU unless the source has it elsewhere; raises as `assemble`."""
    manifest = part.bundle.manifest
    if isinstance(manifest, PatchedModelManifest):
        raise BundleError(f"{part.uri} is a patched model; those can't be parts of another")
    size_bytes = manifest.files[WEIGHTS_FILE].size_bytes

    def load() -> Classifier | ClassModule:
        network = restore_network(part.bundle, manifest)
        return network if isinstance(network, Classifier) else network.class_module

    if source is None:
        return load()
    return source.take(part.bundle.digest, part.uri, lambda: size_bytes, load)


def _short(digests: Sequence[str]) -> str:
    return ", ".join(digest[:12] for digest in digests)
