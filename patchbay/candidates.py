"""The registry's class modules that fit a weak model, run over its validation images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchbay.provenance import other_splits

if TYPE_CHECKING:
    from modularizer.assembly.class_module import ClassModule
    from modularizer.class_names import OtherNames
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.datasets.images import ImageSet
    from modularizer.progress import ProgressCallback
    from modularizer.recommending import Candidate
    from registry.bundles.manifest import StoredFile
    from registry.bundles.restoring import LoadedClassModule
    from registry.registry import Registry
    from registry.version import Version

_COUNTS = ("kernels", "parameters", "multiply_adds")


@dataclass(frozen=True)
class Fitting:
    """A class module whose class the weak model has, not loaded yet.

    Attributes:
        version: which.
        class_name: its class as the weak model calls it.
    """

    version: Version
    class_name: str

    @property
    def strong_uri(self) -> str:
        """What it was taken from."""
        return self.version.parents[0]


@dataclass(frozen=True)
class Scored:
    """A class module that was run over the validation images.

    Attributes:
        fitting: which.
        candidate: its scores.
        weights_bytes: of its file of weights.
    """

    fitting: Fitting
    candidate: Candidate
    weights_bytes: int

    @property
    def cost(self) -> dict[str, int]:
        """Kernels, parameters and multiply-adds as the registry lists them, and weights_bytes."""
        metrics = self.fitting.version.metrics
        counts = {name: int(metrics.get(name, 0)) for name in _COUNTS}
        return {**counts, "weights_bytes": self.weights_bytes}


def fitting_modules(
    versions: Sequence[Version],
    names: OtherNames,
    *,
    classes: Collection[str] = (),
    all_versions: bool = False,
) -> list[Fitting]:
    """Those that fit, by what is listed of them alone.

    Args:
        versions: of class modules.
        names: the weak model's classes, and what others call them.
        classes: of the weak model, to keep to; none for all.
        all_versions: whether those that have a newer version and no alias count, too.
    """
    newest: dict[str, int] = {}
    for version in versions:
        newest[version.name] = max(version.version, newest.get(version.name, 0))
    found = []
    for version in versions:
        own = names.own_name(version.class_names[0])
        is_meant = all_versions or version.aliases or version.version == newest[version.name]
        if own is not None and is_meant and (not classes or own in classes):
            found.append(Fitting(version, own))
    return found


def scored_modules(
    registry: Registry,
    fitting: Sequence[Fitting],
    images: ImageSet,
    progress: ProgressCallback,
) -> tuple[list[Scored], dict[str, str]]:
    """Load each module and run it over the images once; one is in memory at a time.

    Args:
        registry: of the modules.
        fitting: which.
        images: with the weak model's classes.
        progress: told before each module, and in the end.

    Returns:
        Those that work; and of each that does not, from its address to the reason.
    """
    import numpy as np
    import torch

    from modularizer.classifier import predict
    from modularizer.errors import ModularizerError
    from modularizer.progress import Progress
    from modularizer.recommending import Candidate
    from registry.bundles.manifest import WEIGHTS_FILE
    from registry.errors import RegistryError

    found: list[Scored] = []
    unusable: dict[str, str] = {}
    for place, one in enumerate(fitting):
        progress(Progress("class modules", place, len(fitting)))
        uri = one.version.uri
        try:
            loaded, files = _loaded(registry, uri)
            raw = predict(loaded.class_module, images.images)
        except (RegistryError, ModularizerError) as error:
            unusable[uri] = str(error)
            continue
        if not np.isfinite(raw).all():
            unusable[uri] = "it gives NaN or infinite scores"
            continue
        candidate = Candidate(uri, one.class_name, torch.from_numpy(raw), loaded.calibrations)
        found.append(Scored(one, candidate, files[WEIGHTS_FILE].size_bytes))
    if fitting:
        progress(Progress("class modules", len(fitting), len(fitting)))
    return found, unusable


def class_module_under_own_name(registry: Registry, fitting: Fitting) -> ClassModule:
    """The module as it is plugged in."""
    from modularizer.assembly.class_module import known_as

    loaded, _ = _loaded(registry, fitting.version.uri)
    return known_as(loaded.class_module, fitting.class_name)


def strong_versions(registry: Registry, scored: Sequence[Scored]) -> list[Version]:
    """The strong models that the modules were taken from, by address, as far as they are there.

    Listed, not loaded.
    """
    from registry.errors import BundleError, NotFoundError

    found: dict[str, Version] = {}
    for one in scored:
        try:
            strong = registry.find(one.fitting.strong_uri)
        except (NotFoundError, BundleError):
            continue
        if one.fitting.version.is_made_from(strong):  # not another that has its address now
            found[strong.uri] = strong
    return [found[uri] for uri in sorted(found)]


def leaks(
    registry: Registry,
    strong: Sequence[Version],
    data: DataSplits,
    load: Callable[[Sequence[str]], DataSplits],
) -> dict[str, str]:
    """Strong models that may have learnt from the images that judge their modules.

    Args:
        registry: of the models.
        strong: their versions.
        data: splits with the weak model's classes.
        load: the same data with other classes: a strong model's own, by which alone its splits
            can be told.

    Returns:
        From the address of a strong model to a sentence.
    """
    from modularizer.errors import ModularizerError
    from registry.errors import RegistryError

    found = {}
    for version in strong:
        try:
            origin = registry.manifest(version.uri).origin
            if origin.data_source != data.source:
                continue
            own = load(version.class_names)
        except (RegistryError, ModularizerError):  # nothing can be told of it
            continue
        warning = other_splits(origin, own, "validation", model=f"the strong model {version.uri}")
        if warning is not None:
            found[version.uri] = warning
    return found


def _loaded(registry: Registry, uri: str) -> tuple[LoadedClassModule, dict[str, StoredFile]]:
    from registry.bundles.restoring import LoadedClassModule
    from registry.errors import RegistryError

    loaded = registry.load(uri)
    if not isinstance(loaded.model, LoadedClassModule):
        raise RegistryError(f"expected a class module at {uri}")
    return loaded.model, loaded.manifest.files
