"""A real SIGKILL at arbitrary moments: no generation is lost, and the result is the same."""

from __future__ import annotations

import os
import random
import signal
import time
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

import pytest
from tqdm import tqdm  # type: ignore[import-untyped]

from modularizer.checkpoint import Checkpoint
from modularizer.decomposition import Resources, decompose
from modularizer.progress import ignore_progress
from tests.modularizer.bars import DATA, SETTINGS, parts, same, strong

LONGER = SETTINGS.model_copy(update={"generations": 12, "patience": 12})


def require_whole(path: Path) -> None:
    """At any moment there is no checkpoint, or a whole one."""
    from safetensors import safe_open

    if path.exists():
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name)


def stand_still_in_the_third_save() -> None:
    """What this process decomposes waits in the middle until it is killed."""
    save, calls = Checkpoint.save, count(1)

    def held(*given: Any) -> None:
        save(*given)
        if next(calls) == 3:
            signal.pause()

    setattr(Checkpoint, "save", held)  # noqa: B010 - mypy lets no method be assigned


def decompose_in_a_child(path: Path, *, stands_still: bool) -> int:
    """Fork a process that decomposes to its end, or until it is killed; its id."""
    child = os.fork()
    if child == 0:
        try:
            # Torch walks a graph with tqdm, whose lock all forked processes share: one that was
            # killed while it held it would keep it.
            tqdm.set_lock(RLock())
            if stands_still:
                stand_still_in_the_third_save()
            decompose(strong(), DATA, LONGER, resources=Resources(workers=2, checkpoint=path))
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


@pytest.mark.parametrize("seed", range(2))
def test_a_decomposition_that_is_killed_again_and_again_ends_the_same(
    seed: int, tmp_path: Path
) -> None:
    parts()  # what the child needs is made before the fork
    began = time.perf_counter()
    whole = decompose(strong(), DATA, LONGER, progress=ignore_progress)
    longest = 0.3 * (time.perf_counter() - began)
    path, moments, kills = tmp_path / "one", random.Random(seed), 0
    while True:
        child = decompose_in_a_child(path, stands_still=kills == 0)
        time.sleep(moments.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL) if kills < 12 else None
        _, status = os.waitpid(child, 0)
        require_whole(path)
        if os.WIFSIGNALED(status):
            kills += 1
            continue
        assert os.WEXITSTATUS(status) == 0
        break
    assert kills >= 1
    found = decompose(strong(), DATA, LONGER, resources=Resources(checkpoint=path))
    assert same(whole, found)
    assert whole.passes == found.passes
    assert [one.name for one in tmp_path.iterdir()] == ["one"]
