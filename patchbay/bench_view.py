"""What a person sees of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay.console import say, table

Found = Mapping[str, Any]


def show_generations(found: Found) -> None:
    """A row a generation, by stage, then what they come to."""
    subject, settings = found["subject"], found["settings"]
    classes, images = subject["classes"], subject["validation_images"]
    plain = classes * settings["candidates"] * images
    stages = ("total", "decode", "network", "bracket", "diff", "waiting", "other")
    compared = "generation_ratio" in found
    rows = []
    for row in found["rows"]:
        cells = [str(row["generation"]), f"{row['passes']:,}", f"{row['passes'] / plain:.3f}"]
        cells += [f"{row['passes'] / row['seconds']['total']:,.0f}"]
        cells += [f"{row['seconds'][stage]:.3f}" for stage in stages]
        cells += [f"{row['peak_bytes'] / 2**20:,.0f}"]
        if compared:
            cells += [
                f"{row['plain']['total']:.2f}",
                f"{row['plain']['total'] / row['seconds']['total']:.2f}",
            ]
        rows.append(cells)
    header = ["generation", "passes", "share", "passes/s", "s", *stages[1:], "peak MiB"]
    table(
        f"{subject['model']}: {classes} classes x {settings['candidates']} candidates x "
        f"{images} images, N_top {settings['top']}, {found['workers']} workers",
        [*header, "plain s", "ratio"] if compared else header,
        rows,
    )
    if subject["training_seconds"] is not None:
        say(
            f"trained in {subject['training_seconds']:.0f} s; strong accuracy on these images "
            f"{found['strong_accuracy']:.3f}"
        )
    say(
        f"median generation {found['generation_seconds']:.3f} s; {found['passes_share']:.3f} of "
        f"the passes that every candidate on every image would be; "
        f"{found['passes_per_second']:,.0f} images x candidates a second; at most "
        f"{found['peak_bytes'] / 2**20:,.0f} MiB held"
    )
    if found["environment"]["device"] != "cpu":
        say("on a GPU decode and network are what the host spent on them; the total is exact")
    if compared:
        _say_ratio("a generation", found, "generation")
        say(
            f"of that, x{found['generation_ratio_same_layout']:.2f} if the plain way lays images "
            "out in memory as the search does"
        )
        _say_ratio("bracket and Diff alone", found, "bracket")
        _say_share(found)


def show_bracket(found: Found) -> None:
    """Seconds of the bracket and of Diff, and how many times longer the plain way takes."""
    size = found["size"]
    names = ["bracket", "diff"]
    names += ["plain_bracket", "plain_diff"] if "bracket_ratio" in found else []
    _show_seconds(
        f"{size['classes']} classes x {size['candidates']} candidates x {size['images']:,} images",
        [(name.replace("_", " "), found[name]) for name in names],
    )
    if "bracket_ratio" in found:
        _say_ratio("bracket and Diff", found, "bracket")
        _say_share(found)


def show_decoding(found: Found) -> None:
    """Seconds of decoding a module beside those of running it."""
    _show_seconds(
        "Decoding a SimCNN class module, and running it on 500 images",
        [
            (f"{name} at width {one['width_multiplier']:g}", one[name])
            for one in found["networks"]
            for name in ("decode", "run")
        ],
    )
    for one in found["networks"]:
        say(f"width {one['width_multiplier']:g}: decoding is {one['decode_share']:.1%} of running")


def show_ablation(found: Found) -> None:
    """A row a variant."""
    subject, base, small = found["subject"], found["base"], found["small_subject"]
    table(
        f"{subject['model']}: {subject['classes']} classes x {base['candidates']} candidates x "
        f"{subject['validation_images']} images, at most {base['generations']} generations, "
        f"seeds {', '.join(map(str, found['seeds']))}",
        ("", "", "Acc", "Diff", "fitness", "kernels", "generations", "passes", "s"),
        [
            (
                *(row["group"], row["name"]),
                *(f"{row[name]:.4f}" for name in ("accuracy", "diff", "fitness", "kernels_kept")),
                *(f"{row['generations']:.0f}", f"{row['passes']:,.0f}", f"{row['seconds']:.1f}"),
            )
            for row in found["rows"]
        ],
        left=2,
    )
    alpha = base["alpha"]
    say(
        f"fitness is {alpha:g} Acc + {1 - alpha:.2g} Diff in every row, whatever the search went by"
    )
    say(
        f"the strong model's accuracy on these images: {found['strong_accuracy']:.4f}; on those "
        f"of the {small['classes']} classes of the last two rows ({small['validation_images']} "
        f"images): {found['small_strong_accuracy']:.4f}"
    )


def ablation_line(row: Found) -> str:
    """A row as it is there."""
    return (
        f"{row['label']}  Acc {row['accuracy']:.4f}  Diff {row['diff']:.4f}  "
        f"fitness {row['fitness']:.4f}  {row['seconds']:.1f} s"
    )


def _show_seconds(title: str, rows: list[tuple[str, Found]]) -> None:
    table(
        title,
        ("", "median s", "fastest", "slowest", "n"),
        [
            (name, f"{t['median']:.4f}", f"{t['low']:.4f}", f"{t['high']:.4f}", str(t["repeats"]))
            for name, t in rows
        ],
    )


def _say_ratio(what: str, found: Found, kind: str) -> None:
    spread = found[f"{kind}_ratios"]
    say(
        f"{what}: the plain way takes {found[f'{kind}_ratio']:.4g} times as long (median of "
        f"{spread['repeats']} pairs, {spread['low']:.4g} to {spread['high']:.4g})"
    )


def _say_share(found: Found) -> None:
    share = found["reference_share"]
    if share < 1:
        say(f"of the plain work {share:.0%} was done, checked and timed, the rest scaled up")
    if not found["disagreements"]:
        say("both ways come to the same results")
