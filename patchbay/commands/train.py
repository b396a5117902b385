"""``patchbay train``: train a strong or a weak model and register it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from modularizer.settings import TrainingSettings
from patchbay import options
from patchbay.console import emit, progress_bars, say
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from modularizer.architectures.spec import ArchitectureSpec
    from modularizer.preprocessing import Preprocessing


def _known(_: click.Context, __: click.Parameter, name: str) -> str:
    """The name of an architecture, if there is one; nothing is imported for it."""
    from modularizer.architectures.names import OWN, TORCHVISION, architecture_names

    if name not in (*OWN, *TORCHVISION) and name not in (names := architecture_names()):
        raise click.BadParameter(f"no architecture {name!r}; there are {', '.join(names)}")
    return name


@click.command(short_help="Train a strong or weak model and register it.")
@click.argument("name")
@options.splits
@click.option("--classes", type=options.CommaSeparated(), help="The classes it is to know.")
@click.option(
    "--kind",
    type=click.Choice(["strong", "weak"]),
    default="strong",
    show_default=True,
    help="Whether others are patched from it, or it is to be patched.",
)
@click.option(
    "--architecture",
    callback=_known,
    default="simcnn",
    show_default=True,
    help="The network's structure: simcnn, rescnn, simple_simcnn, simple_rescnn, a CNN classifier "
    "of torchvision such as torchvision.resnet18, or one that an installed package offers.",
)
@click.option(
    "--argument",
    "arguments",
    type=options.JsonArguments(),
    multiple=True,
    help="Argument of the architecture, such as width_multiplier=0.25; may be repeated.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="Of the network's input: grey images are repeated, RGB ones turned grey [default: "
    "in_channels if that is given, 3 for torchvision's networks, else the data's].",
)
@click.option(
    "--stop",
    type=click.Choice(["best", "underfitting", "last"]),
    default="best",
    show_default=True,
    help="Which epoch to take: the best on validation images, half of it, or the last.",
)
@options.settings_of(TrainingSettings)
@options.device
@options.common
def train(
    name: str,
    source: str,
    classes: tuple[str, ...] | None,
    kind: Literal["strong", "weak"],
    architecture: str,
    arguments: tuple[tuple[str, Any], ...],
    channels: str | None,
    stop: Literal["best", "underfitting", "last"],
    size: int | None,
    data_seed: int,
    device: str,
    threads: int,
    home: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Train a model from scratch and register it as NAME.

    The input's size is that of the data's images, and the class names are the data's.
    """
    settings = TrainingSettings(**values)
    registry = open_registry(home, threads=threads)
    registry.require_name_for(name, kind)
    from modularizer.architectures.spec import ArchitectureSpec
    from modularizer.devices import require_device
    from modularizer.pipeline import run_training
    from modularizer.preprocessing import Preprocessing

    data = load_splits(source, seed=data_seed, size=size, classes=classes)
    preprocessing = Preprocessing.fitted(
        data.train, channels=_channels(channels, architecture, dict(arguments))
    )
    spec = ArchitectureSpec(
        name=architecture, arguments=_fitted(dict(arguments), architecture, preprocessing)
    )
    _look_ahead(spec, preprocessing, data.class_names, kind)
    with progress_bars(quiet=as_json) as bar:
        trained = run_training(
            data,
            name=name,
            kind=kind,
            architecture=spec,
            settings=settings,
            sink=registry,
            preprocessing=preprocessing,
            stop=stop,
            device=require_device(device).type,
            progress=bar(name),
        )
    metrics = dict(trained.record.metrics)
    if as_json:
        emit({"uri": trained.uri, "kind": kind, **metrics, **vars(trained.record.cost)})
        return
    say(
        f"{trained.uri}: epoch {trained.result.epoch} of {settings.epochs}, validation accuracy "
        f"{trained.result.validation_accuracy:.3f}"
    )


def _look_ahead(
    spec: ArchitectureSpec, preprocessing: Preprocessing, class_names: tuple[str, ...], kind: str
) -> None:
    """Before the first epoch: can the network be stored, and a strong one be taken apart?"""
    from modularizer.analysis.tracing import slicing_plan
    from modularizer.architectures.catalogue import build_network
    from modularizer.errors import PlanError

    arguments = {"num_classes": len(class_names), **spec.arguments}
    network = build_network(spec.model_copy(update={"arguments": arguments}), device="meta")
    if kind == "strong":
        try:
            slicing_plan(network, (preprocessing.channels, *preprocessing.size))
        except PlanError as error:
            click.echo(f"note: modularize will refuse this network: {error}", err=True)


def _channels(
    asked: str | None, architecture: str, arguments: dict[str, Any]
) -> Literal[1, 3] | None:
    """The channels of the network's input; None for those of the data."""
    from modularizer.architectures.names import TORCHVISION

    given = arguments.get("in_channels")
    if asked is None and architecture in TORCHVISION:
        return 3
    if asked is None and given not in (1, 3):
        return None  # whatever is wrong with it, the network says
    found: Literal[1, 3] = 3 if (given if asked is None else int(asked)) == 3 else 1
    if given is not None and given != found:
        raise click.UsageError(f"--channels {found} and in_channels={given} don't go together")
    return found


def _fitted(
    arguments: dict[str, Any], architecture: str, preprocessing: Preprocessing
) -> dict[str, Any]:
    """The arguments, with the input's size and channels where the network takes them."""
    from modularizer.architectures.catalogue import arguments_of

    of_the_input = {
        "in_channels": preprocessing.channels,
        "input_size": min(preprocessing.size),
    }
    taken = arguments_of(architecture)
    return {
        **{name: value for name, value in of_the_input.items() if name in taken},
        **arguments,
    }
