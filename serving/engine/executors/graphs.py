"""Every network as CUDA graphs, each on a stream of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal
from weakref import WeakKeyDictionary, finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from serving.engine.executors.executor import BranchTimer, RunnableBranch, ignore_time
from serving.engine.executors.streams import LentStreams, SpareStreams, run_on_streams

logger = logging.getLogger(__name__)

Precision = Literal["float32", "tf32"]

_WARM_UPS = 3
_TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "tf32": 1e-2}
"""Of an output of a graph, absolute and relative: kernels are chosen by size, and round otherwise;
TF32 has 10 bits."""


def graph_sizes(batch_size: int) -> tuple[int, ...]:
    """Powers of two up to the first that holds a batch: each at most doubles what runs."""
    sizes = [1]
    while sizes[-1] < batch_size:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)


class GraphExecutor:
    """Every branch replayed from a CUDA graph of the next size, on a stream of its own.

    A small network's kernels are shorter than it takes to launch them one by one; a graph
    launches all of them at once. Graphs are captured by `get_ready` for a set of batch sizes;
    smaller batches are padded by rows that nobody looks at, larger ones run without a graph, and
    so does a branch that can't be captured, or whose graph does not give what the branch gives.

    Every branch has a stream and a memory pool of its own. Its graphs may share the pool because
    they run one after the other and nothing in it is needed once the output is copied. The stream
    is the one that they were captured on: cuBLAS binds its workspace to it, and two graphs that
    run side by side must not share one.

    Graphs go when their branch does: nothing here holds it. Its stream is lent to another then.

    Args:
        device: a CUDA device.
        batch_size: of the largest batch that a graph is captured for.
        precision: of the arithmetic that torch is set to.
    """

    def __init__(
        self,
        device: torch.device | str = "cuda",
        *,
        batch_size: int = 64,
        precision: Precision = "float32",
    ) -> None:
        self.device = torch.device(device)
        self.sizes = graph_sizes(batch_size)
        self._tolerance = _TOLERANCES[precision]
        self._captured: WeakKeyDictionary[RunnableBranch, _CapturedBranch] = WeakKeyDictionary()
        self._lock = Lock()
        self._capturing = Lock()
        self._spare = SpareStreams(self.device)
        self._lent = LentStreams(self.device)

    def get_ready(self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor]) -> None:
        """Capture the branches that have not been; others may `run` meanwhile, in their threads.

        Args:
            branches: their networks on the device and set to evaluation.
            inputs: for each an example, float32 (at least 1, channels, height, width).
        """
        with self._capturing:  # one model at a time
            for branch, example in zip(branches, inputs, strict=True):
                found = self._found(branch)
                if found is not None and found.takes(example[:1]):
                    continue
                try:
                    captured = self._capture(branch, example)
                except (RuntimeError, CaptureError) as error:
                    logger.warning("%s runs without CUDA graphs: %s", type(branch).__name__, error)
                    continue
                with self._lock:
                    self._captured[branch] = captured

    def _capture(self, branch: RunnableBranch, example: Tensor) -> _CapturedBranch:
        stream = self._lent.take()
        if stream is None:
            raise CaptureError("too many networks are in memory to give each a stream")
        try:
            captured = _CapturedBranch.capture(branch, example, self.sizes, stream)
            captured.require_same(branch, self._tolerance)
        except BaseException:
            self._lent.give_back(stream)
            raise
        finalize(captured, self._lent.give_back, stream)
        return captured

    def run(
        self,
        branches: Sequence[RunnableBranch],
        inputs: Sequence[Tensor],
        *,
        timed: BranchTimer = ignore_time,
    ) -> list[Tensor]:
        """What each branch gives for its input, in branch order; told times overlap."""
        runnable, streams = [], []
        spare = iter(self._spare.first(len(branches)))
        for branch, x in zip(branches, inputs, strict=True):
            found = self._found(branch)
            fits = found is not None and found.takes(x)
            runnable.append(found if found is not None and fits else branch)
            streams.append(found.stream if found is not None and fits else next(spare))
        return run_on_streams(runnable, inputs, streams, timed=timed)

    def _found(self, branch: RunnableBranch) -> _CapturedBranch | None:
        with self._lock:
            return self._captured.get(branch)


class CaptureError(Exception):
    """A branch can't be captured, or its graph does not give what the branch gives."""


