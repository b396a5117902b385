"""What a person sees: progress bars and tables on a terminal, plain lines in a log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.text import Text

    from modularizer.progress import ProgressCallback

Row = Sequence["str | Text"]
_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def say(text: str = "") -> None:
    """A line on stdout."""
    click.echo(plain(text))


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
        drawn.add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in row))
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
        drawn.add_row(Text(f"  {name}", style="dim"), Text(plain(value), overflow="fold"))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(drawn)
    console.print()


def plain(text: str) -> str:
    """A text without what a terminal takes for orders: names and reasons come from anyone."""
    return _ORDERS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def speaks_unicode() -> bool:
    """Whether stdout takes more than ASCII."""
    from rich.console import Console

    return not Console().options.ascii_only


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Callable[[str], ProgressCallback]]:
    """A progress bar on stderr for each label asked for; they stay, so that one can read back.

    The work behind them is done one after the other. Where stderr is no terminal, there is a
    line in a while and one at the end of each stage.

    Args:
        quiet: show nothing.

    Yields:
        A function from a label to the callback that moves its bar.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from modularizer.progress import ignore_progress
    from patchbay.stages import INTERRUPTED, STOPPED_EARLY, Follower, LiveScreen, LogScreen

    if quiet:
        yield lambda _: ignore_progress
        return
    console = Console(stderr=True, highlight=False)
    screen: LiveScreen | LogScreen
    if console.is_terminal:
        live = Live(console=console, transient=True, refresh_per_second=2)
        screen = LiveScreen(live, monotonic)
    else:
        live = None
        screen = LogScreen(lambda line: console.print(Text(line), soft_wrap=True), monotonic)
    follower = Follower(screen, monotonic)

    def bar(label: str) -> ProgressCallback:
        follower.expect(label)
        return lambda step: follower.tell(label, step)

    with live or nullcontext():
        try:
            yield bar
        except BaseException:
            follower.end(INTERRUPTED)
            raise
        follower.end(STOPPED_EARLY)
