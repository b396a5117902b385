"""Networks in memory: shared by the models that they are parts of, within a budget of bytes."""

from __future__ import annotations

import ctypes
import gc
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, TypeVar

from serving.errors import OverBudgetError

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

Network = TypeVar("Network")


@dataclass(frozen=True)
class ResidentPart:
    """One network that is in memory.

    Attributes:
        digest: SHA-256 of its bundle; what it is known by.
        name: what it is called, for people.
        size_bytes: of its parameters and buffers.
        references: how many resident models use it; it goes only when there are none.
        is_pinned: whether it stays all the same.
    """

    digest: str
    name: str
    size_bytes: int
    references: int
    is_pinned: bool


@dataclass
class _Entry:
    name: str
    network: Any
    size_bytes: int
    references: int = 0


class PartCache:
    """Weak models and class modules in memory, by digest.

    A part that a resident model uses stays. One that nobody uses any more stays too, until its
    bytes are needed: the one that was used longest ago goes first. A budget is never passed: what
    does not fit is refused before its memory is taken.

    Loads run one after the other, in any thread.

    Args:
        max_bytes: of all parts together, as their parameters and buffers take; None for no limit.
        place: called with each network after it was loaded, such as to move it to a device.
        changed: told what is resident after each change; what it changes itself may be told out
            of order.
    """

    def __init__(
        self,
        max_bytes: int | None = None,
        *,
        place: Callable[[nn.Module], object] = lambda network: None,
        changed: Callable[[list[ResidentPart]], None] = lambda resident: None,
    ) -> None:
        self.max_bytes = max_bytes
        self._place = place
        self._changed = changed
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the one used longest ago first
        self._pins: set[str] = set()
        self._lock = Lock()
        self._telling = RLock()  # who is told may change something
        self._loading = Lock()

    def resident(self) -> list[ResidentPart]:
        """What is in memory now, the part that was used longest ago first."""
        with self._lock:
            return [
                ResidentPart(digest, one.name, one.size_bytes, one.references, digest in self._pins)
                for digest, one in self._entries.items()
            ]

    @property
    def size_bytes(self) -> int:
        """Of all resident parts together."""
        with self._lock:
            return sum(one.size_bytes for one in self._entries.values())

    def pin(self, digest: str) -> None:
        """Let a part stay though nobody uses it, now or as soon as it is resident."""
        with self._lock:
            self._pins.add(digest)

    def unpin(self, digest: str) -> None:
        """Let a part go when its bytes are needed; nothing happens if it was not pinned."""
        with self._lock:
            self._pins.discard(digest)

    def taking(self, leases: ExitStack) -> Taking:
        """A `registry.loading.PartSource` whose parts are held until ``leases`` is closed."""
        return Taking(self, leases)

    def acquire(
        self,
        digest: str,
        name: str,
        size_bytes: Callable[[], int],
        load: Callable[[], Network],
    ) -> Network:
        """A part, resident from now on; `release` it as often as it was acquired.

        Args:
            digest: of its bundle.
            name: for people.
            size_bytes: how much memory it will take; asked only if it is not resident.
            load: makes it; called only if it is not resident.

        Raises:
            OverBudgetError: if it doesn't fit beside what is in use or pinned.
            Exception: whatever ``load`` raises; then nothing is kept.
        """
        try:
            with self._loading:
                entry = self._acquired(digest, name, size_bytes, load)
        finally:
            self._tell()
        found: Network = entry.network
        return found

    def release(self, digest: str) -> None:
        """Give a part back that was acquired."""
        with self._lock:
            self._entries[digest].references -= 1
            assert self._entries[digest].references >= 0
        self._tell()

    def evict(self, digest: str) -> bool:
        """Drop a part unless it is used or pinned; gives whether it went."""
        with self._loading, self._lock:
            entry = self._entries.get(digest)
            goes = entry is not None and not self._is_held(digest, entry)
            if goes:
                del self._entries[digest]
        del entry
        if goes:
            give_memory_back()
            self._tell()
        return goes

    def evict_unused(self) -> int:
        """Drop every part that nobody uses and nobody pinned; gives how many bytes that were."""
        with self._loading:
            freed = self._evict(lambda left: True)
        if freed:
            give_memory_back()
        self._tell()
        return freed

    def _tell(self) -> None:
        """Say what is resident; of two that say it at once, the later one knows the last."""
        with self._telling:
            self._changed(self.resident())

    def _acquired(
        self,
        digest: str,
        name: str,
        size_bytes: Callable[[], int],
        load: Callable[[], Network],
    ) -> _Entry:
        with self._lock:
            entry = self._used(digest)
        if entry is not None:
            return entry
        if self._make_room(name, size_bytes()):
            give_memory_back()
        try:
            network: Any = load()
            self._place(network)
        except BaseException:
            give_memory_back()
            raise
        entry = _Entry(name, network, network_bytes(network), references=1)
        with self._lock:
            self._entries[digest] = entry
        return entry

    def _used(self, digest: str) -> _Entry | None:
        entry = self._entries.get(digest)
        if entry is not None:
            entry.references += 1
            self._entries.move_to_end(digest)
        return entry

    def _make_room(self, name: str, needed: int) -> int:
        """Evict until so many bytes fit; gives how many were freed."""
        limit = self.max_bytes
        if limit is None:
            return 0
        with self._lock:
            held = [one for digest, one in self._entries.items() if self._is_held(digest, one)]
        kept = sum(one.size_bytes for one in held)
        if kept + needed > limit:
            names = ", ".join(sorted({one.name for one in held})[:20]) or "nothing"
            raise OverBudgetError(
                f"{name} takes {needed} bytes; of the {limit} that PATCHBAY_MEMORY_BYTES allows "
                f"{kept} are in use or pinned ({names}); unload some, or allow more"
            )
        return self._evict(lambda left: left + needed > limit)

    def _evict(self, is_too_much: Callable[[int], bool]) -> int:
        freed = 0
        with self._lock:
            for digest, one in list(self._entries.items()):
                left = sum(entry.size_bytes for entry in self._entries.values())
                if not is_too_much(left):
                    break
                if not self._is_held(digest, one):
                    del self._entries[digest]
                    freed += one.size_bytes
                    logger.info("evicted %s (%d bytes)", one.name, one.size_bytes)
        return freed

    def _is_held(self, digest: str, entry: _Entry) -> bool:
        return entry.references > 0 or digest in self._pins


class Taking:
    """Parts for one model, given back when its leases are closed.

    Args:
        parts: where they are.
        leases: one is added for each part that is taken.
    """

    def __init__(self, parts: PartCache, leases: ExitStack) -> None:
        self._parts = parts
        self._leases = leases

    def take(
        self,
        digest: str,
        name: str,
        size_bytes: Callable[[], int],
        load: Callable[[], Network],
    ) -> Network:
        """A part, see `PartCache.acquire`."""
        network = self._parts.acquire(digest, name, size_bytes, load)
        self._leases.callback(self._parts.release, digest)
        return network


def network_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers; what they share counts once."""
    tensors = {id(one): one for one in (*network.parameters(), *network.buffers())}
    return sum(one.numel() * one.element_size() for one in tensors.values())


def give_memory_back() -> None:
    """Let the operating system, and other users of a GPU, have what was freed.

    torch keeps freed GPU memory for itself, and glibc what lies between blocks in use.
    """
    import torch

    gc.collect()  # traced networks hold themselves in cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # another C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
