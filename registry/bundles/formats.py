"""Formats of ``bundle.json``, and the steps that bring an older one up to the present.

What is stored is never rewritten: its digest pins it. A bundle of an older format is brought up
to date each time it is read, one step a format, and everything else knows the newest alone. To
change the format: raise `FORMAT_VERSION`, write the step from the format before, and keep a
bundle of that one beside those in ``tests/registry/bundles``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.bundles.manifest import FORMAT_VERSION
from registry.errors import BundleError

Plain = dict[str, Any]


def _from_1(plain: Plain) -> Plain:
    """Format 2 has a test prediction, and names a patch's class as its module does, too."""
    patches = plain.get("patches")
    if not isinstance(patches, list):
        return plain
    return {**plain, "patches": [_with_module_class(one) for one in patches]}


def _with_module_class(patch: Any) -> Any:
    if not isinstance(patch, dict) or "module_class" in patch:
        return patch  # not of format 1: validation tells what is wrong with it
    return {**patch, "module_class": patch.get("class_name")}


STEPS: Mapping[int, Callable[[Plain], Plain]] = {1: _from_1}
"""From each older format to the next one."""


def upgraded(plain: Any) -> Any:
    """A parsed ``bundle.json`` in the present format.

    Args:
        plain: what the file holds, of any format that there was.

    Raises:
        BundleError: if it says no format, or one that is not known here.
    """
    found = plain.get("format_version") if isinstance(plain, dict) else None
    if type(found) is not int or not 1 <= found <= FORMAT_VERSION:
        raise BundleError(
            f"expected bundle format 1 to {FORMAT_VERSION}, found {str(found)[:50]}; "
            "read it with the version of patchbay that wrote it"
        )
    for step in range(found, FORMAT_VERSION):
        plain = {**STEPS[step](plain), "format_version": step + 1}
    return plain
