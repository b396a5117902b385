"""Names and addresses: what a model may be called, and how an address is written and read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from registry.errors import AddressError

MAX_NAME_LENGTH = 200
_MAX_CLASS_PART_LENGTH = 96

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VERSION_LIKE = re.compile(r"[vV]\d+")
_ADDRESS = re.compile(
    r"models:/(?P<name>[^/@:]+)(?:/(?P<version>[1-9][0-9]{0,8})|@(?P<alias>[^/@:]+))"
)
_KEPT_IN_CLASS_PART = re.compile(r"[A-Za-z0-9_-]")


@dataclass(frozen=True)
class Address:
    """A registry address as MLflow writes it: a name with a version or an alias, never both.

    Attributes:
        name: the registered name.
        version: 1 or more, or None.
        alias: such as ``champion``, or None.

    Example:
        >>> str(Address("digits-weak", version=3))
        'models:/digits-weak/3'
    """

    name: str
    version: int | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        assert (self.version is None) != (self.alias is None)

    def __str__(self) -> str:
        tail = f"@{self.alias}" if self.version is None else f"/{self.version}"
        return f"models:/{self.name}{tail}"


def parse_address(uri: str) -> Address:
    """Read ``models:/name/3`` or ``models:/name@alias``.

    Raises:
        AddressError: if it is neither, or the name or the alias is not a legal one.

    Example:
        >>> parse_address("models:/digits-weak@champion")
        Address(name='digits-weak', version=None, alias='champion')
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        raise AddressError(
            f"expected an address such as models:/name/3 or models:/name@champion, found {uri!r}"
        )
    name, version, alias = match["name"], match["version"], match["alias"]
    require_name(name)
    if alias is None:
        return Address(name, version=int(version))
    require_alias(alias)
    return Address(name, alias=alias)


def require_name(name: str) -> str:
    """Give ``name`` back if a model may be registered under it.

    Raises:
        AddressError: if it may not.
    """
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise AddressError(
            f"a model's name has 1-{MAX_NAME_LENGTH} letters (a-z), digits, dots, dashes, "
            f"underscores or tildes and begins with a letter or a digit; found {name!r}"
        )
    return name


def require_alias(alias: str) -> str:
    """Give ``alias`` back if it is a legal one.

    Raises:
        AddressError: if it is not; ``latest`` and version-like ones (``v3``) are MLflow's own.
    """
    if not _ALIAS.fullmatch(alias) or alias.lower() == "latest" or _VERSION_LIKE.fullmatch(alias):
        raise AddressError(
            "an alias has 1-100 letters (a-z), digits, dashes or underscores, and is neither "
            f"'latest' nor like 'v3'; found {alias!r}"
        )
    return alias


def class_module_name(strong_name: str, class_name: str) -> str:
    """The name of the class module for one class of a strong model.

    Distinct pairs give distinct names, whatever characters the class name holds: what an
    address can't hold is written as ``~`` and two hex digits a byte, and a long class name as
    its SHA-256.

    Raises:
        AddressError: if the strong model's name is not legal, or too long to add to.

    Example:
        >>> class_module_name("digits-strong", "traffic light")
        'digits-strong.traffic~20light'
    """
    return require_name(f"{require_name(strong_name)}.{_class_part(class_name)}")


def _class_part(class_name: str) -> str:
    # No dot comes out of this, so the last dot of a name always ends the strong model's part.
    raw = class_name.encode("utf-8", "surrogatepass")
    written = "".join(
        chr(byte) if _KEPT_IN_CLASS_PART.match(chr(byte)) else f"~{byte:02X}" for byte in raw
    )
    if not written:
        return "~"
    if len(written) > _MAX_CLASS_PART_LENGTH:
        return f"~~{hashlib.sha256(raw).hexdigest()}"
    return written
