"""What the networks of a patched model take by themselves, without a service around them."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, thread_time_ns

import numpy as np
import torch

from benchmarks.serving.pictures import smooth_noise
from benchmarks.serving.subject import Subject
from modularizer.preprocessing import as_tensor

_FEWEST = 5


@dataclass(frozen=True)
class NetworkTimes:
    """Processor milliseconds an image, on images that are prepared: medians.

    Attributes:
        images: that went through at once.
        weak_ms: of the weak model's network.
        module_ms: of the class module's.
        repeats: how often each was run.
    """

    images: int
    weak_ms: float
    module_ms: float
    repeats: int

    @property
    def both_ms(self) -> float:
        """Of both, one after the other, as the service runs them on a CPU."""
        return self.weak_ms + self.module_ms

    @property
    def allowed_share(self) -> float:
        """Of the weak model's speed: what the second network leaves of it, all else for free."""
        return self.weak_ms / self.both_ms


def time_networks(subject: Subject, *, images: int, seconds: float) -> NetworkTimes:
    """Run both networks in turns, in this thread.

    Threads and core are those of the caller; what is measured is this thread's processor time,
    which others at work on the core do not lengthen.

    Args:
        subject: whose networks.
        images: at once: as many as requests wait together, in a service that runs them so.
        seconds: about how long; each is run five times at least, after once uncounted.
    """
    side = subject.size.side
    pictures = np.stack([smooth_noise(side, side, seed=seed) for seed in subject.seeds])
    stack = pictures[np.arange(images) % len(pictures)]
    branches = subject.patched.branches
    taken: list[tuple[int, ...]] = []
    with torch.inference_mode():
        inputs = subject.patched.prepare(as_tensor(stack))
        ends = perf_counter() + seconds
        while len(taken) <= _FEWEST or perf_counter() < ends:
            clock = [thread_time_ns()]
            for branch, prepared in zip(branches, inputs, strict=True):
                branch.run(prepared)
                clock.append(thread_time_ns())
            taken.append(tuple(np.diff(clock)))
    weak_ns, module_ns = np.median(np.array(taken[1:]), axis=0) / images
    return NetworkTimes(images, float(weak_ns) / 1e6, float(module_ns) / 1e6, len(taken) - 1)