class _OnTheDevice(TorchDispatchMode):
    """Refuses what needs the host to see a value.

    A capture that CUDA breaks off leaves torch's allocator and generator as if it went on, so what
    can't be captured is found before it is tried.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tags = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
        if any(tag in func.tags for tag in tags):
            raise CaptureError(f"{func} depends on a value that the host has to see")
        found = func(*args, **(kwargs or {}))
        if any(isinstance(one, Tensor) and not one.is_cuda for one in tree_leaves(found)):
            raise CaptureError(f"{func} gives a tensor that is not on the device")
        return found


@dataclass(frozen=True)
class _CapturedBranch:
    """A branch's graphs, by size.

    Attributes:
        stream: that they were captured on, and run on.
        buffer: float32 (largest size, channels, height, width), where they read.
        graphs: with the output of each, which its next run overwrites; the smallest first.
    """

    stream: torch.cuda.Stream
    buffer: Tensor
    graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]]
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def capture(
        cls,
        branch: RunnableBranch,
        example: Tensor,
        sizes: Sequence[int],
        stream: torch.cuda.Stream,
    ) -> _CapturedBranch:
        """Capture a branch for these sizes.

        Args:
            branch: with its network on the device.
            example: float32 (at least 1, channels, height, width) on the device.
            sizes: of batches.
            stream: that nobody else uses.

        Raises:
            CaptureError: if it can't be captured, such as for a copy to the host.
            RuntimeError: if CUDA can't for another reason.
        """
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            generator = torch.Generator(example.device).manual_seed(0)
            shape = (max(sizes), *example.shape[1:])
            buffer = torch.randn(
                shape, generator=generator, device=example.device, dtype=example.dtype
            )
            with _OnTheDevice():  # type: ignore[no-untyped-call]
                branch.run(buffer[:1])
            pool = torch.cuda.graph_pool_handle()
            graphs = {}
            for size in sorted(sizes, reverse=True):  # the smaller ones reuse the pool's memory
                for _ in range(_WARM_UPS):  # what is chosen and allocated at the first runs
                    branch.run(buffer[:size])
                stream.synchronize()
                graph = torch.cuda.CUDAGraph()
                # Only calls of this thread can spoil the capture: others go on answering. Not
                # `torch.cuda.graph`, which waits for their work and collects their garbage.
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    output = branch.run(buffer[:size])
                finally:
                    graph.capture_end()
                graphs[size] = graph, output
        return cls(stream, buffer, dict(sorted(graphs.items())))

    def takes(self, x: Tensor) -> bool:
        """Whether there is a graph for such an input."""
        return (
            len(x) <= len(self.buffer)
            and x.shape[1:] == self.buffer.shape[1:]
            and x.dtype == self.buffer.dtype
        )

    def run(self, prepared: Tensor) -> Tensor:
        """The branch's output; on the current stream, which has to be ``stream``.

        Any thread may ask: models share branches, and one is warmed up while another answers.
        """
        size = next(size for size in self.graphs if size >= len(prepared))
        graph, output = self.graphs[size]
        with self._lock:  # the stream keeps an order, but would let another's steps come between
            self.buffer[: len(prepared)].copy_(prepared)
            graph.replay()
            return output[: len(prepared)].clone()

    def require_same(self, branch: RunnableBranch, tolerance: float) -> None:
        """Compare every size's graph, full and with rows that are padding, with the branch.

        Raises:
            CaptureError: if an output differs, or a row's output depends on other rows.
        """
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            images = self.buffer.clone()
            for size in self.graphs:
                for rows in {size, size // 2 + 1}:
                    expected = branch.run(images[:rows])
                    found = self.run(images[:rows])
                    if not torch.allclose(found, expected, atol=tolerance, rtol=tolerance):
                        worst = float((found - expected).abs().max())
                        raise CaptureError(
                            f"its graph for {size} images gives other scores for {rows} of them "
                            f"(by {worst:.2g})"
                        )
                    self.buffer.neg_()  # padding that is not what it was
        self.stream.synchronize()
