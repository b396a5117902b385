"""What the gate judges a patched version by: images at hand, or what is stored with versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modularizer.errors import DataError
from patchbay.provenance import warn_of_other_splits
from registry.errors import BundleError, NotFoundError
from registry.version import UnreadVersion, Version

if TYPE_CHECKING:
    from modularizer.answers import Answers
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.gate import InUse, Verdict
    from modularizer.metrics import Labels
    from modularizer.settings import GateSettings
    from registry.registry import Registry

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict, or why it could not be asked, and what it is based on.

    Attributes:
        verdict: None where there is nothing to judge by.
        reasons: what speaks against the promotion.
        basis: what it was judged by, in words.
        compared_with: the version in use; None if the alias stands for none.
    """

    verdict: Verdict | None
    reasons: tuple[str, ...]
    basis: str
    compared_with: str | None

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """As JSON values, for the record of the move."""
        return {
            **({} if self.verdict is None else self.verdict.as_json()),
            "passed": self.passed,
            "reasons": list(self.reasons),
            "basis": self.basis,
            "compared_with": self.compared_with,
        }


def judge_by_images(
    registry: Registry,
    version: Version,
    current: Version | UnreadVersion | None,
    data: DataSplits,
    split: Split,
    settings: GateSettings,
) -> Judgement:
    """Run the version, and the one in use, on the same images.

    Args:
        registry: of both.
        version: a patched one.
        current: what the alias stands for.
        data: splits with the version's classes, in its order.
        split: which of them judges.
        settings: the gate's.
    """
    from modularizer.answers import Answers
    from modularizer.assembly.patched import predict_both

    patched = registry.load_patched(version.uri)
    weak = registry.manifest(version.parents[0])
    warn_of_other_splits(weak.origin, data, split, model="the weak model")
    images = data.test.open("patchbay promote") if split == "test" else data.validation
    both = predict_both(patched, images.images)
    answers = Answers(
        images.class_names,
        images.labels,
        both.weak_scores.argmax(dim=1).numpy(),
        both.scores.argmax(dim=1).numpy(),
    )
    return _compared(
        answers,
        version,
        current,
        lambda other: _answers_of(registry, other, images, version),
        basis=f"{len(images)} {split} images of {data.source}",
        settings=settings,
    )


def judge_by_evidence(
    registry: Registry,
    version: Version,
    current: Version | UnreadVersion | None,
    settings: GateSettings,
) -> Judgement:
    """Take what was answered on validation images when the versions were made.

    Of a rule that was fitted on these images, the answers are those of its cross-fitting.
    """
    missing = f"{version.uri} was registered without images to judge it by; give --data"
    try:
        answers = _stored_answers(registry, version)
    except (BundleError, DataError) as error:
        answers, missing = None, f"the evidence of {version.uri} can't be used: {error}"
    if answers is None:
        compared_with = None if current is None else current.uri
        basis = "nothing: no evidence that can be used is stored with the version"
        return Judgement(None, (missing,), basis, compared_with)
    return _compared(
        answers,
        version,
        current,
        lambda other: _answers_stored_with(registry, other, version),
        basis=f"the evidence stored with the version, {len(answers.labels)} validation images",
        settings=settings,
    )


class _NotComparableError(Exception):
    """Why a version can't be compared with the one in use, in words for a person."""


def _compared(
    answers: Answers,
    version: Version,
    current: Version | UnreadVersion | None,
    answers_of: Callable[[Version], Labels],
    *,
    basis: str,
    settings: GateSettings,
) -> Judgement:
    """The gate's verdict, or why there is nothing to compare with.

    Args:
        answers: of the version and its weak model.
        version: a patched one.
        current: what the alias stands for.
        answers_of: what the version in use answers on the same images, int64 (N,), as indices of
            the other one's classes.
        basis: see `Judgement`.
        settings: the gate's.
    """
    from modularizer.gate import judge_promotion

    compared_with = None if current is None else current.uri
    try:
        in_use = None if current is None else _in_use(current, version, answers_of)
    except _NotComparableError as reason:
        return Judgement(None, (str(reason),), basis, compared_with)
    patched = version.patched_classes
    try:
        verdict = judge_promotion(answers, patched, current=in_use, settings=settings)
    except DataError as error:
        return Judgement(
            None, (f"it can't be judged by these images: {error}",), basis, compared_with
        )
    return Judgement(verdict, verdict.reasons, basis, compared_with)


def _in_use(
    current: Version | UnreadVersion, version: Version, answers_of: Callable[[Version], Labels]
) -> InUse:
    from modularizer.gate import InUse

    unreadable = (
        f"{current.uri}, which is in use, can't be read, so nothing can be compared with it"
    )
    if not isinstance(current, Version):
        raise _NotComparableError(f"{unreadable}: {current.reason}")
    here, there = set(version.class_names), set(current.class_names)
    if here != there:
        found = [f"lacks {', '.join(sorted(there - here))}"] if there - here else []
        found += [f"adds {', '.join(sorted(here - there))}"] if here - there else []
        raise _NotComparableError(
            f"it {' and '.join(found)}, so it can't be compared with {current.uri}, which is in use"
        )
    try:
        return InUse(answers_of(current), current.patched_classes)
    except (BundleError, NotFoundError, DataError) as error:
        raise _NotComparableError(f"{unreadable}: {error}") from error


def _answers_of(registry: Registry, current: Version, images: Any, version: Version) -> Labels:
    """What the version in use answers on the same images, as the other one's class indices."""
    import numpy as np

    from modularizer.classifier import predict

    model = registry.load_patched(current.uri)
    places = np.array([version.class_names.index(name) for name in model.class_names])
    answers: Labels = places[predict(model, images.images).argmax(axis=1)]
    return answers


def _answers_stored_with(registry: Registry, current: Version, version: Version) -> Labels:
    """What is stored with the version in use, if it is of the other one's images."""
    stored = _stored_answers(registry, current)
    if (
        stored is None
        or stored.class_names != version.class_names
        or _fingerprint(registry, current) != _fingerprint(registry, version)
    ):
        raise _NotComparableError(
            f"the evidence of {current.uri}, which is in use, is of other images, so the two "
            "can't be compared; give --data"
        )
    return stored.patched


def _stored_answers(registry: Registry, version: Version) -> Answers | None:
    from modularizer.answers import Answers
    from modularizer.patching import ANSWERS

    stored = registry.evidence(version.uri).get(ANSWERS)
    if stored is None:
        return None
    answers = Answers.from_json(stored)
    if answers.class_names != version.class_names:
        raise BundleError(f"{version.uri}: its stored answers are of other classes")
    return answers


def _fingerprint(registry: Registry, version: Version) -> str:
    return registry.manifest(version.uri).origin.data_fingerprint
