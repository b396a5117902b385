"""What the gate judges a patched version by: images at hand, or what is stored with versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from patchbay.provenance import warn_of_other_splits
from registry.errors import BundleError, NotFoundError
from registry.version import UnreadVersion, Version

if TYPE_CHECKING:
    from modularizer.answers import Answers
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.gate import Verdict
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
    basis = f"{len(images)} {split} images of {data.source}"
    if current is None:
        return _judged(answers, version, None, None, basis, settings)
    if not isinstance(current, Version):
        return _unreadable(current.uri, current.reason, basis)
    if set(current.class_names) != set(version.class_names):
        return _other_classes(version, current, basis)
    try:
        said = _answers_of(registry, current, images, version)
    except (BundleError, NotFoundError) as error:
        return _unreadable(current.uri, str(error), basis)
    return _judged(answers, version, current, said, basis, settings)


def judge_by_evidence(
    registry: Registry,
    version: Version,
    current: Version | UnreadVersion | None,
    settings: GateSettings,
) -> Judgement:
    """Take what was answered on validation images when the versions were made.

    Of a rule that was fitted on these images, the answers are those of its cross-fitting.
    """
    answers = _stored_answers(registry, version)
    if answers is None:
        return Judgement(
            None,
            (f"{version.uri} was registered without images to judge it by; give --data",),
            "nothing: no evidence is stored with the version",
            None if current is None else current.uri,
        )
    basis = f"the evidence stored with the version, {len(answers.labels)} validation images"
    if current is None:
        return _judged(answers, version, None, None, basis, settings)
    if not isinstance(current, Version):
        return _unreadable(current.uri, current.reason, basis)
    if set(current.class_names) != set(version.class_names):
        return _other_classes(version, current, basis)
    try:
        other = _stored_answers(registry, current)
        same = [_fingerprint(registry, one) for one in (version, current)]
    except (BundleError, NotFoundError) as error:
        return _unreadable(current.uri, str(error), basis)
    if other is None or same[0] != same[1] or other.class_names != answers.class_names:
        return Judgement(
            None,
            (
                f"the evidence of {current.uri}, which is in use, is of other images, so the two "
                "can't be compared; give --data",
            ),
            basis,
            current.uri,
        )
    return _judged(answers, version, current, other.patched, basis, settings)


def _judged(
    answers: Answers,
    version: Version,
    current: Version | None,
    said: Labels | None,
    basis: str,
    settings: GateSettings,
) -> Judgement:
    from modularizer.gate import judge_promotion

    verdict = judge_promotion(answers, version.patched_classes, current=said, settings=settings)
    return Judgement(verdict, verdict.reasons, basis, None if current is None else current.uri)


def _unreadable(uri: str, reason: str, basis: str) -> Judgement:
    return Judgement(
        None,
        (f"{uri}, which is in use, can't be read, so nothing can be compared with it: {reason}",),
        basis,
        uri,
    )


def _other_classes(version: Version, current: Version, basis: str) -> Judgement:
    here, there = set(version.class_names), set(current.class_names)
    found = [f"lacks {', '.join(sorted(there - here))}"] if there - here else []
    found += [f"adds {', '.join(sorted(here - there))}"] if here - there else []
    return Judgement(
        None,
        (f"it {' and '.join(found)}, so it can't be compared with {current.uri}, which is in use",),
        basis,
        current.uri,
    )


def _answers_of(registry: Registry, current: Version, images: Any, version: Version) -> Labels:
    """What the version in use answers on the same images, as the other one's class indices."""
    import numpy as np

    from modularizer.classifier import predict

    model = registry.load_patched(current.uri)
    places = np.array([version.class_names.index(name) for name in model.class_names])
    answers: Labels = places[predict(model, images.images).argmax(axis=1)]
    return answers


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
