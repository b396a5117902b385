"""How long-running work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step of something that takes a while.

    Attributes:
        stage: what is being done, such as ``search``.
        done: steps done.
        total: steps in all, as far as is known.
        metrics: what is known by now, name to value.
        seconds: what the step took, by part; ``total`` is the whole.
    """

    stage: str
    done: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Listen to nothing."""
