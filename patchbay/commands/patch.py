"""``patchbay patch``: plug class modules into a weak model and register the result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import comparison, options
from patchbay.console import emit, say, table
from patchbay.provenance import warn_of_other_splits
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from modularizer.assembly.class_module import ClassModule
    from modularizer.class_names import OtherNames
    from modularizer.patching import Choice, JudgedRule, NoGainError
    from modularizer.rules import RuleName

NO_GAIN = 4
"""Exit code where no rule gains and nothing was registered."""


@click.command(short_help="Plug class modules into a weak model.")
@click.argument("model")
@click.option(
    "--with",
    "modules",
    required=True,
    multiple=True,
    metavar="MODULE",
    help="A class module's address; repeat it to fix several classes at once.",
)
@click.option("--name", required=True, help="The name to register the patched model under.")
@options.optional_splits
@click.option(
    "--calibration",
    type=click.Choice(["auto", "minmax", "quantile", "logistic", "fitted", "none"]),
    help="minmax: the paper's; quantile: the same with robust ends; logistic: a probability by "
    "the strong model's images; fitted: odds by the weak model's labelled validation images; "
    "none: the raw score; auto: whichever gains most [default: auto with --data, else minmax].",
)
@click.option(
    "--fusion",
    type=click.Choice(["replace", "stack", "auto"]),
    default="replace",
    show_default=True,
    help="replace: the module's score takes the weak model's place, as in the paper; stack: both "
    "count, by weights fitted on the weak model's validation images; auto: whichever gains more.",
)
@click.option(
    "--renormalise/--keep-weak-entry",
    default=None,
    help="Whether the patched classes are left out of the weak model's softmax, so that what it "
    "believed of them does not make its other scores smaller, or kept in; stack always leaves "
    "them out [default: as the rule does: fitted leaves them out, the others keep them].",
)
@click.option(
    "--caution",
    type=options.FiniteRange(min=0, min_open=True),
    help="Divide a patched class's odds by this before they compete: more of its answers are "
    "right and other classes lose less, but fewer of its images are found. For logistic, fitted "
    "and stack; a choice of rules tries some of its own [default: 1].",
)
@click.option(
    "--mirrored",
    is_flag=True,
    help="Let the modules see each image's mirror image, too, at twice their cost; wrong where "
    "left and right make a difference, as in digits.",
)
@options.class_names
@click.option(
    "--anyway",
    is_flag=True,
    help="Where rules are chosen from, register the best one even if none gains.",
)
@options.common
def patch(
    model: str,
    modules: tuple[str, ...],
    name: str,
    source: str | None,
    calibration: str | None,
    fusion: str,
    renormalise: bool | None,
    caution: float | None,
    mirrored: bool,
    class_names: Path | None,
    anyway: bool,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Make a patched version of a weak MODEL, and compare both on validation images.

    The weak model's weights stay as they are. Held-out images are not looked at. Where rules are
    to be chosen from, the largest F1 gain wins among those by which no accuracy is lost over all
    classes; if there is none, nothing is registered and the exit code is 4.
    """
    options.require_data(source)
    chosen = calibration or ("minmax" if source is None and fusion != "stack" else "auto")
    rules = rules_of(chosen, fusion, renormalise=renormalise, caution=caution)
    if source is None and any(rule.uses_weak_images for rule in rules):
        raise click.UsageError(
            "this is fitted on labelled images of the weak model's classes: give --data, or "
            "replace by a calibration that was stored with the module (minmax, quantile, "
            "logistic, none)"
        )
    if source is None and len(rules) > 1:
        raise click.UsageError("choosing needs images to choose by: give --data")
    if anyway and len(rules) == 1:
        raise click.UsageError(
            f"--anyway goes with a choice of rules; {rules[0]} alone is taken as it is"
        )
    registry = open_registry(home, threads=threads, addresses=[model, *modules], reads_only=True)
    registry.require_name_for(name, "patched")
    from modularizer.class_names import read_other_names
    from modularizer.patching import NoGainError
    from modularizer.pipeline import RegisteredModule, run_patch

    weak_version = registry.find(model)
    weak = registry.load_classifier(weak_version.uri)
    names = read_other_names(class_names, weak.class_names)
    parts = []
    for address in modules:
        version = registry.find(address)
        loaded = registry.load_class_module(version.uri)
        fitting = _under_own_name(version.uri, loaded.class_module, names)
        parts.append(RegisteredModule(version.uri, fitting, loaded.calibrations))
    data = None
    if source is not None:
        data = load_splits(source, seed=data_seed, size=size, classes=weak.class_names)
        warn_of_other_splits(registry.manifest(weak_version.uri).origin, data, "validation")
    try:
        made = run_patch(
            weak,
            parts,
            data,
            name=name,
            weak_uri=weak_version.uri,
            sink=registry,
            rules=rules,
            must_gain=len(rules) > 1 and not anyway,
            mirrored=mirrored,
        )
    except NoGainError as error:
        _tell_no_gain(error, as_json=as_json)
        raise SystemExit(NO_GAIN) from None
    if as_json:
        emit(
            {
                "uri": made.uri,
                "split": None if data is None else "validation",
                "rule": str(made.choice.chosen.name),
                "mirrored": mirrored,
                "fusion": made.choice.chosen.rule.fusion.model_dump(),
                "registered_anyway": made.choice.none_gained,
                "targets": [comparison.as_json(one) for one in made.validation],
                "rules": [_rule_as_json(one) for one in made.choice.judged if one.evaluations],
                "rules_that_failed": dict(made.choice.failed),
            }
        )
        return
    _show(made.uri, made.choice, mirrored=mirrored)
    data_option = f"--data {shlex.quote(source)}" if source else "--data D"
    say(f"Next: patchbay promote {made.uri} --alias champion {data_option}")


