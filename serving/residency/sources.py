"""Where a service's models come from: a registry, or an archive that is read as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from modularizer.assembly.class_module import ClassModule
from modularizer.classifier import Classifier
from registry.loading import Loaded, PartSource
from registry.version import Version


class Source(Protocol):
    """What serving asks of a registry."""

    @property
    def is_current(self) -> bool:
        """Whether opening it anew would give the same."""
        ...

    def versions(self) -> list[Version]:
        """All that there are, by name and number."""
        ...

    def find(self, uri: str) -> Version:
        """The version that an address stands for now."""
        ...

    def load(self, uri: str, *, parts: PartSource | None = None) -> Loaded:
        """A version of any kind, every byte checked; a patched one with its parts."""
        ...

    def load_part(self, uri: str, parts: PartSource) -> Classifier | ClassModule:
        """What can be a part of patched models, into where those are kept."""
        ...

    def evidence(self, uri: str) -> Mapping[str, Any]:
        """What a version was judged by; empty if it has none."""
        ...


def open_source(archive: Path | None, home: Path | str | None) -> Source:
    """Open where models come from.

    Args:
        archive: a file of ``patchbay export``; None for the registry.
        home: of the registry, as `registry.registry.Registry.open` takes it.

    Raises:
        RegistryError: if it can't be opened.
    """
    if archive is not None:
        from registry.standalone import Archive

        return Archive(archive)
    from registry.registry import Registry  # here, not above: an archive needs no MLflow

    # One that is gone is no empty one, which would be believed where the cache is not.
    return Registry.open(home, must_exist=True)


def find_served(source: Source, model_uri: str | None) -> Version:
    """The version that a service is to serve now.

    Args:
        source: where it is.
        model_uri: its address; None for the one that an archive was made for.

    Raises:
        RegistryError: if there is none.
    """
    from registry.standalone import Archive

    if model_uri is None:
        assert isinstance(source, Archive)
        return source.last
    return source.find(model_uri)
