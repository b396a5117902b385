"""The networks of a registered patched model, put where the processes that measure find them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cost.registered import newest_modules
from benchmarks.inference.settings import SavedNetworks
from benchmarks.inference.subject import save_networks
from modularizer.assembly.patched import PatchedClassifier
from registry.errors import RegistryError
from registry.registry import Registry
from registry.version import Version


def registered_networks(registry: Registry, uri: str, folder: Path, *, most: int) -> SavedNetworks:
    """Load a patched model and what else the registry has of its first patch's strong model.

    Args:
        registry: where it is.
        uri: its address.
        folder: an empty one, of this run alone.
        most: class modules that are wanted; the model's own first, then others of the same strong
            model.

    Raises:
        RegistryError: if there is no such model, or it is not a patched one.
    """
    loaded = registry.load(uri)
    if not isinstance(loaded.model, PatchedClassifier):
        raise RegistryError(
            f"expected a patched model at {loaded.version.uri}, found one of kind "
            f"{loaded.version.kind}; patchbay patch makes one"
        )
    _, *patches = loaded.parts
    modules = [patch.class_module for patch in loaded.model.patches]
    strong = _strong(registry, patches[0])
    if strong is not None:
        others = _others(registry, strong, patches)[: max(0, most - len(modules))]
        modules += [registry.load_class_module(one.uri).class_module for one in others]
    save_networks(
        folder,
        loaded.model.weak,
        modules,
        None if strong is None else registry.load_classifier(strong.uri),
    )
    return SavedNetworks(
        uri=loaded.version.uri,
        folder=folder,
        modules=len(modules),
        has_strong=strong is not None,
    )


def _strong(registry: Registry, module: Version) -> Version | None:
    """What a class module was made of; None if that is not in this registry."""
    try:
        return registry.find(module.parents[0])
    except RegistryError:
        return None


def _others(registry: Registry, strong: Version, patches: list[Version]) -> list[Version]:
    known = {patch.digest for patch in patches}
    return [one for one in newest_modules(registry, strong).values() if one.digest not in known]
