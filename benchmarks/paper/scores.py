"""Scores of a suite on one split: all that tables are made of, in a workspace or published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.rows import PATCHES, STORED_WITH, PatchKind
from benchmarks.paper.track import KINDS, Kind
from modularizer.assembly.calibrations.logistic import fit_logistic
from modularizer.assembly.calibrations.minmax import fit_minmax
from modularizer.assembly.calibrations.quantile import fit_quantile
from modularizer.assembly.fitting import BranchScores
from modularizer.errors import DataError
from modularizer.patching import StoredCalibrations
from modularizer.whole_files import write_whole

STRONG = "strong data"


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


def publish(scores: SuiteScores, path: Path) -> None:
    """Write scores to a safetensors file."""
    from safetensors.torch import save

    about = {"suite": scores.suite, "classes": scores.classes, "targets": scores.targets}
    raw = save(
        {name: tensor.contiguous() for name, tensor in scores.tensors.items()},
        metadata={"patchbay": json.dumps(about)},
    )
    write_whole(path, raw)


def read_published(path: Path) -> SuiteScores:
    """Scores that were published.

    Raises:
        DataError: if the file is missing, or not of this form.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["patchbay"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = SuiteScores(
            about["suite"], tuple(about["classes"]), tuple(about["targets"]), tensors
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no published scores: {error}") from error
    for target in found.targets:
        for name in (*(f"weak/{kind}" for kind in KINDS), *(f"patch/{one}" for one in PATCHES)):
            if f"{target}/{name}" not in tensors:
                raise DataError(f"{path} lacks {target}/{name}")
    return found
