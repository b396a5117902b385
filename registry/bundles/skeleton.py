"""The network that a bundle's tensors must fit: built by name, with no tensor in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

from torch import nn

from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import class_module_skeleton
from modularizer.errors import ModularizerError
from registry.bundles.manifest import ClassifierManifest, NetworkManifest
from registry.bundles.tensors import most_bytes
from registry.errors import BundleError


def network_skeleton(manifest: NetworkManifest) -> nn.Module:
    """A network on ``meta``, the caller's own; of a class module the sliced one.

    Raises:
        BundleError: if the architecture can't be built, or not be sliced as the manifest says.
    """
    if isinstance(manifest, ClassifierManifest):
        return _built(lambda: build_network(manifest.architecture, device="meta"))
    kept = manifest.kept.to_mask()
    return _built(
        lambda: class_module_skeleton(
            manifest.architecture, manifest.preprocessing, kept, manifest.output
        )
    )


def most_weights_bytes(manifest: NetworkManifest) -> int:
    """How many bytes a bundle's weights have at most; raises as `network_skeleton`."""
    if isinstance(manifest, ClassifierManifest):
        arguments = json.dumps(manifest.architecture.arguments, sort_keys=True)
        return _most_of_whole(manifest.architecture.name, arguments)
    return most_bytes(network_skeleton(manifest).state_dict())


@lru_cache(maxsize=32)
def _most_of_whole(name: str, arguments: str) -> int:
    """Of a network that is not sliced; bundles that are loaded build it once more anyway."""
    architecture = ArchitectureSpec(name=name, arguments=json.loads(arguments))
    return most_bytes(_built(lambda: build_network(architecture, device="meta")).state_dict())


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        return build()
    except ModularizerError as error:
        raise BundleError(f"the network can't be built: {error}") from error
    except Exception as error:  # builders meet whatever arguments a stranger wrote down
        raise BundleError(
            f"the network can't be built from what the bundle says: "
            f"{type(error).__name__}: {str(error)[:200]}"
        ) from error
