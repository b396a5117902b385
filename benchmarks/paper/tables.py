"""A report as tables in Markdown, in the order of the paper's: decomposing, patching, others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.paper.evaluation import Judged
from benchmarks.paper.published import COMPOSED, GAINS, GAINS_BY_KIND, module_shares
from benchmarks.paper.report import NAMED, Report
from benchmarks.paper.rows import ROWS
from benchmarks.paper.track import KINDS

_METRICS = ("precision", "recall", "f1")
_STAR = " *"
_HEAD = ("rule", "weak F1", "precision", "recall", "F1", "others", "fixed / broken", "F1, cells")


def tables_of(report: Report, remark: str) -> str:
    """All tables, each with a heading.

    Args:
        report: what was judged.
        remark: what else has to be said of them, in sentences; it may be empty.
    """
    summary = report.summary
    parts = [
        ("Strong networks and the models composed of their modules", _composed(summary)),
        ("What patches bring on average", _head(summary)),
        ("By kind of weak model", _by_kind(summary)),
        *((f"Each target class: {suite}", _by_class(report, suite)) for suite in _suites(report)),
        ("Other classes, fixes and regressions", _others(report)),
        ("One change at a time", _ablation(summary)),
        ("With all held-out images of the target class", _whole(summary)),
    ]
    notes = (
        "Rows marked * are fitted on the weak model's labelled validation images, which the "
        "paper does not use. Gains are patched minus weak, in points; in brackets the 95 % "
        "interval of a bootstrap over images and models. `others` is the accuracy on all classes "
        f"but the target class. {remark}"
    ).strip()
    return (
        "\n\n".join(
            [
                notes,
                *(
                    f"## {number}. {title}\n\n{text}"
                    for number, (title, text) in enumerate(parts, start=1)
                ),
            ]
        )
        + "\n"
    )


def head_table(summary: Mapping[str, Any]) -> str:
    """The table for those who read no other."""
    return _head(summary)


def _composed(summary: Mapping[str, Any]) -> str:
    rows = [
        (
            one["suite"],
            *(
                f"{one[f'{name}_accuracy_uncalibrated']:.4f}, {one[f'{name}_accuracy']:.4f}"
                for name in ("strong", "composed", "random")
            ),
            f"{one['composed_loss_uncalibrated']:+.4f}, {one['composed_loss']:+.4f}",
            f"{one['composed_loss_validation']:+.4f}",
            f"{one['kernels_kept']:.1%}",
            f"{one['multiply_adds_share']:.1%}",
            f"{one['diff']:.4f}",
            _composed_in_the_paper(one["suite"]),
        )
        for one in summary["composed"]
    ]
    header = (
        "suite",
        "strong",
        "composed",
        "random masks",
        "loss",
        "loss on validation images",
        "kernels kept",
        "multiply-adds",
        "Diff",
        "the paper, full width",
    )
    note = (
        "Accuracies without and with output calibration: a scale and a shift for each output, "
        "fitted on validation images, for each of the three alike. The loss on validation images "
        "is with it, cross-fitted."
    )
    return f"{note}\n\n{_table(header, rows)}"


def _composed_in_the_paper(suite: str) -> str:
    if suite not in COMPOSED:
        return "-"
    paper, kernels = COMPOSED[suite], module_shares(suite)["kernels"]
    return (
        f"{paper['strong']:.4f} > {paper['composed']:.4f}, "
        f"{kernels:.1%} of the kernels, Diff {paper['diff']:.4f}"
    )


def _head(summary: Mapping[str, Any]) -> str:
    rows = [_head_row(_title(summary["rows"][key]), found) for key, found in _shown(summary)]
    rows.append(_head_row(summary["best_threshold"]["title"], summary["best_threshold"]))
    for name, gains in GAINS.items():
        others = f"{100 * gains['others']:+.2f}" if "others" in gains else "-"
        cells = (f"{100 * gains[metric]:+.2f}" for metric in _METRICS)
        rows.append((f"{name}, as published", "-", *cells, others, "-", "-"))
    return _table(_HEAD, rows)


def _shown(summary: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for row in ROWS:
        if row.purpose != "ablation":
            yield row.key, summary["rows"][row.key]


def _head_row(title: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        title,
        f"{found['weak_f1']:.3f}",
        *(_gain(found, name) for name in _METRICS),
        _gain(found, "others"),
        f"{found['fixes']} / {found['regressions']}",
        f"{100 * found['f1_gain_cells']:+.2f}",
    )


def _by_kind(summary: Mapping[str, Any]) -> str:
    rows = []
    for kind in KINDS:
        for name in NAMED:
            found = summary[name]
            rows.append(
                (
                    kind,
                    f"{NAMED[name]}: {_title(found)}",
                    f"{found['weak_f1_by_kind'][kind]:.3f}",
                    *(
                        f"{100 * found[f'{metric}_gain_by_kind'][kind]:+.2f}"
                        for metric in (*_METRICS, "others")
                    ),
                )
            )
        published = (f"{100 * GAINS_BY_KIND[kind][metric]:+.2f}" for metric in _METRICS)
        rows.append((kind, "CNNSplitter, as published", "-", *published, "-"))
    return _table(("kind", "rule", "weak F1", "precision", "recall", "F1", "others"), rows)


def _by_class(report: Report, suite: str) -> str:
    chosen = report.summary["chosen"]
    rows = []
    first = report.judged[chosen["paper"]]
    for index, weak in enumerate(first):
        if weak.suite != suite:
            continue
        cells = []
        for metric in _METRICS:
            values = [report.judged[chosen[name]][index].patched[metric] for name in NAMED]
            cells.append(" > ".join(f"{v:.2f}" for v in (weak.weak[metric], *values)))
        rows.append((weak.target, weak.kind, *cells))
    note = "Each cell: weak > patched by the paper's rule > by the best replacement > by the best."
    return f"{note}\n\n{_table(('target class', 'kind', *_METRICS), rows)}"


def _others(report: Report) -> str:
    chosen = report.summary["chosen"]
    rows = []
    for target in dict.fromkeys(one.target for one in report.judged[chosen["paper"]]):
        cells = []
        for name in NAMED:
            own = [one for one in report.judged[chosen[name]] if one.target == target]
            gain = sum(one.gain("others_accuracy") for one in own) / len(own)
            fixed, broken = (_sum(own, side) for side in ("fixes", "regressions"))
            cells.append(f"{100 * gain:+.2f}; {fixed} / {broken}")
        rows.append((target, *cells))
    note = (
        "Accuracy gained on the other classes, in points; answers fixed / broken, of the target "
        "class + of others, over all weak models of the class."
    )
    return f"{note}\n\n{_table(('target class', *NAMED.values()), rows)}"


def _sum(models: Sequence[Judged], side: str) -> str:
    target = sum(getattr(one, side)[0] for one in models)
    others = sum(getattr(one, side)[1] for one in models)
    return f"{target}+{others}"


def _ablation(summary: Mapping[str, Any]) -> str:
    rows = []
    for row in ROWS:
        if row.purpose != "reference":
            found = summary["rows"][row.key]
            rows.append(
                (
                    _title(found),
                    *(_gain(found, name) for name in (*_METRICS, "others")),
                    *(f"{100 * found['f1_gain_by_kind'][kind]:+.2f}" for kind in KINDS),
                )
            )
    header = ("rule", *_METRICS, "others", *(f"F1, {kind}" for kind in KINDS))
    return _table(header, rows)


def _whole(summary: Mapping[str, Any]) -> str:
    rows = []
    for name in NAMED:
        found = summary["all_target_images"][name]
        title = f"{NAMED[name]}: {_title(summary['rows'][found['key']])}"
        rows.append(_head_row(title, found))
    return _table(_HEAD, rows)


def _title(row: Mapping[str, Any]) -> str:
    return str(row["title"]) + (_STAR if row.get("uses_weak_images") else "")


def _gain(found: Mapping[str, Any], name: str) -> str:
    value = f"{100 * found[f'{name}_gain']:+.2f}"
    interval = found.get(f"{name}_gain_interval")
    if interval is None:
        return value
    return f"{value} ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})"


def _suites(report: Report) -> list[str]:
    return list(dict.fromkeys(one.suite for one in report.judged["paper"]))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