def _under_own_name(uri: str, class_module: ClassModule, names: OtherNames) -> ClassModule:
    """The module under the weak model's name for its class."""
    from modularizer.assembly.class_module import known_as
    from modularizer.errors import PatchError

    own = names.own_name(class_module.class_name)
    if own is None:
        raise PatchError(
            f"{uri} scores {class_module.class_name!r}, and the weak model has no class of this "
            f"name to patch; it has {', '.join(names.class_names)}. If one of these is the same, "
            "say so in a file for --class-names"
        )
    return class_module if own == class_module.class_name else known_as(class_module, own)


def rules_of(
    calibration: str, fusion: str, *, renormalise: bool | None, caution: float | None
) -> tuple[RuleName, ...]:
    """The rules to choose from by the options; refuses what does not go together."""
    from modularizer.rules import REPLACEMENTS, STACKING, STACKINGS, RuleName

    weak_entry = {None: None, True: "--renormalise", False: "--keep-weak-entry"}[renormalise]
    if fusion == "stack":
        if calibration not in ("auto", "fitted"):
            raise click.UsageError(
                f"--fusion stack fits its own calibration; leave --calibration {calibration} out"
            )
        if weak_entry:
            raise click.UsageError(f"--fusion stack always renormalises; leave {weak_entry} out")
        return (replace(STACKING, caution=caution or 1.0),)
    if fusion == "auto" and (caution or weak_entry):
        option = weak_entry or "--caution"
        raise click.UsageError(f"{option} goes with one rule; --fusion auto tries several")
    if calibration == "auto":
        if weak_entry or caution:
            option = weak_entry or "--caution"
            raise click.UsageError(f"{option} goes with a --calibration, not with auto")
        return (*REPLACEMENTS, *STACKINGS) if fusion == "auto" else REPLACEMENTS
    if caution and calibration not in ("logistic", "fitted"):
        raise click.UsageError(f"--caution divides odds, and scores by {calibration} are no odds")
    named: Any = calibration
    renormalised = calibration == "fitted" if renormalise is None else renormalise
    rule = RuleName(named, renormalise=renormalised, caution=caution or 1.0)
    return (rule, *STACKINGS) if fusion == "auto" else (rule,)


def _show(uri: str, choice: Choice, *, mirrored: bool) -> None:
    """What was registered, and what is to be thought of its gain."""
    chosen = choice.chosen
    rule = f"{chosen.name}, mirrored" if mirrored else str(chosen.name)
    if not chosen.evaluations:
        say(f"{uri}, by the rule {rule}; no images were given to judge it by.")
        return
    _show_rules(choice.judged, choice.failed, str(chosen.name))
    comparison.show_comparison(f"{uri} ({rule}) on validation images", chosen.evaluations)
    if choice.none_gained:
        say("No rule gained and kept the accuracy over all classes; registered anyway.")
    if chosen.f1_gain <= 0:
        say("The patch gains nothing on these images.")
    for doubt in comparison.doubts(chosen.evaluations):
        say(doubt)
    if chosen.f1_gain > 0 and len(choice.judged) > 1:
        say(
            f"The best of {len(choice.judged)} rules on the same images looks somewhat better than "
            "it is; `patchbay evaluate` judges it on held-out ones."
        )


def _tell_no_gain(error: NoGainError, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "uri": None,
                "split": "validation",
                "reason": str(error),
                "rules": [_rule_as_json(one) for one in error.judged],
                "rules_that_failed": error.failed,
            }
        )
        return
    _show_rules(error.judged, error.failed, None)
    click.echo(
        "patchbay: no rule makes the patched classes better on the validation images and the "
        "model no worse as a whole, so nothing was registered; --anyway registers the best of them",
        err=True,
    )


def _rule_as_json(judged: JudgedRule) -> dict[str, Any]:
    from modularizer.patching import rule_evidence

    targets = [comparison.as_json(one) for one in judged.evaluations]
    return {**rule_evidence(judged), "targets": targets}


def _show_rules(
    judged: Sequence[JudgedRule], failed: Mapping[str, str], chosen: str | None
) -> None:
    if len(judged) + len(failed) < 2:
        return
    rows = [
        (
            str(one.name) + (" *" if one.name.uses_weak_images else ""),
            f"{one.f1_gain:+.3f}",
            f"{one.others_gain:+.3f}",
            f"{one.accuracy_gain:+.3f}",
            "chosen" if str(one.name) == chosen else "",
        )
        for one in judged
    ]
    rows += [(rule, "-", "-", "-", why) for rule, why in failed.items()]
    table(
        "Rules on validation images (* fitted on them, judged by cross-fitting)",
        ("rule", "F1 gain", "others' gain", "accuracy gain", ""),
        rows,
    )
