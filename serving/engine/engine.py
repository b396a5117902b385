"""A loaded patched model that answers: prepare, run, combine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.assembly.patched import PatchedClassifier
from modularizer.preprocessing import Preprocessing, as_tensor
from serving.engine.answers import Answers, joined
from serving.engine.executors.executor import BranchTimer, Executor, ignore_time
from serving.engine.prepared import Ask, Image, Prepared, Unprepared, alike
from serving.errors import UnknownPatchError
from serving.protocol import ModelIdentity

_MOST_VARIANTS = 128


class Engine:
    """Answers for one patched model version, on one device.

    `prepare` may run in any thread; `run` in one at a time, as the batcher does it.

    Args:
        model: taken over: moved to the executor's device and set to evaluation.
        identity: what the answers name as their model.
        executor: how the branches run.
        modules: the addresses of the class modules, in patch order.
    """

    def __init__(
        self,
        model: PatchedClassifier,
        *,
        identity: ModelIdentity,
        executor: Executor,
        modules: Sequence[str],
    ) -> None:
        self.model = model.to(executor.device).eval().requires_grad_(requires_grad=False)
        self.identity = identity
        self.executor = executor
        self.class_names = model.class_names
        self.patches = tuple(patch.class_name for patch in model.patches)
        self.modules = tuple(modules)
        # Of the model alone: an engine that held itself in a cycle would outlive its last user.
        self._variant = lru_cache(_MOST_VARIANTS)(partial(_variant_of, self.model))

    def ask(self, patches: Sequence[str] | None = None, *, explain: bool = False) -> Ask:
        """What to want of images.

        Args:
            patches: the classes whose patches are plugged in; None for all, none for the weak
                model alone. Naming one twice is naming it once.
            explain: whether to find what the answer would be without each of them.

        Raises:
            UnknownPatchError: if a class has no patch here; says which have one.
        """
        if patches is None:
            return Ask(tuple(range(len(self.patches))), explain)
        for name in patches:
            if name not in self.patches:
                raise UnknownPatchError(
                    f"{self.identity.uri} has no patch for {name!r}; it has "
                    f"{', '.join(self.patches)} (patches=none asks the weak model alone)"
                )
        chosen = (index for index, name in enumerate(self.patches) if name in patches)
        return Ask(tuple(chosen), explain)

    def input_pixels(self, ask: Ask) -> int:
        """Pixels of the largest input, of the networks that are asked, for one image."""
        wanted: list[Preprocessing] = [one.preprocessing for one in self._branches(ask.patches)]
        return max(math.prod(one.size) for one in wanted)

    def prepare(self, images: Sequence[Image], ask: Ask) -> Prepared:
        """Bring images of any sizes to what each network that is asked takes.

        Args:
            images: at least one, (H, W, 1 or 3) each: uint8, or float32 on the scale 0-1.
            ask: what is wanted of them.
        """
        wanted = [branch.preprocessing for branch in self._branches(ask.patches)]
        parts: dict[Preprocessing, list[Tensor]] = {one: [] for one in wanted}
        order: list[int] = []
        with torch.inference_mode():
            for indices in alike(images, input_pixels=self.input_pixels(ask)):
                # Of one image, too: how views lie in memory would show in the last bits of sums.
                pixels: NDArray[Any] = np.stack([images[i] for i in indices])
                stack = as_tensor(pixels, self.executor.device)
                for preprocessing, found in parts.items():
                    found.append(preprocessing.prepare(stack))
                order += indices
            whole = {one: _in_order(found, order) for one, found in parts.items()}
        return Prepared(ask, tuple(whole[one] for one in wanted))

    def run(
        self, parts: Sequence[Prepared | Unprepared], *, timed: BranchTimer = ignore_time
    ) -> list[Answers]:
        """Answer for several requests' images at once, in this thread.

        The weak model and each patch that anyone asks run once, on the images that need them.

        Args:
            parts: prepared by this engine, or not yet: those that ask the same are prepared at
                once, for about the time that one takes.
            timed: told of each network that ran, by its place, the weak one first, the seconds.

        Returns:
            For each part its answers; scores that are not finite are left for the caller to see.
        """
        groups: dict[object, list[int]] = {}
        for place, part in enumerate(parts):
            groups.setdefault(part.ask if isinstance(part, Unprepared) else place, []).append(place)
        together = [self._prepared([parts[place] for place in group]) for group in groups.values()]
        found: dict[int, Answers] = {}
        for group, answers in zip(groups.values(), self._run(together, timed), strict=True):
            found |= zip(group, _split(answers, [parts[place] for place in group]), strict=True)
        return [found[place] for place in range(len(parts))]

    def _prepared(self, group: Sequence[Prepared | Unprepared]) -> Prepared:
        first, *_ = group
        if isinstance(first, Prepared):
            return first
        images = [one for part in group if isinstance(part, Unprepared) for one in part.images]
        return self.prepare(images, first.ask)

    def _run(self, parts: Sequence[Prepared], timed: BranchTimer) -> list[Answers]:
        asked = sorted({place for part in parts for place in part.ask.patches})
        takers = {place: [p for p in parts if place in p.ask.patches] for place in asked}
        wanted = [[part.inputs[0] for part in parts]]
        for place, group in takers.items():
            wanted.append([part.inputs[1 + part.ask.patches.index(place)] for part in group])
        with torch.inference_mode():
            # What networks share, because they prepare alike, they go on sharing.
            shared = {tuple(map(id, tensors)): tensors for tensors in wanted}
            together = {key: _together(tensors) for key, tensors in shared.items()}
            inputs = [together[tuple(map(id, tensors))] for tensors in wanted]
            logits, *raws = self.executor.run(self._branches(asked), inputs, timed=timed)
            if all(part.ask == parts[0].ask for part in parts):
                return _split(self._combine(parts[0].ask, logits, raws), parts)
            return self._combine_each(parts, takers, logits, raws)

    def answer(
        self, images: Sequence[Image], ask: Ask | None = None, *, batch_size: int = 64
    ) -> Answers:
        """Answer for images of any sizes, in this thread.

        Args:
            images: at least one, as `prepare` takes them.
            ask: what is wanted of them; all patches if None.
            batch_size: images that go through the networks at once; bounds the memory.
        """
        prepared = self.prepare(images, ask or self.ask())
        return joined(
            [
                self.run([prepared.slice(start, start + batch_size)])[0]
                for start in range(0, len(prepared), batch_size)
            ]
        )

    def warm_up(self) -> None:
        """Get the executor ready and run on a black image: the first run is the slowest."""
        preprocessing = self.model.weak.preprocessing
        black = [np.zeros((*preprocessing.size, preprocessing.channels), np.uint8)]
        self.executor.get_ready(self.model.branches, self.prepare(black, self.ask()).inputs)
        self.answer(black)

    def _branches(self, places: Sequence[int]) -> list[Any]:
        _, *class_modules = self.model.branches
        return [self.model.weak, *(class_modules[place] for place in places)]

    def _combine_each(
        self,
        parts: Sequence[Prepared],
        takers: dict[int, list[Prepared]],
        logits: Tensor,
        raws: Sequence[Tensor],
    ) -> list[Answers]:
        """The answers where not all requests ask the same."""
        own_logits = dict(zip(map(id, parts), logits.split([len(p) for p in parts]), strict=True))
        own_raws = {
            (id(part), place): rows
            for (place, group), raw in zip(takers.items(), raws, strict=True)
            for part, rows in zip(group, raw.split([len(p) for p in group]), strict=True)
        }
        answers: dict[int, Answers] = {}
        for ask in {part.ask: None for part in parts}:
            group = [part for part in parts if part.ask == ask]
            found = self._combine(
                ask,
                _together([own_logits[id(part)] for part in group]),
                [_together([own_raws[id(p), place] for p in group]) for place in ask.patches],
            )
            answers |= zip(map(id, group), _split(found, group), strict=True)
        return [answers[id(part)] for part in parts]

    def _combine(self, ask: Ask, logits: Tensor, raws: Sequence[Tensor]) -> Answers:
        scores, weak_scores = self._scores(ask.patches, logits, raws)
        without = None
        if ask.explain:
            labels = [
                self._scores(
                    ask.patches[:n] + ask.patches[n + 1 :], logits, [*raws[:n], *raws[n + 1 :]]
                )[0].argmax(dim=1)
                for n in range(len(raws))
            ]
            without = torch.stack(labels, dim=1) if labels else logits.new_zeros(len(logits), 0)
        raw = torch.stack(list(raws), dim=1) if raws else logits.new_zeros(len(logits), 0)
        return Answers(
            self.class_names,
            tuple(self.patches[place] for place in ask.patches),
            scores.cpu().numpy(),
            weak_scores.cpu().numpy(),
            raw.cpu().numpy(),
            None if without is None else without.long().cpu().numpy(),
        )

    def _scores(
        self, patches: tuple[int, ...], logits: Tensor, raws: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Scores with these patches plugged in, and the weak model's, (N, classes) each."""
        variant = self._variant(patches)
        if variant is None:
            weak_scores = torch.softmax(logits, dim=1)
            return weak_scores, weak_scores
        both = variant.combine([logits, *raws])
        return both.scores, both.weak_scores


def _variant_of(model: PatchedClassifier, places: tuple[int, ...]) -> PatchedClassifier | None:
    """The model with some of its patches; None without any."""
    names = [model.patches[place].class_name for place in places]
    return model.only(names) if names else None


def _in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """Rows of all parts, back in the order that ``order`` was taken from."""
    together = _together(parts)
    if len(parts) == 1:
        return together
    return together[torch.from_numpy(np.argsort(order)).to(together.device)]


def _together(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _split(answers: Answers, parts: Sequence[Prepared | Unprepared]) -> list[Answers]:
    """Rows of each part, in turn."""
    if len(parts) == 1:
        return [answers]
    found, start = [], 0
    for part in parts:
        found.append(answers.rows(start, start + len(part)))
        start += len(part)
    return found
