"""Memory that something holds at its worst moment."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def largest_tensor_bytes(work: Callable[[], Any]) -> int:
    """Bytes of the tensors that are there at once at most, of those that the work makes.

    What an operation takes and gives back while it runs is not among them.
    """
    with _Held() as held:
        work()
    most: int = held.most
    return most


def largest_python_bytes(work: Callable[[], Any]) -> int:
    """Bytes of Python's objects that are there at once at most, of those that the work makes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident_bytes() -> int:
    """What this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return 1024 * int(kib)


class _Held(TorchDispatchMode):
    """Follows the storages that operations make until they go."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do it, and count what is new."""
        given = {id(one) for one in _storages((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for storage in _storages(made):
            key = id(storage)
            if key not in given and key not in self._known:
                self._known.add(key)
                self._now += storage.nbytes()
                finalize(storage, self._gone, key, storage.nbytes())
        self.most = max(self.most, self._now)
        return made

    def _gone(self, key: int, size_bytes: int) -> None:
        self._known.discard(key)
        self._now -= size_bytes


def _storages(tree: Any) -> list[Any]:
    return [one.untyped_storage() for one in tree_leaves(tree) if isinstance(one, Tensor)]
