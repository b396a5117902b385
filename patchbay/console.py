"""What a person sees: progress bars and tables on a terminal, plain lines in a log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.text import Text

    from modularizer.progress import Progress, ProgressCallback

Row = Sequence["str | Text"]


def say(text: str = "") -> None:
    """A line on stdout, as it is."""
    click.echo(text)


def emit(value: Any) -> None:
    """One JSON value on stdout."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def table(title: str, header: Row, rows: Sequence[Row], *, left: int = 1) -> None:
    """A table on stdout; cells are text as it is, or rich's.

    The first ``left`` columns are aligned to the left, the others, numbers, to the right.
    It is never cut: where the terminal is too narrow it runs over.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        drawn.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        # Names come from users: what looks like markup in them is text.
        drawn.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    needed = Console(width=1000).measure(drawn).maximum
    console = Console(highlight=False)
    if console.width < needed:
        console = Console(highlight=False, width=needed)
    console.print(drawn)


def facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Names and values on stdout, a line each; long values go on below themselves."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2))
    for name, value in rows:
        drawn.add_row(Text(f"  {name}", style="dim"), Text(value, overflow="fold"))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(drawn)
    console.print()


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Callable[[str], ProgressCallback]]:
    """Progress bars on stderr, one for each label asked for; they stay, so that one can read back.

    Where stderr is no terminal each bar becomes one line at its end.

    Args:
        quiet: show nothing.

    Yields:
        A function from a label to the callback that moves its bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    console = Console(stderr=True, highlight=False)
    bars = Bars(
        TextColumn("{task.description}", table_column=Column(min_width=34, no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=10)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[now]}", table_column=Column(ratio=1, no_wrap=True)),
        expand=True,
        console=console,
        disable=quiet or not console.is_terminal,
    )

    def bar(label: str) -> ProgressCallback:
        tasks: dict[str, Any] = {}

        def on_progress(step: Progress) -> None:
            name = f"{label}: {step.stage}"
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(name, total=step.total, now="")
            now = metrics_line(step.metrics, most=2)
            bars.update(tasks[step.stage], completed=step.done, total=step.total, now=now)
            if step.done == step.total and not quiet and not console.is_terminal:
                every = metrics_line(step.metrics)
                console.print(f"{name} {step.done}/{step.total}  {every}", soft_wrap=True)

        return on_progress

    with bars:
        yield bar


def metrics_line(metrics: Mapping[str, float], *, most: int | None = None) -> str:
    """Metrics on one line, the first ``most`` of them, fractions with three places."""
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.0f}"
        if value >= 10
        else f"{name.replace('_', ' ')} {value:.3g}"
        for name, value in list(metrics.items())[:most]
    )
