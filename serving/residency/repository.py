"""What is registered, what is in memory, what is active; and bringing models in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.errors import (
    InUseError,
    OverBudgetError,
    RegistryUnreachableError,
    RequestError,
    UnknownModelError,
    UnloadableError,
)
from serving.residency.following import Follower, Outcome
from serving.residency.parts import PartCache, ResidentPart
from serving.residency.state import ServiceState

if TYPE_CHECKING:  # MLflow and torch take seconds to import: /livez answers before they are there
    from registry.version import Version
    from serving.residency.building import Builder

_SERVABLE = ("patched", "weak", "class_module")


@dataclass(frozen=True)
class Listed:
    """One registered version and where it stands here.

    Attributes:
        name: the registered name.
        version: its number.
        kind: patched, weak or class_module; strong models are not served.
        is_resident: whether it is in memory.
        is_active: whether it answers where no model is named.
        is_pinned: whether it stays although nobody uses it.
        resident_bytes: of its own parameters; a patched model has none, only its parts have.
    """

    name: str
    version: int
    kind: str
    is_resident: bool
    is_active: bool = False
    is_pinned: bool = False
    resident_bytes: int = 0


@dataclass(frozen=True)
class Which:
    """A model that somebody names.

    Attributes:
        name: its registered name.
        version: a number; None leaves it open.
        alias: instead of a number.
    """

    name: str
    version: int | None = None
    alias: str | None = None


class Repository:
    """Models by name, as an administrator sees them. Everything here may take seconds.

    Args:
        state: whose models.
        follower: whose registry, and who knows where the alias stands.
        builder: makes models that answer.
        parts: the networks in memory.
    """

    def __init__(
        self, state: ServiceState, follower: Follower, builder: Builder, parts: PartCache
    ) -> None:
        self._state = state
        self._follower = follower
        self._builder = builder
        self._parts = parts

    def index(self, *, only_resident: bool) -> list[Listed]:
        """Every version that can be served, by name and version.

        Args:
            only_resident: leaves out what is not in memory, and asks no registry.

        Raises:
            RegistryUnreachableError: if the registry does not answer.
        """
        models = {one.key: one for one in self._state.residents.all()}
        parts = {_key(part): part for part in self._parts.resident()}
        listed = {key: self._listed_model(*key) for key in models}
        listed |= {key: _listed_part(key, part, "part") for key, part in parts.items()}
        if not only_resident:
            with _told():
                registered = self._follower.registry().versions()
            for version in registered:
                key = version.name, version.version
                if version.kind not in _SERVABLE:
                    continue
                if key in parts:
                    listed[key] = _listed_part(key, parts[key], version.kind)
                elif key not in models:
                    listed[key] = Listed(*key, version.kind, is_resident=False)
        return [listed[key] for key in sorted(listed)]

    def load(self, which: Which, *, pin: bool = False) -> list[Listed]:
        """Bring a version into memory; it stays until `unload`.

        Of the name that the service follows, without a version or an alias, it is looked anew
        where the alias stands. Of any other, the newest version is taken.

        Args:
            which: a patched model; or a weak model or a class module, which then is at hand when
                a patched model needs it.
            pin: whether a part stays although nobody uses it and its bytes are needed. A patched
                model that was loaded stays in any case.

        Raises:
            UnknownModelError: if there is no such version.
            RegistryUnreachableError: if the registry does not answer.
            UnloadableError: if it can't be loaded, or there is no room for it.
        """
        if self._is_followed(which):
            return [self._follow()]
        with _told():
            version = self._find(which)
            if version.kind == "patched":
                return [self._load_model(version)]
            if version.kind not in _SERVABLE:
                raise UnloadableError(
                    f"{version.uri} is a {version.kind} model; patched models are served, with "
                    "their weak models and class modules"
                )
            return [self._load_part(version, pin=pin)]

    def unload(self, which: Which) -> list[Listed]:
        """Let go of a version, or of all versions of a name.

        Requests that have begun end with it. Its parts stay until their bytes are needed.

        Args:
            which: what goes; for an alias the registry is asked.

        Raises:
            UnknownModelError: if nothing of that name is in memory, or there is no such alias.
            RegistryUnreachableError: if there is an alias, and the registry does not answer.
            InUseError: if it is the active model, or a part of a model in memory.
        """
        if which.alias is not None:
            with _told():
                which = Which(which.name, self._find(which).version)
        active = self._state.residents.active
        models = [
            one
            for one in self._state.residents.all()
            if one.identity.name == which.name and which.version in (None, one.identity.version)
        ]
        parts = [
            part
            for part in self._parts.resident()
            if _key(part)[0] == which.name and which.version in (None, _key(part)[1])
        ]
        if not models and not parts:
            raise UnknownModelError(f"nothing of {_told_name(which)} is in memory")
        dropped = [one for one in models if one is not active]
        for model in dropped:
            self._state.residents.drop(model.key)
        for part in parts:
            self._parts.unpin(part.digest)
        gone = [part for part in parts if self._parts.evict(part.digest)]
        if not dropped and not gone:
            raise InUseError(
                f"{models[0].identity.uri} is the active model; move its alias to serve another"
                if models
                else f"{parts[0].name} is part of a model in memory; unload that first"
            )
        return [
            *(Listed(*one.key, "patched", is_resident=False) for one in dropped),
            *(Listed(*_key(part), "part", is_resident=False) for part in gone),
        ]

    def _is_followed(self, which: Which) -> bool:
        from registry.naming import parse_address

        asked = self._state.settings.model_uri
        with suppress(Exception):
            address = parse_address(asked or "")
            return which == Which(address.name)
        return False

    def _follow(self) -> Listed:
        outcome = self._follower.look(is_asked=True)
        active = self._state.residents.active
        if outcome is Outcome.UNREACHABLE or (active is not None and active.from_cache):
            raise RegistryUnreachableError("the registry can't be reached; serving as before")
        if outcome is Outcome.FAILED or active is None:
            raise UnloadableError(self._follower.trouble or self._state.reason)
        return self._listed_model(*active.key)

    def _find(self, which: Which) -> Version:
        registry = self._follower.registry()
        if which.alias is not None:
            return registry.find(f"models:/{which.name}@{which.alias}")
        if which.version is not None:
            return registry.find(f"models:/{which.name}/{which.version}")
        numbers = [one.version for one in registry.versions() if one.name == which.name]
        return registry.find(f"models:/{which.name}/{max(numbers, default=1)}")

    def _load_model(self, version: Version) -> Listed:
        residents = self._state.residents
        active = residents.active
        if (
            active is not None
            and active.key == (version.name, version.version)
            and active.digest != version.digest
        ):
            self._follow()  # the number was given anew; what is active goes where its address does
        there = {one.key: one for one in residents.all()}.get((version.name, version.version))
        is_same = there is not None and there.digest == version.digest
        if there is None or not is_same or not residents.keep(there):
            residents.keep(self._builder.build(self._follower.registry(), version))
        return self._listed_model(version.name, version.version)

    def _load_part(self, version: Version, *, pin: bool) -> Listed:
        with ExitStack() as leases:
            registry = self._follower.registry()
            registry.load_part(version.uri, self._parts.taking(leases))
            if pin:
                self._parts.pin(version.digest)
            # Before it is given back: then it may have to make room at any time.
            [part] = [one for one in self._parts.resident() if one.digest == version.digest]
        return _listed_part((version.name, version.version), part, version.kind)

    def _listed_model(self, name: str, version: int) -> Listed:
        residents = self._state.residents
        active = residents.active
        return Listed(
            name,
            version,
            "patched",
            is_resident=True,
            is_active=active is not None and active.key == (name, version),
            is_pinned=residents.is_kept((name, version)),
        )


def _key(part: ResidentPart) -> tuple[str, int]:
    name, _, version = part.name.removeprefix("models:/").rpartition("/")
    return name, int(version)


def _listed_part(key: tuple[str, int], part: ResidentPart, kind: str) -> Listed:
    return Listed(
        *key,
        kind,
        is_resident=True,
        is_pinned=part.is_pinned,
        resident_bytes=part.size_bytes,
    )


def _told_name(which: Which) -> str:
    return which.name if which.version is None else f"{which.name}/{which.version}"


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the registry raises into an answer to a request.

    Raises:
        RequestError: with the registry's message.
    """
    from modularizer.errors import ModularizerError
    from registry.errors import AddressError, NotFoundError, RegistryError, StoreError

    try:
        yield
    except RequestError:
        raise
    except (NotFoundError, AddressError) as error:
        raise UnknownModelError(str(error)) from error
    except StoreError as error:
        raise RegistryUnreachableError(str(error)) from error
    except (RegistryError, ModularizerError, OverBudgetError) as error:
        raise UnloadableError(str(error)) from error
