"""A loaded patched model that answers: prepare, run, combine, explain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.assembly.patched import PatchedClassifier, PatchedScores
from modularizer.preprocessing import as_tensor
from serving.engine.executor import Executor
from serving.errors import NonFiniteScoresError
from serving.protocol import ModelIdentity, Prediction

# Pixels turned into floats at once: 4 M take 50 MB with three channels.
_PIXELS_AT_ONCE = 4 * 1024 * 1024

StageObserver = Callable[[str, float], None]


@dataclass(frozen=True)
class PreparedItems:
    """Images of a request as the branches take them.

    Attributes:
        inputs: for each branch float32 (N, channels, height, width), on the engine's device.
    """

    inputs: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def slice(self, start: int, stop: int) -> list[Tensor]:
        """Each branch's input for the images ``start`` up to ``stop``."""
        return [x[start:stop] for x in self.inputs]


class Engine:
    """Answers for one patched model version, on one device.

    `prepare` may run in any thread. The networks run in one thread, the engine's own, one
    batch after the other: `submit` is where requests queue, and where batches across requests
    would be formed.

    Args:
        model: taken over: moved to the executor's device and set to evaluation.
        identity: what the answers name as their model.
        executor: how the branches run.
        batch_size: images that go through the networks at once; bounds the memory.
        observe: called with a stage's name ("wait", "run") and its seconds.
    """

    def __init__(
        self,
        model: PatchedClassifier,
        *,
        identity: ModelIdentity,
        executor: Executor,
        batch_size: int = 64,
        observe: StageObserver = lambda stage, seconds: None,
    ) -> None:
        self.model = model.to(executor.device).eval().requires_grad_(requires_grad=False)
        self.identity = identity
        self.executor = executor
        self.batch_size = batch_size
        self._observe = observe
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="patchbay-engine")

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> PreparedItems:
        """Bring images of any sizes to what each branch takes; images of one shape together.

        Args:
            images: at least one, uint8 (H, W, 1 or 3) each.
        """
        prepared: list[Sequence[Tensor]] = []
        order: list[int] = []
        with torch.inference_mode():
            for indices in self._alike(images):
                stack = as_tensor(np.stack([images[i] for i in indices]), self.executor.device)
                prepared.append(self.model.prepare(stack))
                order += indices
            back = torch.from_numpy(np.argsort(order)).to(self.executor.device)
            together = tuple(torch.cat(parts)[back] for parts in zip(*prepared, strict=True))
        return PreparedItems(together)

    def run(self, items: PreparedItems) -> list[Prediction]:
        """Answer for prepared images, in this thread.

        Raises:
            NonFiniteScoresError: if a score is NaN or infinite.
        """
        branches = self.model.branches
        predictions: list[Prediction] = []
        with torch.inference_mode():
            for start in range(0, len(items), self.batch_size):
                inputs = items.slice(start, start + self.batch_size)
                outputs = self.executor.run(branches, inputs)
                predictions += self._predictions(self.model.combine(outputs), first=start)
        return predictions

    async def submit(self, items: PreparedItems) -> list[Prediction]:
        """Answer for prepared images, in the engine's thread; the event loop stays free.

        Raises:
            NonFiniteScoresError: if a score is NaN or infinite.
        """
        asked = perf_counter()

        def work() -> list[Prediction]:
            began = perf_counter()
            self._observe("wait", began - asked)
            try:
                return self.run(items)
            finally:
                self._observe("run", perf_counter() - began)

        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def answer(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Answer for images of any sizes, in this thread.

        Args:
            images: uint8 (H, W, 1 or 3) each.

        Raises:
            NonFiniteScoresError: if a score is NaN or infinite.
        """
        return self.run(self.prepare(images)) if images else []

    def warm_up(self) -> None:
        """Run once on a black image of the weak model's size: the first run is the slowest."""
        preprocessing = self.model.weak.preprocessing
        black = np.zeros((*preprocessing.size, preprocessing.channels), np.uint8)
        try:
            self.answer([black])
        except NonFiniteScoresError:
            return  # of that image; a request with it would say so

    def close(self) -> None:
        """End the engine's thread; what has been submitted is cancelled."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _alike(images: Sequence[NDArray[np.uint8]]) -> list[list[int]]:
        """Indices of images of one shape, in groups small enough to be prepared at once."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        parts = []
        for (height, width, _), indices in groups.items():
            step = max(1, _PIXELS_AT_ONCE // (height * width))
            parts += [indices[i : i + step] for i in range(0, len(indices), step)]
        return parts

    def _predictions(self, both: PatchedScores, *, first: int) -> list[Prediction]:
        scores, weak_scores = both.scores.cpu().numpy(), both.weak_scores.cpu().numpy()
        finite = np.isfinite(scores).all(axis=1) & np.isfinite(weak_scores).all(axis=1)
        if not finite.all():
            raise NonFiniteScoresError(
                f"the model {self.identity.uri} gives NaN or infinite scores for image "
                f"{first + int(finite.argmin()) + 1}"
            )
        labels, weak_labels = scores.argmax(axis=1), weak_scores.argmax(axis=1)
        names = self.model.class_names
        return [
            Prediction(
                label=names[label],
                scores=dict(zip(names, map(float, row), strict=True)),
                weak_label=names[weak_label],
                weak_scores=dict(zip(names, map(float, weak_row), strict=True)),
                changed_by=self.model.changed_by(weak_label=int(weak_label), label=int(label)),
            )
            for label, weak_label, row, weak_row in zip(
                labels, weak_labels, scores, weak_scores, strict=True
            )
        ]
