"""What the service's answers look like as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelIdentity(_Message):
    """Which registered model version answers.

    Attributes:
        uri: its address without an alias, ``models:/name/version``.
        name: its registered name.
        version: its number.
    """

    uri: str
    name: str
    version: int


class PatchExplanation(_Message):
    """What one patch did to one answer.

    Attributes:
        patch: the class that it patches.
        module: the class module's address.
        module_score: what the class module gave, uncalibrated.
        weak_score: the weak model's probability of the class.
        score: the class's score with all patches of the request.
        without: the label that the answer would have without this one patch.
    """

    patch: str
    module: str
    module_score: FiniteFloat
    weak_score: FiniteFloat
    score: FiniteFloat
    without: str


class Prediction(_Message):
    """What the patched model says of one image, and the weak one beside it.

    Attributes:
        label: the class with the highest of ``scores``.
        scores: by class name; a patched class has its calibrated score, so they don't sum to 1.
        weak_label: the class that the weak model alone would have given.
        weak_scores: its probabilities by class name; they sum to 1.
        changed_by: the classes whose patches moved the answer; empty if it did not move.
        explanations: one for each patch that was asked, where the request wants them.
    """

    label: str
    scores: dict[str, FiniteFloat]
    weak_label: str
    weak_scores: dict[str, FiniteFloat]
    changed_by: tuple[str, ...]
    explanations: tuple[PatchExplanation, ...] | None = None


class PredictResponse(_Message):
    """The answer of ``POST /predict``: a prediction for each image, in the order sent.

    Attributes:
        model: which version answers.
        patches: the classes whose patches were plugged in.
        predictions: one for each image.
    """

    model: ModelIdentity
    patches: tuple[str, ...]
    predictions: tuple[Prediction, ...]


class ErrorDetail(_Message):
    """``code`` is for programs and stays the same; ``message`` is for people."""

    code: str
    message: str


class ErrorResponse(_Message):
    """The body of every answer that is an error."""

    error: ErrorDetail


class ReadyResponse(_Message):
    """The body of ``/readyz`` when there is a model to answer with.

    Attributes:
        ready: true.
        model: the active one.
        from_cache: whether it was loaded while the registry could not be reached; it may be
            older than what its alias stands for.
    """

    ready: bool
    model: ModelIdentity
    from_cache: bool
