from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from modularizer.assembly.fitting import BranchScores, predicted_labels
from modularizer.errors import CalibrationError
from modularizer.patching import JudgedRule, best_of, judge
from modularizer.recommending import (
    Candidate,
    Measured,
    Task,
    combine,
    full_judgement,
    measure,
    rank,
)
from modularizer.rules import PAPER, REPLACEMENTS, STACKING, STACKINGS, RuleName
from tests.modularizer.made_scores import CLASSES, STORED

LABELS = np.arange(240, dtype=np.int64) % 4


def task(**changes: object) -> Task:
    """A weak model that takes half of the bees for cats and half of the dogs for apes."""
    generator = np.random.default_rng(3)
    blurred = generator.random(240) < 0.5
    seen = np.where(blurred & (LABELS == 1), 2, np.where(blurred & (LABELS == 3), 0, LABELS))
    logits = 3 * np.eye(4)[seen] + generator.normal(0, 1, (240, 4))
    plain = Task(torch.from_numpy(logits).float(), LABELS, CLASSES, REPLACEMENTS)
    return replace(plain, **changes)  # type: ignore[arg-type]


def candidate(address: str, class_name: str, noise: float, *, useless: bool = False) -> Candidate:
    generator = np.random.default_rng(list(address.encode()))
    is_class = CLASSES.index(class_name) == LABELS
    raw = np.where(is_class & (not useless), 2.0, -2.0) + generator.normal(0, noise, 240)
    return Candidate(address, class_name, torch.from_numpy(raw).float(), STORED)


CANDIDATES = [
    candidate("bee/good", "bee", 0.8),
    candidate("bee/poor", "bee", 2.5),
    candidate("cat/fair", "cat", 1.2),
    candidate("dog/good", "dog", 1.0),
    candidate("dog/none", "dog", 1.0, useless=True),
]


def plainly_judged(given: Task, members: Sequence[Candidate]) -> JudgedRule | None:
    """What the rule that `patchbay patch` would take says of these members; None if it refuses."""
    columns = tuple(CLASSES.index(one.class_name) for one in members)
    scores = BranchScores(
        given.weak_logits, torch.stack([one.raw for one in members]), columns, LABELS
    )
    judged = []
    for name in given.rules:
        try:
            judged.append(judge(name, [one.stored for one in members], scores, CLASSES))
        except CalibrationError:
            continue
    return best_of(judged)


def plain_gain(given: Task, members: Sequence[Candidate]) -> float | None:
    """What macro F1 gains by scikit-learn, or None where it is not allowed."""
    ordered = sorted(members, key=lambda one: CLASSES.index(one.class_name))
    best = plainly_judged(given, ordered)
    if best is None or best.answers is None:
        return None
    weak = predicted_labels(given.weak_logits)
    others = ~np.isin(LABELS, [CLASSES.index(one.class_name) for one in members])
    right_before, right = weak == LABELS, best.answers.patched == LABELS
    if others.any() and right_before[others].mean() - right[others].mean() > given.max_others_loss:
        return None
    macro = [f1_score(LABELS, said, average="macro") for said in (best.answers.patched, weak)]
    gain = float(macro[0] - macro[1])
    return gain if gain > 0 else None


def every_combination() -> Iterator[tuple[Candidate, ...]]:
    for count in range(1, len(CANDIDATES) + 1):
        for members in combinations(CANDIDATES, count):
            if len({one.class_name for one in members}) == count:
                yield members


def addresses(found: Measured) -> frozenset[str]:
    return frozenset(one.address for one in found.members)


