"""A registered strong model and the class modules that the registry has of it."""

from __future__ import annotations

from benchmarks.cost.counting import Counted, counted
from benchmarks.cost.rows import STRONG, TakenApart, suite_of
from modularizer.classifier import Classifier
from registry.bundles.restoring import LoadedClassModule
from registry.errors import RegistryError
from registry.loading import Loaded
from registry.registry import Registry
from registry.version import Version


def registered_model(registry: Registry, uri: str) -> TakenApart:
    """Load a strong model and its modules, one after the other, and count them.

    Args:
        registry: where they are.
        uri: the strong model's address.

    Raises:
        RegistryError: if there is no such model, or it has no class module, being one
            itself or not taken apart yet.
    """
    strong = registry.find(uri)
    if strong.kind in ("class_module", "patched"):
        found = "a class module" if strong.kind == "class_module" else "a patched model"
        raise RegistryError(f"expected a strong model at {strong.uri}, found {found}")
    modules = newest_modules(registry, strong)
    if not modules:
        raise RegistryError(
            f"the registry has no class modules of {strong.uri}; "
            f"`patchbay modularize {strong.uri} --data D` makes them"
        )
    loaded = registry.load(strong.uri)
    assert isinstance(loaded.model, Classifier)
    architecture = loaded.model.architecture
    return TakenApart(
        name=strong.uri,
        masks="those of the registered class modules",
        strong=counted(STRONG, loaded.model, bundle_bytes=_bundle_bytes(loaded)),
        modules=tuple(_module(registry, name, one) for name, one in modules.items()),
        suite=suite_of(architecture.name, architecture.arguments),
        missing=tuple(name for name in strong.class_names if name not in modules),
    )


def newest_modules(registry: Registry, strong: Version) -> dict[str, Version]:
    """The class module of each class that was made last, in the strong model's order."""
    newest: dict[str, Version] = {}
    for one in registry.used_by(strong):
        if one.kind == "class_module":
            name = one.class_names[0]
            newest[name] = max(newest.get(name, one), one, key=_age)
    return {name: newest[name] for name in strong.class_names if name in newest}


def _age(version: Version) -> tuple[object, int]:
    return version.created, version.version


def _module(registry: Registry, name: str, version: Version) -> Counted:
    loaded = registry.load(version.uri)
    assert isinstance(loaded.model, LoadedClassModule)
    return counted(name, loaded.model.class_module, bundle_bytes=_bundle_bytes(loaded))


def _bundle_bytes(loaded: Loaded) -> int:
    return sum(file.size_bytes for file in loaded.manifest.files.values())
