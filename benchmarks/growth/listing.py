"""Registries with more and more class modules: registering, listing, finding.

The networks are tiny: only the number of entries matters.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth.curves import Curves, in_turns, seconds
from benchmarks.growth.held import largest_python_bytes
from benchmarks.growth.settings import GrowthSettings
from benchmarks.growth.subject import decomposed, tiny_classifier
from benchmarks.networks import plan_of, random_module
from benchmarks.serving.subject import made_of_nothing
from modularizer.cost import count_cost
from modularizer.records import Decomposition, TrainedClassifier
from registry.registry import Registry

_STRONG_CLASSES = 10
_LATEST_SHARE = 0.2


def measure_listing(
    folder: Path, settings: GrowthSettings, *, told: Callable[[str], None] = lambda line: None
) -> Curves:
    """Fill a registry for each size, and time what reads all of its entries or a few.

    Args:
        folder: for the registries.
        settings: sizes and repeats.
        told: called with a line whenever something is done.

    Returns:
        ``register_one_seconds``: of a class module, the last ones before the size;
        ``list_seconds`` and ``list_peak_bytes``: all class modules;
        ``modules_of_one_seconds``: those of one strong model; ``find_seconds``: by an address.

    Raises:
        RuntimeError: if a registry does not hold what was registered.
    """
    curves = Curves("listed")
    filled = {
        size: Filled(Registry.open(folder / f"home-{size}"), size, settings)
        for size in settings.listed
    }
    _fill(filled, settings, told)
    took = [one for registry in filled.values() for one in registry.took]
    for size in settings.listed:
        for count, found in took:
            if (1 - _LATEST_SHARE) * size < count <= size:
                curves.add("register_one_seconds", size, found)
    for size in in_turns(settings.listed, settings.repeats, settings.seed):
        filled[size].read(curves)
    for size, registry in filled.items():
        peak = largest_python_bytes(registry.listed)
        curves.add("list_peak_bytes", size, peak)
    told("listing is timed")
    return curves


def _fill(filled: dict[int, Filled], settings: GrowthSettings, told: Callable[[str], None]) -> None:
    """All registries at once, in any order, so that drift favours none."""
    order = [size for size, registry in filled.items() for _ in range(registry.decompositions)]
    random.Random(settings.seed).shuffle(order)
    for done, size in enumerate(order, start=1):
        filled[size].decompose_one()
        if done % 20 == 0 or done == len(order):
            told(f"{done} of {len(order)} decompositions are registered")


@dataclass
class Filled:
    """A registry on its way to so many class modules, of strong models with some each.

    Attributes:
        registry: where.
        size: how many class modules it will have.
        settings: how many at once.
    """

    registry: Registry
    size: int
    settings: GrowthSettings

    def __post_init__(self) -> None:
        self.took: list[tuple[int, float]] = []  # how many there were then, seconds of each
        self.count = 0
        self._strong = ""

    @property
    def decompositions(self) -> int:
        """How many it takes."""
        return -(-self.size // self.settings.decomposed)

    def decompose_one(self) -> None:
        """Register one more strong model, and the class modules of it, which is timed."""
        number = self.count // self.settings.decomposed
        count = min(self.settings.decomposed, self.size - self.count)
        seed = self.settings.seed + number
        classes = max(_STRONG_CLASSES, self.settings.decomposed)
        strong = tiny_classifier(classes, seed)
        plan = plan_of(strong)
        parts = decomposed(
            [random_module(strong, n, seed=seed + n, plan=plan) for n in range(count)]
        )
        cost = count_cost(strong.network, strong.preprocessing)
        name, made = f"strong-{number}", made_of_nothing(seed)
        uri = self.registry.add_classifier(
            TrainedClassifier(name, "strong", strong, {}, [], cost, made)
        )
        record = Decomposition(name, parts, {}, [], made)
        took = seconds(lambda: self.registry.add_decomposition(record, strong_uri=uri))
        self.count += count
        self.took.append((self.count, took / count))
        self._strong = self._strong or uri

    def listed(self) -> int:
        """List the class modules; gives how many there are."""
        return len(self.registry.versions("class_module"))

    def read(self, curves: Curves) -> None:
        """Time each way of reading once."""
        counts: list[int] = []
        took = seconds(lambda: counts.append(self.listed()))
        curves.add("list_seconds", self.size, took)
        took = seconds(lambda: counts.append(len(self.registry.used_by(self._strong))))
        curves.add("modules_of_one_seconds", self.size, took)
        curves.add("find_seconds", self.size, seconds(lambda: self.registry.find(self._strong)))
        expected = [self.size, min(self.size, self.settings.decomposed)]
        if counts != expected:
            raise RuntimeError(f"expected {expected} entries to be listed, found {counts}")
