"""The one place where serving meets the registry: from an address to a model that answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modularizer.assembly.patched import PatchedClassifier
from registry.bundles.manifest import PatchedModelManifest
from registry.errors import RegistryError
from registry.naming import parse_address
from registry.remembered import Memory
from registry.version import Version
from serving.engine.engine import Engine
from serving.engine.executors.choosing import choose_executor
from serving.engine.executors.executor import Executor
from serving.errors import ModelError
from serving.protocol import ModelIdentity
from serving.residency.describing import describe, known_from_manifest, known_from_version
from serving.residency.parts import PartCache, give_memory_back
from serving.residency.served import ServedModel
from serving.residency.sources import Source

logger = logging.getLogger(__name__)


class Builder:
    """Loads, verifies and warms models; their parts are shared.

    Args:
        parts: where networks are in memory.
        executors: how they may run; the fastest is chosen for each model.
        home: of the registry, as `registry.registry.Registry.open` takes it.
    """

    def __init__(
        self, parts: PartCache, executors: Sequence[Executor], *, home: Path | str | None = None
    ) -> None:
        self._parts = parts
        self._executors = executors
        self._memory = Memory(home)

    def build(self, source: Source, version: Version) -> ServedModel:
        """A model that can answer, from the registry or an archive.

        Args:
            source: an open one.
            version: what to load; by its number, as an alias may have moved since.

        Raises:
            ModelError: if it is not a patched model.
            RegistryError: if it doesn't pass the registry's checks.
            OverBudgetError: if there is no room for it.
        """
        if version.kind != "patched":
            raise ModelError(
                "not_a_patched_model",
                f"expected a patched model at {version.uri}, found one of kind {version.kind}; "
                "only patched models are served (patchbay patch makes one)",
            )
        with ExitStack() as leases:
            loaded = source.load(version.uri, parts=self._parts.taking(leases))
            assert isinstance(loaded.model, PatchedClassifier)
            identity = ModelIdentity(uri=version.uri, name=version.name, version=version.version)
            modules = [part.uri for part in loaded.parts[1:]]
            engine = self._warm(loaded.model, identity, modules)
            assert isinstance(loaded.manifest, PatchedModelManifest)
            description = describe(
                identity,
                version.digest,
                loaded.manifest,
                [known_from_version(part) for part in loaded.parts],
                _evidence(source, version),
            )
            return ServedModel(engine, version.digest, leases.pop_all(), description=description)

    def recall(self, asked: str) -> ServedModel:
        """A model that can answer: what an address stood for last, from this machine's cache.

        Raises:
            RegistryError: if there is none, or it doesn't pass the checks.
            OverBudgetError: if there is no room for it.
        """
        with ExitStack() as leases:
            found = self._memory.recall(asked, self._parts.taking(leases))
            address = parse_address(found.version.uri)
            assert address.version is not None
            identity = ModelIdentity(
                uri=found.version.uri, name=address.name, version=address.version
            )
            engine = self._warm(found.model, identity, found.version.parents[1:])
            parts = zip(found.version.parents, found.parts, strict=True)
            description = describe(
                identity,
                found.version.digest,
                found.manifest,
                [known_from_manifest(uri, manifest) for uri, manifest in parts],
                found.evidence,
            )
            return ServedModel(
                engine,
                found.version.digest,
                leases.pop_all(),
                from_cache=True,
                description=description,
            )

    def remember(self, asked: str, version: Version) -> None:
        """Note what an address stands for, for a start without the registry."""
        try:
            self._memory.keep(asked, version)
        except OSError as error:
            logger.warning(
                "%s can't be noted for a start without the registry: %s", version.uri, error
            )

    def _warm(
        self,
        model: PatchedClassifier,
        identity: ModelIdentity,
        modules: list[str] | tuple[str, ...],
    ) -> Engine:
        give_memory_back()  # of networks as they were before they were packed
        engine = Engine(model, identity=identity, executor=self._executors[0], modules=modules)
        engine.warm_up()
        engine.executor = choose_executor(engine, self._executors)
        return engine


def _evidence(source: Source, version: Version) -> Mapping[str, Any]:
    """What a version was judged by; a model answers without it, too."""
    try:
        return source.evidence(version.uri)
    except RegistryError as error:
        logger.warning("the evidence of %s can't be read: %s", version.uri, error)
        return {}
