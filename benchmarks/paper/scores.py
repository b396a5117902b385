"""Scores of a suite on one split: all that tables are made of, in a workspace or published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.rows import PATCHES, STORED_WITH, PatchKind
from benchmarks.paper.track import KINDS, Kind, Suite
from modularizer.assembly.calibrations.logistic import fit_logistic
from modularizer.assembly.calibrations.minmax import fit_minmax
from modularizer.assembly.calibrations.quantile import fit_quantile
from modularizer.assembly.fitting import BranchScores
from modularizer.errors import DataError
from modularizer.rules import StoredCalibrations
from modularizer.whole_files import write_whole

Split = Literal["validation", "held-out"]

STRONG = "strong data"
_FLOATS = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class SuiteScores:
    """What every network of a suite gives on the images of one split.

    Attributes:
        suite: its name.
        classes: of the strong network.
        targets: the target classes that there are weak models for, in order.
        tensors: by name. ``strong data/PATCH`` (N, classes) and ``strong data/labels``: scores
            of the strong network's own data; ``own/CLASS/PATCH`` (n,): of training images of a
            class, with the validation split alone; ``TARGET/weak/KIND`` (M, classes),
            ``TARGET/patch/PATCH`` (M,) and ``TARGET/labels``: scores of a weak model's data, in
            which the target class is the last.
    """

    suite: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    def strong_labels(self) -> NDArray[np.int64]:
        """Labels of the strong network's own images: int64 (N,)."""
        return self._labels(STRONG)

    def strong_scores(self, patch: PatchKind) -> Tensor:
        """Every class's score of the strong network's own images: float32 (N, classes).

        Of patches that calibrations are stored with, see `STORED_WITH`.
        """
        return self.tensors[f"{STRONG}/{patch}"].float()

    def given(self, target: str, kind: Kind, patch: PatchKind) -> BranchScores:
        """What a weak model and what patches it give."""
        weak = self.tensors[f"{target}/weak/{kind}"].float()
        raw = self.tensors[f"{target}/patch/{patch}"].float()
        return BranchScores(weak, raw[None], (weak.shape[1] - 1,), self._labels(target))

    def stored(self, target: str, patch: PatchKind) -> StoredCalibrations:
        """The calibrations that the strong network's own images are enough for.

        Needs the validation split. Raises as the fits do.
        """
        source = STORED_WITH[patch]
        own = self.tensors[f"own/{target}/{source}"].float().numpy()
        label = self.classes.index(target)
        scores = self.strong_scores(source)[:, label].numpy()
        return {
            "minmax": fit_minmax(own),
            "quantile": fit_quantile(own),
            "logistic": fit_logistic(scores, self.strong_labels() == label),
        }

    def models(self) -> Iterator[tuple[str, Kind]]:
        """Target class and kind of each weak model."""
        for target in self.targets:
            for kind in KINDS:
                yield target, kind

    def _labels(self, part: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.tensors[f"{part}/labels"].numpy().astype(np.int64)
        return found


def joined(
    suite: str,
    classes: tuple[str, ...],
    strong_data: Mapping[str, Tensor],
    of_targets: Mapping[str, Mapping[str, Tensor]],
) -> SuiteScores:
    """Scores as steps leave them, put together.

    Args:
        suite: its name.
        classes: of the strong network.
        strong_data: on its own data, each patch's by name, with ``labels`` and ``own/...``.
        of_targets: from target class to the scores on its weak models' data.
    """
    tensors = {
        (key if key.startswith("own/") else f"{STRONG}/{key}"): value
        for key, value in strong_data.items()
    }
    for target, found in of_targets.items():
        tensors.update({f"{target}/{key}": value for key, value in found.items()})
    return SuiteScores(suite, classes, tuple(of_targets), tensors)


def publish(scores: SuiteScores, path: Path, split: Split) -> None:
    """Write the scores of a split to a safetensors file."""
    from safetensors.torch import save

    about = {
        "suite": scores.suite,
        "split": split,
        "classes": scores.classes,
        "targets": scores.targets,
    }
    raw = save(
        {name: tensor.contiguous() for name, tensor in scores.tensors.items()},
        metadata={"patchbay": json.dumps(about)},
    )
    write_whole(path, raw)


def read_published(path: Path, suite: Suite, split: Split) -> SuiteScores:
    """Scores that were published.

    Args:
        path: of the file.
        suite: whose they should be.
        split: of which images.

    Raises:
        DataError: if the file is missing, broken, of something else, or holds scores that are not
            finite or don't go together.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["patchbay"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = (about["suite"], about["split"], tuple(about["targets"]))
        classes = tuple(map(str, about["classes"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} holds no published scores: {error}") from error
    if said != (suite.name, split, suite.targets):
        raise DataError(
            f"{path} is said to be of {said[0]}, {said[1]} images, target classes "
            f"{', '.join(map(str, said[2]))}; it should be of {suite.name}, {split}, "
            f"{', '.join(suite.targets)}"
        )
    found = SuiteScores(suite.name, classes, suite.targets, tensors)
    try:
        _require_form(found, split)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return found


def _require_form(scores: SuiteScores, split: Split) -> None:
    """Refuse tensors that are missing, of another form, or not finite; `ValueError` says which."""
    classes = len(scores.classes)
    labels = _labels_of(scores, STRONG, classes)
    every = tuple(dict.fromkeys(STORED_WITH.values()))
    for patch in every:
        _numbers(scores, f"{STRONG}/{patch}", (len(labels), classes))
    if split == "validation":
        for name, patch in product(scores.targets, every):
            _numbers(scores, f"own/{name}/{patch}", (None,))
    for target in scores.targets:
        if target not in scores.classes:
            raise ValueError(f"{target} is no class of the strong network")
        weak = _tensor(scores, f"{target}/weak/{KINDS[0]}")
        columns = weak.shape[1] if weak.dim() == 2 else 0
        labels = _labels_of(scores, target, columns)
        if not 0 < int((labels == columns - 1).sum()) < len(labels):
            raise ValueError(f"{target}/labels are all of the target class, or none is")
        for kind in KINDS:
            _numbers(scores, f"{target}/weak/{kind}", (len(labels), columns))
        for patch in PATCHES:
            _numbers(scores, f"{target}/patch/{patch}", (len(labels),))


def _labels_of(scores: SuiteScores, part: str, classes: int) -> Tensor:
    found = _tensor(scores, f"{part}/labels")
    if found.dtype != torch.int64 or found.dim() != 1 or not len(found):
        raise ValueError(f"{part}/labels are no int64 labels of images")
    if not 0 <= int(found.min()) <= int(found.max()) < classes:
        raise ValueError(f"{part}/labels are not of the {classes} classes that there are scores of")
    return found


def _numbers(scores: SuiteScores, name: str, shape: tuple[int | None, ...]) -> None:
    found = _tensor(scores, name)
    fits = len(shape) == found.dim() and all(
        size == (wanted or size) for size, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits or not found.numel():
        wanted = " x ".join("any" if one is None else str(one) for one in shape)
        raise ValueError(f"{name} is {' x '.join(map(str, found.shape))}; it should be {wanted}")
    if found.dtype not in _FLOATS or not torch.isfinite(found).all():
        raise ValueError(f"{name} holds what is no finite score")


def _tensor(scores: SuiteScores, name: str) -> Tensor:
    if name not in scores.tensors:
        raise ValueError(f"{name} is missing")
    return scores.tensors[name]
