from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from modularizer.classifier import predict
from registry.errors import NotFoundError
from registry.registry import Registry
from registry.remembered import Memory
from tests.registry.conftest import Registered

T = TypeVar("T")
ASKED = "models:/whole@champion"


class NoParts:
    """Keeps nothing, and notes what was asked for."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []

    def take(
        self, digest: str, name: str, size_bytes: Callable[[], int], load: Callable[[], T]
    ) -> T:
        self.taken.append((name, size_bytes()))
        return load()


def test_what_is_remembered_answers_as_the_registry_s_does(
    registry: Registry, home: Path, registered: Registered
) -> None:
    loaded = registry.load(registered.patched_uri)
    memory = Memory(home)
    memory.keep(ASKED, loaded.version)
    parts = NoParts()
    recalled = Memory(home).recall(ASKED, parts)
    assert recalled.version.uri == registered.patched_uri
    assert recalled.version.digest == loaded.version.digest
    assert [name for name, _ in parts.taken] == [part.uri for part in loaded.parts]
    assert all(size > 1000 for _, size in parts.taken)
    assert recalled.manifest == loaded.manifest
    kinds = [manifest.kind for manifest in recalled.parts]
    assert kinds == [part.kind for part in loaded.parts]
    assert recalled.evidence == registry.evidence(loaded.version.uri) != {}
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(
        predict(recalled.model, pixels), predict(registry.load_patched(loaded.version.uri), pixels)
    )


def test_another_address_and_another_registry_are_not_remembered(
    registry: Registry,
    home: Path,
    registered: Registered,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path / "cache"))
    Memory(home).keep(ASKED, registry.find(registered.patched_uri))
    for memory, asked in (
        (Memory(home), "models:/whole@other"),
        (Memory(tmp_path / "other"), ASKED),
    ):
        with pytest.raises(NotFoundError, match="was not served from this machine before"):
            memory.recall(asked, NoParts())
    # It is remembered, but this cache doesn't hold it.
    with pytest.raises(NotFoundError, match="is not in the cache"):
        Memory(home).recall(ASKED, NoParts())


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"uri": 1}', b"\xff"])
def test_a_note_that_can_not_be_read_is_none(
    registry: Registry, home: Path, registered: Registered, raw: bytes
) -> None:
    Memory(home).keep(ASKED, registry.find(registered.patched_uri))
    for note in (home / "cache" / "remembered").iterdir():
        note.write_bytes(raw)
    with pytest.raises(NotFoundError, match="was not served"):
        Memory(home).recall(ASKED, NoParts())
