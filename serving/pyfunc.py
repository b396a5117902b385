"""An exported model as MLflow scores it: the code is this package, the data an archive.

``patchbay export URI FOLDER --pyfunc`` writes a folder that names this module; MLflow calls
`_load_pyfunc` with the archive's path.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modularizer.assembly.patched import PatchedClassifier
from registry.errors import RegistryError
from registry.loading import Loaded
from registry.standalone import load_archive
from serving.decoding.images import ImageDecoder
from serving.decoding.limits import ImageLimits
from serving.engine.packing import pack_all
from serving.errors import RequestError
from serving.scoring.answering import Answers, Model, Preparation, answer
from serving.scoring.batches import Batch, Slice
from serving.scoring.parts import Columns
from serving.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

IMAGE = "image"
_AT_ONCE = 64
_NOTHING: dict[str, Any] = {
    "string": "",
    "float": float("nan"),
    "array<string>": [],
    "array<float>": [],
}


def answer_columns(*, patched: bool) -> dict[str, str]:
    """The columns of a model's answers, name to type in MLflow's words.

    Args:
        patched: whether it is a patched model.
    """
    of_weak = {"weak_label": "string", "weak_score": "float", "changed_by": "array<string>"}
    return {
        "label": "string",
        "score": "float",
        **(of_weak if patched else {}),
        "scores": "array<float>",
        "error": "string",
    }


class ScoringModel:
    """A model that answers a table of encoded images with a table of answers.

    Args:
        loaded: a strong, weak or patched model.

    Raises:
        RegistryError: if it is a class module.
    """

    def __init__(self, loaded: Loaded) -> None:
        if not isinstance(loaded.model, Model):
            raise RegistryError(
                f"{loaded.version.uri} scores one class alone; export a strong, weak or "
                "patched model"
            )
        self._model = loaded.model
        pack_all(self._model)
        told = {"uri": loaded.version.uri, "digest": loaded.version.digest}
        self._columns = Columns(self._model, told)
        settings = Settings()
        self._limits = ImageLimits(1, settings.max_pixels, settings.max_pixels)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer images.

        Args:
            model_input: a column ``image`` of PNG, JPEG, WebP or .npy files' bytes, one image each.
            params: none are known.

        Returns:
            A row for each, with the columns of `answer_columns`: an error or an answer. The
            other is "", NaN or an empty list: on Spark, MLflow would turn None into "None".
        """
        import pandas as pd

        bodies = [bytes(body) for body in model_input[IMAGE]]
        names = answer_columns(patched=isinstance(self._model, PatchedClassifier))
        values: dict[str, list[Any]] = {name: [] for name in names}
        for batch in self._batches(bodies):
            rows = self._columns.rows(batch)
            for name, column in values.items():
                nothing = _NOTHING[names[name]]
                column += [nothing if v is None else v for v in rows.column(name).to_pylist()]
        return pd.DataFrame(values, index=model_input.index)

    def _batches(self, bodies: list[bytes]) -> Iterator[Batch]:
        for start in range(0, len(bodies), _AT_ONCE):
            chunk = bodies[start : start + _AT_ONCE]
            preparation = Preparation(self._model)
            errors = [self._add(preparation, body) for body in chunk]
            inputs = preparation.inputs()
            answers: Answers | None = answer(self._model, inputs) if inputs else None
            names = [str(number) for number in range(start, start + len(chunk))]
            yield Batch(Slice(start, start + len(chunk)), names, errors, answers)

    def _add(self, preparation: Preparation, body: bytes) -> str | None:
        """Take an image; gives why that can't be done, or None."""
        try:
            (image,) = self._decoded(body)
        except (RequestError, ValueError) as error:
            return str(error)
        preparation.add(image)
        return None

    def _decoded(self, body: bytes) -> list[NDArray[np.uint8]]:
        return ImageDecoder(self._limits).decode(body)


def _load_pyfunc(path: str) -> ScoringModel:
    """What MLflow calls.

    Args:
        path: of the archive.
    """
    return ScoringModel(load_archive(Path(path)))
