"""A strong network beside its class modules, as rows of shares, and beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.cost.counting import COUNTS, Counted, mean_of, together
from benchmarks.paper.published import MODULES, NETWORKS, module_shares

STRONG, MEAN, COMPOSED = "strong", "mean module", "composed"
Kind = Literal["strong", "module", "mean", "composed"]
_ANY = {"num_classes", "width_multiplier", "dropout"}
_AS_IN_THE_PAPER = {"in_channels": 3, "input_size": 32, "batch_norm": False}
_PAPER_OUTPUTS = {10: "cifar", 5: "svhn"}


@dataclass(frozen=True)
class TakenApart:
    """A strong network and its class modules, counted.

    Attributes:
        name: of the decomposition.
        masks: where they are from, in words.
        strong: the whole network.
        modules: of the classes that have one, in the network's order; each has its class's name.
        suite: the paper's decomposition of the same network, a key of `MODULES`; None for none.
        missing: classes without a module.
    """

    name: str
    masks: str
    strong: Counted
    modules: tuple[Counted, ...]
    suite: str | None = None
    missing: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """The strong network, each module, their mean, and all side by side, as JSON values.

        There is no composed row where a class has no module.
        """
        found = [self._row("strong", self.strong)]
        found += [self._row("module", one) for one in self.modules]
        found.append(self._row("mean", mean_of(MEAN, self.modules)))
        if not self.missing:
            found.append(self._row("composed", together(COMPOSED, self.modules)))
        return found

    def _row(self, kind: Kind, one: Counted) -> dict[str, Any]:
        counts = {count: getattr(one, count) for count in COUNTS}
        shares = {
            f"{count}_share": _ratio(getattr(one, count), getattr(self.strong, count))
            for count in COUNTS
        }
        ours: dict[str, float | None] = counts | shares
        paper = self._paper(kind)
        return {
            "decomposition": self.name,
            "kind": kind,
            "name": one.name,
            **ours,
            "paper": paper or None,
            "to_paper": {key: _ratio(ours[key], value) for key, value in paper.items()} or None,
        }

    def _paper(self, kind: Kind) -> Mapping[str, float]:
        """The paper's figures for a row: counts where the network has the paper's size."""
        if self.suite is None or kind not in ("strong", "mean"):
            return {}
        whole = NETWORKS[self.suite.split("-")[0]]
        has_paper_size = self.strong.kernels == whole["kernels"]
        if kind == "strong":
            return dict(whole) if has_paper_size else {}
        shares = {f"{key}_share": value for key, value in module_shares(self.suite).items()}
        return {**MODULES[self.suite], **shares} if has_paper_size else shares


def suite_of(architecture: str, arguments: Mapping[str, Any]) -> str | None:
    """The paper's decomposition of such a network, at whatever width; None if it has none.

    It is told by the network and the number of its classes, whatever they are.

    Args:
        architecture: by name.
        arguments: of its builder.
    """
    data = _PAPER_OUTPUTS.get(arguments.get("num_classes", 0))
    suite = f"{architecture}-{data}"
    has_its_form = all(
        key in _ANY or (key in _AS_IN_THE_PAPER and value == _AS_IN_THE_PAPER[key])
        for key, value in arguments.items()
    )
    return suite if has_its_form and suite in MODULES else None


def _ratio(value: float | None, whole: float | None) -> float | None:
    return None if value is None or not whole else value / whole
