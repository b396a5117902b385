"""What a search did and what it left of one class: the same numbers as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patchbay.console import say, speaks_unicode, table

if TYPE_CHECKING:
    from modularizer.search_report import SearchReport

_NAMES = {
    "fitness": "fitness",
    "accuracy": "Acc",
    "loss": "loss, training images",
    "training_accuracy": "Acc, training images",
    "diff": "Diff",
    "kernels_kept": "kernels kept, mean",
}
_LEVELS = "▁▂▃▄▅▆▇█"
_COURSE_WIDTH = 24
_BAR_WIDTH = 20
_MOST_ALIKE = 5


def as_json(report: SearchReport, class_name: str) -> dict[str, Any]:
    """A search and one of its classes as JSON values; ratios in [0, 1]."""
    index = report.class_names.index(class_name)
    best = report.best_generation
    return {
        "generations": len(report.history),
        "best_generation": best,
        **{
            name: dict(report.history[place]) if report.history else {}
            for name, place in (("first", 0), ("best", best - 1), ("last", -1))
        },
        "strong_accuracy": report.strong_accuracy,
        "random_accuracy": _mean(report.random_accuracy),
        "kernels": report.kernels,
        "layers": [
            {"layers": layers.split("+"), "kernels": kernels, "kept": kept}
            for layers, kernels, kept in zip(
                report.layers, report.segment_kernels, report.kernels_kept[index], strict=True
            )
        ],
        "overlap": dict(report.closest(class_name)),
    }


def show_search(report: SearchReport, class_name: str) -> None:
    """Tables of a search: how it converged, what the class's module keeps, which are like it."""
    _show_convergence(report)
    _show_layers(report, class_name)
    closest = report.closest(class_name)[:_MOST_ALIKE]
    table(
        f"Modules most like that of {class_name}",
        ("class", "kernels shared / kernels of either"),
        [(name, f"{alike:.3f}") for name, alike in closest],
    )


def _show_convergence(report: SearchReport) -> None:
    count, best = len(report.history), report.best_generation
    rows = []
    for metric, name in _NAMES.items():
        values = [row[metric] for row in report.history if metric in row]
        if len(values) == count > 0:
            chosen = (values[0], values[best - 1], values[-1])
            rows.append((name, course(values), *(_number(value) for value in chosen)))
        elif values and metric in report.history[-1]:  # looked at once, at the end
            rows.append((name, "", "", "", _number(values[-1])))
    step = report.step_name
    table(
        f"Search: {count} {step}{'' if count == 1 else 's'}, the best in {step} {best}",
        ("on validation images", "course", "first", "best", "last"),
        rows,
        left=2,
    )
    random = _mean(report.random_accuracy)
    say(
        f"  Acc of the strong model {report.strong_accuracy:.4f}"
        + ("" if random is None else f", of random masks of the same size {random:.4f}")
    )
    say()


def _show_layers(report: SearchReport, class_name: str) -> None:
    shares = report.kept_share()
    index = report.class_names.index(class_name)
    coupled = " (+n: and n coupled)" if any("+" in layers for layers in report.layers) else ""
    rows = [
        (label, bar(share), f"{kept:,} of {kernels:,}", f"{share:.2f}", f"{mean:.2f}")
        for label, kernels, kept, share, mean in zip(
            report.layer_labels,
            report.segment_kernels,
            report.kernels_kept[index],
            shares[index].tolist(),
            shares.mean(axis=0).tolist(),
            strict=True,
        )
    ]
    table(
        f"Kernels that the module of {class_name} keeps",
        (f"layer{coupled}", "", "kept", "share", "all modules"),
        rows,
        left=2,
    )


def course(values: Sequence[float], *, width: int = _COURSE_WIDTH) -> str:
    """A line of blocks as high as the values, from their lowest to their highest.

    Of more values than ``width``, each block shows the last of its share. Empty where stdout
    takes ASCII alone.
    """
    if not values or not speaks_unicode():
        return ""
    blocks = min(len(values), width)
    shown = [values[(place + 1) * len(values) // blocks - 1] for place in range(blocks)]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_LEVELS[round((value - low) / span * (len(_LEVELS) - 1))] for value in shown)


def bar(share: float, *, width: int = _BAR_WIDTH) -> str:
    """A share in [0, 1] as a bar; ``width`` characters stand for 1."""
    full, empty = ("█", "░") if speaks_unicode() else ("#", ".")
    filled = round(share * width)
    return full * filled + empty * (width - filled)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.4f}"
