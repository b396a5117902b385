"""Options that several commands share."""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number in a range; unlike click's it refuses NaN and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or click's own error."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
home = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the embedded registry [default: the server MLFLOW_TRACKING_URI if that is "
    "set, else PATCHBAY_HOME, else ./.patchbay].",
)
alias = click.option("--alias", default="champion", show_default=True, help="The alias to move.")
threads = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    envvar="PATCHBAY_THREADS",
    default=1,
    show_default=True,
    help="Threads of a network; more pay only where cores are idle and networks large.",
)
data = click.option(
    "--data",
    "source",
    required=True,
    help="digits, cifar10, cifar100-subset:TC, svhn, a FILE.npz or an image FOLDER.",
)
optional_data = click.option(
    "--data",
    "source",
    help="Images of the weak model's classes to judge by: digits, cifar10, cifar100-subset:TC, "
    "svhn, a FILE.npz or an image FOLDER.",
)
image_size = click.option(
    "--size",
    type=click.IntRange(1, 4096),
    help="Resize the images of a FOLDER to this many pixels each way.",
)
data_seed = click.option(
    "--data-seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the splits.",
)


def _stacked(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for one in reversed(decorators):
            command = one(command)
        return command

    return decorate


splits = _stacked(data, image_size, data_seed)
"""Which data, and how it is split: source, size, data_seed."""

optional_splits = _stacked(optional_data, image_size, data_seed)
"""The same, where data may be left out; the command calls `require_data`."""


class_names = click.option(
    "--class-names",
    "class_names",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file with what other models call the weak model's classes, such as "
    '{"automobile": ["car", "auto"]}.',
)


def same_data(source: str, size: int | None, data_seed: int, home: Path | None) -> list[str]:
    """The options that read the same data, and the same registry, in another command.

    Args:
        source: as ``--data``; the others as their options of the same name.
        size: None if it was not given.
        data_seed: 0 is left out.
        home: None if it was not given.
    """
    found = ["--data", source]
    found += [] if size is None else ["--size", str(size)]
    found += [] if data_seed == 0 else ["--data-seed", str(data_seed)]
    return found if home is None else [*found, "--home", str(home)]


def require_data(source: str | None, *more: str) -> None:
    """Refuse options that say how data is read where the running command was given none.

    Args:
        source: the data; None for none.
        more: names of the command's own parameters that go with data.

    Raises:
        click.UsageError: if one was given on the command line all the same.
    """
    if source is None:
        for option in given("size", "data_seed", *more):
            raise click.UsageError(f"{option} goes with --data")


def given(*names: str) -> list[str]:
    """Which of these of the running command's options were given on its command line.

    Args:
        names: of parameters.

    Returns:
        As they are written, such as ``--data-seed``, in the command's order.
    """
    context = click.get_current_context()
    return [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


common = _stacked(threads, home, as_json)
"""What nearly every command takes: threads, home, as_json."""


class CommaSeparated(click.ParamType[tuple[str, ...]]):
    """A list of names or numbers with commas between them.

    Args:
        shown: how one of them is called in the help.
    """

    def __init__(self, shown: str = "NAME") -> None:
        self.name = f"{shown},..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, without blanks around them."""
        names = (
            tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value
        )
        if not all(names):
            self.fail(f"expected {self.name} (commas between), found {value!r}", param, ctx)
        return tuple(names)


class Counts(click.ParamType[tuple[int, ...]]):
    """A list of whole numbers from 1 on with commas between them, each kept once.

    Args:
        most: the largest that is allowed.
    """

    name = "NUMBER,..."

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, in the order given."""
        if not isinstance(value, str):
            return tuple(value)
        names = CommaSeparated("NUMBER").convert(value, param, ctx)
        if not all(name.isdecimal() and 1 <= int(name) <= self.most for name in names):
            self.fail(f"expected numbers from 1 to {self.most}", param, ctx)
        return tuple(dict.fromkeys(map(int, names)))


class JsonArguments(click.ParamType[tuple[str, Any]]):
    """NAME=VALUE, where VALUE is JSON."""

    name = "NAME=JSON"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        try:
            if not equals:
                raise ValueError
            return name, json.loads(text)
        except (ValueError, RecursionError):
            self.fail(f"expected NAME=JSON, such as width_multiplier=0.25; found {value!r}")


class Bytes(click.ParamType[int]):
    """An amount of memory: a number, alone or with a unit."""

    name = "SIZE"
    _UNITS: typing.ClassVar = {
        **{"": 1, "B": 1},
        **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
        **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes, at least 1."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value).strip())
        unit = self._UNITS.get(found[2].upper()) if found else None
        if found is None or unit is None or float(found[1]) * unit < 1:
            self.fail(f"expected a size such as 4GiB or 500MB, found {value!r}", param, ctx)
        return int(float(found[1]) * unit)


device = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where networks run.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Candidates that run at once, each on a thread of its own [default: one a core].",
)
memory_limit = click.option(
    "--memory-limit",
    type=Bytes(),
    help="Memory that the search may use, such as 4GiB [default: half of what is free].",
)


def settings_of(model: type[BaseModel]) -> Callable[[Command], Command]:
    """An option for each field of a settings model, with its default and description.

    The command gets them by field name; ``model(**fields)`` checks the ranges.
    """

    def decorate(command: Command) -> Command:
        for name, info in reversed(model.model_fields.items()):
            flag = "--" + name.replace("_", "-")
            kind = _option_type(info.annotation)
            declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
            command = click.option(
                declared,
                name,
                type=kind,
                default=info.default,
                show_default=True,
                help=f"{(info.description or '')[:1].upper()}{(info.description or '')[1:]}.",
            )(command)
        return command

    return decorate


def _option_type(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _option_type(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return click.Choice(typing.get_args(annotation))
    if origin in (types.UnionType, typing.Union):  # with None, for what is left out
        return _option_type(typing.get_args(annotation)[0])
    if origin is tuple:
        return CommaSeparated("NUMBER")
    return annotation


def select(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Those of a command's values that are fields of a settings model."""
    return {name: values[name] for name in model.model_fields}
