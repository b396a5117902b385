"""What a version was made from, and what was made from it, as far as the registry knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.registry import Registry
    from registry.version import Version

_MOST_READ = 12


@dataclass(frozen=True)
class Relative:
    """A version above or below another one.

    Attributes:
        uri: its address.
        depth: steps between them, 1 or more.
        version: None if it is gone.
        made_with: its data, fingerprint and seed; None where they were not asked for.
    """

    uri: str
    depth: int
    version: Version | None
    made_with: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = {"uri": self.uri, "depth": self.depth}
        found["kind"] = self.version and self.version.kind
        found["in_use_as"] = in_use_as(self.version)
        if self.made_with is not None:
            found["made_with"] = dict(self.made_with)
        return found

    @property
    def line(self) -> str:
        """As a line, further in the further away."""
        told = [self.version.kind.replace("_", " ") if self.version else "gone"]
        if named := in_use_as(self.version):
            told.append(f"in use as {', '.join(named)}")
        if self.made_with:
            made = self.made_with
            told.append(f"data {made['source'] or 'none'} {made['fingerprint'][:12]}".rstrip())
            told.append(f"seed {made['seed']}")
        return f"{'  ' * (self.depth - 1)}{self.uri} ({'; '.join(told)})"


def in_use_as(version: Version | None) -> list[str]:
    """The addresses by alias that stand for a version."""
    if version is None:
        return []
    return [f"models:/{version.name}@{alias}" for alias in version.aliases]


def ancestors(registry: Registry, version: Version, listed: Sequence[Version]) -> list[Relative]:
    """What a version was made from, each followed by what that was made from.

    Data and seed are read of the first twelve.

    Args:
        registry: of all of them.
        version: whose.
        listed: every version there is.
    """
    known = {one.uri: one for one in listed}
    found: list[Relative] = []
    _climb(version, 1, known, found)
    return [
        Relative(one.uri, one.depth, one.version, _made_with(registry, one))
        if place < _MOST_READ
        else one
        for place, one in enumerate(found)
    ]


def descendants(version: Version, listed: Sequence[Version]) -> list[Relative]:
    """What was made from a version, each followed by what was made from that, and named once.

    Args:
        version: whose.
        listed: every version there is.
    """
    users: dict[str, list[Version]] = {}
    for one in listed:
        for parent in one.parents:
            users.setdefault(parent, []).append(one)
    return list(_descend(version, 1, users, {version.uri}))


def _climb(
    version: Version, depth: int, known: Mapping[str, Version], found: list[Relative]
) -> None:
    for uri in version.parents:
        if any(one.uri == uri for one in found):
            continue
        parent = known.get(uri)
        if parent is not None and not version.is_made_from(parent):  # another took its address
            parent = None
        found.append(Relative(uri, depth, parent))
        if parent is not None:
            _climb(parent, depth + 1, known, found)


def _descend(
    version: Version, depth: int, users: Mapping[str, Sequence[Version]], seen: set[str]
) -> Iterable[Relative]:
    for user in users.get(version.uri, ()):
        if user.uri not in seen and user.is_made_from(version):
            seen.add(user.uri)
            yield Relative(user.uri, depth, user)
            yield from _descend(user, depth + 1, users, seen)


def _made_with(registry: Registry, relative: Relative) -> Mapping[str, Any] | None:
    from registry.errors import RegistryError

    if relative.version is None:
        return None
    try:
        origin = registry.manifest(relative.uri).origin
    except RegistryError:  # `patchbay check` tells what is wrong with it
        return None
    return {
        "source": origin.data_source,
        "fingerprint": origin.data_fingerprint,
        "seed": origin.seed,
    }
