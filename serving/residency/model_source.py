"""The one place where serving meets the registry."""

from __future__ import annotations

from modularizer.assembly.patched import PatchedClassifier
from registry.registry import Registry
from serving.errors import ModelError
from serving.protocol import ModelIdentity


def load_model(uri: str) -> tuple[PatchedClassifier, ModelIdentity]:
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
    return model, ModelIdentity(uri=version.uri, name=version.name, version=version.version)