@pytest.mark.parametrize(
    ("rules", "max_others_loss"),
    [(REPLACEMENTS, 0.01), ((*REPLACEMENTS, *STACKINGS), 0.01), (REPLACEMENTS, 0.0)],
)
def test_the_ranking_is_the_plain_definition_over_all_combinations(
    rules: Sequence[RuleName], max_others_loss: float
) -> None:
    given = task(rules=rules, max_others_loss=max_others_loss)
    gains = {
        frozenset(one.address for one in members): plain_gain(given, members)
        for members in every_combination()
    }
    allowed = {names: gain for names, gain in gains.items() if gain is not None}
    singles = {names: gain for names, gain in allowed.items() if len(names) == 1}
    useful = frozenset().union(*singles)
    expected, current = dict(singles), max(singles, key=lambda names: singles[names])
    while True:  # greedily, from the best
        grown = {
            names: gain
            for names, gain in allowed.items()
            if current < names <= useful and len(names) == len(current) + 1
            and gain > allowed[current]
        }  # fmt: skip
        if not grown:
            break
        current = max(grown, key=lambda names: grown[names])
        expected[current] = grown[current]
    found = rank(given, CANDIDATES)
    assert {addresses(one): one.macro_f1_gain for one in found.best_first} == pytest.approx(
        expected
    )
    order = [one.macro_f1_gain for one in found.best_first]
    assert order == sorted(order, reverse=True)
    assert addresses(found.best_first[0]) == max(expected, key=lambda names: expected[names])
    left_out = {address for one in found.left_out for address in addresses(one)}
    assert left_out == {one.address for one in CANDIDATES} - useful
    assert "dog/none" in left_out
    if max_others_loss:  # here greed finds the best there is
        assert order[0] == pytest.approx(max(allowed.values()))
        assert len(found.best_first[0].members) > 1


def test_a_recommendation_s_numbers_are_those_of_the_rule_that_would_be_chosen() -> None:
    given = task(rules=(*REPLACEMENTS, *STACKINGS))
    for measured in rank(given, CANDIDATES).best_first:
        found = full_judgement(given, measured)
        plain = plainly_judged(given, measured.members)
        assert plain is not None
        assert found.judged == plain
        assert found.macro_f1_interval.low < measured.macro_f1_gain < found.macro_f1_interval.high
        assert found.may_be_chance == (found.macro_f1_interval.low <= 0)


def test_members_are_in_the_weak_models_order_whatever_was_added_first() -> None:
    given = task()
    dog, bee = CANDIDATES[3], CANDIDATES[0]
    assert measure(given, [dog, bee]) == measure(given, [bee, dog])
    assert [one.class_name for one in measure(given, [dog, bee]).members] == ["bee", "dog"]


def test_ties_go_to_the_first_address_and_the_fewest_patches() -> None:
    twin = replace(CANDIDATES[0], address="bee/a-twin")
    found = rank(task(), [CANDIDATES[0], twin])
    assert [one.members[0].address for one in found.best_first] == ["bee/a-twin", "bee/good"]
    assert found.best_first[0].macro_f1_gain == found.best_first[1].macro_f1_gain
    again = rank(task(), [twin, CANDIDATES[0]])
    assert [addresses(one) for one in again.best_first] == [
        addresses(one) for one in found.best_first
    ]


def test_the_shortlist_is_what_combinations_are_made_of() -> None:
    found = rank(task(), CANDIDATES, shortlist=1)
    used = {address for one in found.best_first if len(one.members) > 1 for address in
            addresses(one)}  # fmt: skip
    assert used
    assert "bee/poor" not in used
    assert {addresses(one) for one in found.best_first if len(one.members) == 1} == {
        addresses(one) for one in rank(task(), CANDIDATES).best_first if len(one.members) == 1
    }
    assert combine(task(), []) == []


def test_what_stands_in_the_way_is_named() -> None:
    constant = replace(CANDIDATES[0], raw=torch.zeros(240))
    assert measure(task(rules=[STACKING]), [constant]).obstacle == "no rule"
    assert measure(task(), [CANDIDATES[4]]).obstacle == "no gain"
    no_bees = task(labels=np.where(LABELS == 1, 0, LABELS))
    assert measure(no_bees, [CANDIDATES[0]]).obstacle == "no images"
    harmful = rank(task(max_others_loss=0.0), CANDIDATES).left_out
    lost = [one for one in harmful if one.obstacle == "others lose"]
    assert lost
    assert all(one.others_loss > 0 and one.macro_f1_gain > 0 for one in lost)


def test_a_single_rule_is_taken_as_it_is() -> None:
    """As `patchbay patch` takes it, though the model gets worse as a whole."""
    logits = task().weak_logits
    bold = replace(CANDIDATES[1], stored={"minmax": STORED["minmax"]})
    for rules, rule in (([PAPER], PAPER), ([STACKING], STACKING)):
        found = measure(task(weak_logits=logits, rules=rules), [bold])
        assert found.rule == rule
