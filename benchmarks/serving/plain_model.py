"""A patched model as somebody would run it who has an archive, torch, Pillow and numpy.

It is what the peers without a way of their own to load a model have in common.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modularizer.assembly.patched import PatchedClassifier
from modularizer.preprocessing import as_tensor
from registry.standalone import load_archive

_NPY_MAGIC = b"\x93NUMPY"


class PlainModel:
    """Bytes of one image to what its networks see, and that, of one image or more, to answers.

    Args:
        archive: that ``patchbay export`` wrote of a patched model.
    """

    def __init__(self, archive: Path) -> None:
        model = load_archive(archive).model
        assert isinstance(model, PatchedClassifier)
        self._model = model.eval()

    def prepared(self, body: bytes) -> list[Tensor]:
        """The input of each network, one image each, of a .npy file or of what Pillow reads."""
        if body.startswith(_NPY_MAGIC):
            pixels = np.load(io.BytesIO(body), allow_pickle=False)
        else:
            pixels = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
        with torch.inference_mode():
            return self._model.prepare(as_tensor(pixels[None]))

    def answers(self, inputs: Sequence[Tensor]) -> list[dict[str, Any]]:
        """What is said of each image: label and scores, the patched model's and the weak one's.

        Args:
            inputs: of each network, all images at once.
        """
        with torch.inference_mode():
            branches = zip(self._model.branches, inputs, strict=True)
            both = self._model.combine([branch.run(one) for branch, one in branches])
        names = self._model.class_names
        rows = zip(both.scores.tolist(), both.weak_scores.tolist(), strict=True)
        return [
            {
                "label": names[scores.index(max(scores))],
                "scores": dict(zip(names, scores, strict=True)),
                "weak_label": names[weak.index(max(weak))],
                "weak_scores": dict(zip(names, weak, strict=True)),
            }
            for scores, weak in rows
        ]
