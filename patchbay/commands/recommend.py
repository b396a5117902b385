"""``patchbay recommend``: which class modules in the registry make a weak model better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchbay import options
from patchbay import recommendation_view as view
from patchbay.commands.patch import NO_GAIN, rules_of
from patchbay.console import emit, progress_bars, say
from patchbay.provenance import warn_of_other_splits
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from modularizer.datasets.data_splits import DataSplits
    from patchbay.recommendations import Report
    from registry.registry import Registry
    from registry.version import Version


@click.command(short_help="Find the class modules that make a model better.")
@click.argument("model")
@options.splits
@options.class_names
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Look for patches of this class of MODEL alone; repeat it for several [default: all].",
)
@click.option(
    "--fusion",
    type=click.Choice(["replace", "stack", "auto"]),
    default="replace",
    show_default=True,
    help="The rules to choose from, as `patchbay patch` does.",
)
@click.option(
    "--max-others-loss",
    type=options.FiniteRange(0, 1),
    default=0.01,
    show_default=True,
    help="What may be lost of the accuracy on the classes that are not patched.",
)
@click.option(
    "--all-versions",
    is_flag=True,
    help="Try class modules that have a newer version and no alias, too.",
)
@click.option(
    "--shortlist",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Modules of each class, the best alone, that combinations are made of.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Recommendations to show and to time, the best first.",
)
@click.option(
    "--name", help="For the patched model, in the commands printed [default: NAME-patched]."
)
@options.common
def recommend(
    model: str,
    source: str,
    class_names: Path | None,
    classes: tuple[str, ...],
    fusion: str,
    max_others_loss: float,
    all_versions: bool,
    shortlist: int,
    top: int,
    name: str | None,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Rank the registry's class modules by what they gain as patches of a weak MODEL.

    Each module whose class MODEL has, by its own name or one from --class-names, is run over the
    validation images once. Single patches and combinations are ranked by what macro F1 gains, by
    the rule that `patchbay patch` would choose; a rule that is fitted on these images is judged by
    cross-fitting. A combination grows from the best single patch by the one that adds most, until
    none does. Where nothing gains the exit code is 4. Nothing is registered.

    \b
    --json prints
      uri, split, images, data, settings       what was asked
      weak             accuracy, macro_f1 and latency of the model alone
      listed, fitting, scored                  counts of class modules
      recommendations  the best --top: rank, modules (uri, class_name, module_class,
                       strong_uri, of_the_weak_model, cost), rule, macro_f1_gain and its
                       _interval, may_be_chance, others_loss, targets (as `patchbay patch`
                       prints them), cost (kernels, parameters, multiply_adds, weights_bytes),
                       latency (median_ms, low_ms, high_ms: quartiles; n), command
      recommended      how many there are in all
      left_out         single patches that gain nothing or cost too much: as modules, and
                       rule, macro_f1_gain, others_loss, reason
      unusable         uri and reason of each module that can't be loaded or run
      strong_models    those that have all of the model's classes: uri,
                       better_on_each_class, macro_f1, weak_macro_f1, accuracy,
                       multiply_adds, targets (`patched` is the strong model, answers
                       restricted to the model's classes)
      instead          the best strong model that is better on each class, or null
      warnings         what makes these figures doubtful
    """  # noqa: D301
    rules = rules_of("auto", fusion, renormalise=None, caution=None)
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    from modularizer.class_names import read_other_names
    from patchbay.recommendations import Asked, find_patches

    weak = _weak_version(registry, model)
    names = read_other_names(class_names, weak.class_names)
    same = [
        *options.same_data(source, size, data_seed, home),
        *([] if fusion == "replace" else ["--fusion", fusion]),
        *([] if class_names is None else ["--class-names", str(class_names)]),
        *(["--threads", str(threads)] if options.given("threads") else []),
    ]
    name = _name_for(registry, weak, name)

    def load(own: Sequence[str]) -> DataSplits:
        return load_splits(source, seed=data_seed, size=size, classes=own)

    data = load(weak.class_names)
    warn_of_other_splits(registry.manifest(weak.uri).origin, data, "validation")
    with progress_bars(quiet=as_json) as bar:
        report = find_patches(
            registry,
            weak,
            data,
            names,
            Asked(rules, classes, max_others_loss, all_versions, shortlist, top),
            load=load,
            command_of=lambda measured: view.patch_command(weak.uri, measured, name, same),
            progress=bar("recommend"),
        )
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        settings = {"fusion": fusion, "threads": threads, "data_seed": data_seed, "size": size}
        emit(view.report_json(report, settings))
    else:
        _show(report)
    if not report.offers:
        _tell_nothing(report)
        raise SystemExit(NO_GAIN)


def _weak_version(registry: Registry, model: str) -> Version:
    from registry.errors import RegistryError

    version = registry.find(model)
    if version.kind == "patched":
        raise RegistryError(
            f"{version.uri} is patched already, and patches go on its weak model: patchbay "
            f"recommend {version.parents[0]}"
        )
    if version.kind == "class_module":
        raise RegistryError(
            f"expected a strong or weak model at {version.uri}, found a class module"
        )
    return version


def _name_for(registry: Registry, weak: Version, name: str | None) -> str:
    """The name that patches are to be registered under: one that they can have."""
    from registry.errors import RegistryError
    from registry.naming import MAX_NAME_LENGTH

    if name is not None:
        registry.require_name_for(name, "patched")
        return name
    for ending in ("-patched", "-patched-2", "-patched-3"):
        found = weak.name[: MAX_NAME_LENGTH - len(ending)] + ending
        try:
            registry.require_name_for(found, "patched")
        except RegistryError:
            continue
        return found
    raise RegistryError(f"the names {weak.name}-patched and so on are taken; give --name")


def _show(report: Report) -> None:
    """What was found, on a terminal."""
    for uri, why in report.unusable.items():
        click.echo(f"left out: {uri}: {why}", err=True)
    if report.instead is not None:
        view.show_instead(report.instead)
    if report.offers:
        view.show_offers(report)
    if report.ranking.left_out:
        view.show_left_out(report)
    if report.offers:
        say(f"Next: {report.offers[0].command}")


def _tell_nothing(report: Report) -> None:
    """Why there is nothing to recommend, on stderr."""
    if report.fitting:
        why = (
            f"none of the {report.fitting} class modules that fit gains on the validation images "
            "without costing the other classes too much"
        )
    else:
        why = (
            f"none of the registry's {report.listed} class modules is of a class that was asked "
            f"for ({', '.join(report.looked_for)}); --class-names says what others call them"
        )
    click.echo(f"patchbay: nothing to recommend: {why}", err=True)
