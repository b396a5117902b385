"""What the service's answers look like as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from modularizer.metrics import PatchEvaluation

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


class NetworkCost(_Message):
    """Kernels and parameters of one network, and its multiply-adds for one image, as counts."""

    kernels: int
    parameters: int
    multiply_adds: int


class WeakDescription(_Message):
    """The weak model that is patched.

    Attributes:
        uri: its address.
        cost: None if it was not registered with one.
        metrics: what was stored with it, by name.
    """

    uri: str
    cost: NetworkCost | None
    metrics: dict[str, FiniteFloat]


class PatchDescription(_Message):
    """One patch of the model that answers.

    Attributes:
        patch: the class that it patches, as the weak model calls it.
        module: the class module's address.
        module_class: the same class as the strong model calls it.
        strong: the address of the strong model that the class module is a part of; None if that
            is not known.
        calibration: how the class module's score is calibrated, by kind.
        cost: of the class module; None if it was not registered with one.
        metrics: what was stored with the class module, by name.
        validation: the weak model beside the patched one on validation images, seen from this
            class; None if there were none.
    """

    patch: str
    module: str
    module_class: str
    strong: str | None
    calibration: str
    cost: NetworkCost | None
    metrics: dict[str, FiniteFloat]
    validation: PatchEvaluation | None


class ModelDescription(_Message):
    """The body of ``GET /model``: what answers, what it was made of and judged by.

    Attributes:
        model: which version.
        digest: SHA-256 of its ``bundle.json``; it pins all of its parts.
        from_cache: as in `ReadyResponse`.
        class_names: the classes it scores, in output order.
        fusion: how scores of class modules join those of the weak model, by kind.
        mirrored: whether class modules see each image's mirror image, too.
        metrics: what was stored with it, by name.
        weak: the weak model.
        patches: its patches, in patch order.
    """

    model: ModelIdentity
    digest: str
    from_cache: bool
    class_names: tuple[str, ...]
    fusion: str
    mirrored: bool
    metrics: dict[str, FiniteFloat]
    weak: WeakDescription
    patches: tuple[PatchDescription, ...]


class StatusResponse(_Message):
    """The body of ``GET /status``: what this process has done since it started.

    Attributes:
        seconds_since_start: of the process's routes.
        requests: requests with images by route and outcome: ok, or the code of the error.
        images: images that were answered.
        changed_answers: answers that a patch moved away from the weak model's, by its class.
        images_waiting: images let in and not answered yet.
        reloads: by outcome, see the metric ``patchbay_reloads``.
        model: the active one; None while there is none.
        digest: its digest.
        from_cache: as in `ReadyResponse`.
    """

    seconds_since_start: FiniteFloat
    requests: dict[str, dict[str, int]]
    images: int
    changed_answers: dict[str, int]
    images_waiting: int
    reloads: dict[str, int]
    model: ModelIdentity | None
    digest: str | None
    from_cache: bool | None
