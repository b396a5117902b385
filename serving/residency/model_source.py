"""The one place where serving meets the registry."""

from __future__ import annotations

from dataclasses import dataclass

from modularizer.assembly.patched import PatchedClassifier
from registry.registry import Registry
from serving.errors import ModelError
from serving.protocol import ModelIdentity


@dataclass(frozen=True)
class FoundModel:
    """A patched model and where it comes from.

    Attributes:
        model: verified, on the CPU.
        identity: what answers name as their model.
        modules: the addresses of its class modules, in patch order.
    """

    model: PatchedClassifier
    identity: ModelIdentity
    modules: tuple[str, ...]


def load_model(uri: str) -> FoundModel:
    """A registered patched model, verified, on the CPU.

    The registry is the one that the environment names, as for every other command.

    Args:
        uri: its address, ``models:/name/version`` or ``models:/name@alias``.

    Raises:
        ModelError: if it is not a patched model.
        RegistryError: if it can't be found or doesn't pass the registry's checks.
    """
    registry = Registry.open()
    version = registry.find(uri)
    if version.kind != "patched":
        raise ModelError(
            "not_a_patched_model",
            f"expected a patched model at {uri}, found one of kind {version.kind}; only patched "
            "models are served (patchbay patch makes one)",
        )
    # By version, not by alias: the alias may have moved since.
    model = registry.load_patched(version.uri)
    identity = ModelIdentity(uri=version.uri, name=version.name, version=version.version)
    return FoundModel(model, identity, tuple(version.parents[1:]))
