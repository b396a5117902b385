"""What a model was made of and judged by, put together when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modularizer.metrics import stored_evaluations
from registry.bundles.manifest import NetworkManifest, PatchedModelManifest
from registry.version import Version
from serving.protocol import (
    ModelDescription,
    ModelIdentity,
    NetworkCost,
    PatchDescription,
    WeakDescription,
)


@dataclass(frozen=True)
class KnownPart:
    """What is known of a weak model or a class module without opening it.

    Attributes:
        uri: its address.
        numbers: its metrics and the counts of its cost, by name.
        parents: addresses of what it was made from.
    """

    uri: str
    numbers: Mapping[str, float]
    parents: tuple[str, ...]

    @property
    def cost(self) -> NetworkCost | None:
        """What it takes, if all of it is known."""
        names = NetworkCost.model_fields
        if not names.keys() <= self.numbers.keys():
            return None
        return NetworkCost(**{name: int(self.numbers[name]) for name in names})

    @property
    def metrics(self) -> dict[str, float]:
        """Its numbers but for its cost."""
        names = NetworkCost.model_fields
        return {name: value for name, value in self.numbers.items() if name not in names}


def known_from_version(version: Version) -> KnownPart:
    """A part as the registry lists it."""
    return KnownPart(version.uri, version.metrics, version.parents)


def known_from_manifest(uri: str, manifest: NetworkManifest) -> KnownPart:
    """A part as its own manifest tells of it, its parents where they were then."""
    numbers = {**manifest.metrics, **manifest.cost.model_dump()}
    return KnownPart(uri, numbers, tuple(parent.uri for parent in manifest.parents))


def describe(
    identity: ModelIdentity,
    digest: str,
    manifest: PatchedModelManifest,
    parts: Sequence[KnownPart],
    evidence: Mapping[str, Any],
) -> ModelDescription:
    """A patched model, its parts and its evidence.

    Args:
        identity: which version it is.
        digest: SHA-256 of its ``bundle.json``.
        manifest: what that says.
        parts: the weak model, then the class modules, in patch order.
        evidence: what is stored beside the manifest; what it lacks is left out.
    """
    weak, *modules = parts
    judged = {one.target: one for one in stored_evaluations(evidence)}
    return ModelDescription(
        model=identity,
        digest=digest,
        from_cache=False,
        class_names=manifest.class_names,
        fusion=manifest.fusion.kind,
        mirrored=manifest.mirrored,
        metrics=manifest.metrics,
        weak=WeakDescription(uri=weak.uri, cost=weak.cost, metrics=weak.metrics),
        patches=tuple(
            PatchDescription(
                patch=entry.class_name,
                module=module.uri,
                module_class=entry.module_class,
                strong=module.parents[0] if module.parents else None,
                calibration=entry.calibration.kind,
                cost=module.cost,
                metrics=module.metrics,
                validation=judged.get(entry.class_name),
            )
            for entry, module in zip(manifest.patches, modules, strict=True)
        ),
    )
