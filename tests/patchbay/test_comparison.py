from __future__ import annotations

import json

import numpy as np
import pytest

from modularizer.metrics import PatchEvaluation, evaluate_patch
from patchbay.comparison import as_json, doubts, may_be_chance

CLASSES = ("ape", "bee")


def judged(*, found: int, wrong: int, target: str = "ape") -> PatchEvaluation:
    """40 images a class; of the target's weak finds 20, patched ``found``.

    ``wrong`` images of the other class are answered with the target by the patched model alone.
    """
    labels = np.repeat(np.arange(2), 40)
    own, other = CLASSES.index(target), 1 - CLASSES.index(target)
    weak = np.full(80, other)
    weak[np.flatnonzero(labels == own)[:20]] = own
    patched = np.full(80, other)
    patched[np.flatnonzero(labels == own)[:found]] = own
    patched[np.flatnonzero(labels == other)[:wrong]] = own
    return evaluate_patch(labels, weak, patched, class_names=CLASSES, target=target)


def test_a_gain_on_many_images_is_no_chance() -> None:
    clear = judged(found=36, wrong=0)
    assert not may_be_chance(clear)
    assert as_json(clear)["may_be_chance"] is False
    assert doubts([clear]) == []


@pytest.mark.parametrize(("found", "wrong", "end"), [(21, 0, "0"), (24, 4, "below 0")])
def test_a_gain_whose_interval_reaches_nothing_is_said_to_be_perhaps_chance(
    found: int, wrong: int, end: str
) -> None:
    small = judged(found=found, wrong=wrong)
    assert small.patched.f1 > small.weak.f1
    told = json.loads(json.dumps(as_json(small)))
    assert told["may_be_chance"] is True
    low, high = told["gain_interval"]["f1"]
    assert (low == 0) == (end == "0")
    (sentence,) = doubts([small])
    assert f"F1 gain of class ape, {low:+.3f} to {high:+.3f}, reaches {end}:" in sentence
    assert "may be chance" in sentence


def test_a_class_that_loses_is_named_where_the_mean_gains() -> None:
    gains, loses = judged(found=36, wrong=0), judged(found=16, wrong=0, target="bee")
    (sentence,) = doubts([gains, loses])
    loss = loses.patched.f1 - loses.weak.f1
    assert sentence.startswith(f"Class bee loses although the mean gains: {loss:+.3f} F1 (")
    assert as_json(loses)["may_be_chance"] is True
    # alone, or where the mean loses, too, there is no gain to be wrong about
    assert doubts([loses]) == []
    assert doubts([judged(found=20, wrong=0), loses]) == []
