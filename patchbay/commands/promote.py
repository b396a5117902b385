"""``patchbay promote``: an alias moves to a version, through a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modularizer.settings import GateSettings
from patchbay import options
from patchbay.console import emit, say
from patchbay.gate_view import show_judgement
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from patchbay.gating import Judgement
    from registry.registry import Registry
    from registry.version import UnreadVersion, Version

REFUSED = 4
"""Exit code where the gate refuses; as of `patchbay patch` where nothing gains."""


@click.command(short_help="Move an alias to a version, through a gate.")
@click.argument("model")
@options.alias
@options.optional_splits
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Which images of --data judge: test, those that neither fitted nor chose the patch; or "
    "validation.",
)
@options.settings_of(GateSettings)
@click.option("--force", is_flag=True, help="Move it even if the gate refuses; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@options.common
def promote(
    model: str,
    alias: str,
    source: str | None,
    split: Any,
    force: bool,
    reason: str,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
    **thresholds: Any,
) -> None:
    """Point an alias at MODEL, if it is better than what is in use.

    A patched model is judged with the version that the alias stands for now, on the same images:
    each patched class has to gain over the weak model, and neither classes that either of the two
    patches nor the others may lose more than --max-loss. Without --data it is judged by the
    evidence that was stored with both versions. What is refused stays where it is (exit code 4).
    Models of other kinds have no gate. Every move is on record: `patchbay history`.
    """
    options.require_data(source, "split")
    if force and not reason.strip():
        raise click.UsageError("--force needs a --reason, which goes on record")
    settings = GateSettings(**thresholds)  # wrong ones are told even where nothing is to be moved
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    version = registry.find(model)
    current = registry.aliases.standing(version.name, alias)
    if current is not None and current.version == version.version:
        _tell_nothing_moved(version, alias, as_json=as_json)
        return
    judged = None
    if version.kind == "patched":
        judged = _judge(registry, version, current, source, split, size, data_seed, settings)
        if not as_json:
            show_judgement(version, judged, settings)
    refused = judged is not None and not judged.passed
    if not refused or force:
        registry.aliases.promote(
            version,
            alias,
            expected=current,
            reason=reason.strip(),
            forced=refused,
            verdict=None if judged is None else judged.as_json(),
        )
    if as_json:
        emit(
            {
                "uri": version.uri,
                "alias": alias,
                "previous": current and current.uri,
                "promoted": not refused or force,
                "forced": refused and force,
                "reason": reason.strip(),
                "gate": judged and judged.as_json(),
            }
        )
    elif not refused or force:
        _tell_moved(version, alias, current, judged)
    if refused and not force:
        if not as_json:
            say(f"models:/{version.name}@{alias} stays {current.uri if current else 'unset'}")
        raise SystemExit(REFUSED)


def _tell_moved(
    version: Version,
    alias: str,
    current: Version | UnreadVersion | None,
    judged: Judgement | None,
) -> None:
    if judged is None:
        say(f"There is no gate for a version of kind {version.kind}.")
    elif not judged.passed:
        say("The gate is overruled, on record.")
    came_from = f", from {current.uri}" if current else ""
    say(f"models:/{version.name}@{alias} is now {version.uri}{came_from}")


def _judge(
    registry: Registry,
    version: Version,
    current: Version | UnreadVersion | None,
    source: str | None,
    split: Any,
    size: int | None,
    data_seed: int,
    settings: GateSettings,
) -> Judgement:
    from patchbay.gating import judge_by_evidence, judge_by_images

    if source is None:
        return judge_by_evidence(registry, version, current, settings)
    data = load_splits(source, seed=data_seed, size=size, classes=version.class_names)
    return judge_by_images(registry, version, current, data, split, settings)


def _tell_nothing_moved(version: Version, alias: str, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "uri": version.uri,
                "alias": alias,
                "previous": version.uri,
                "promoted": False,
                "forced": False,
                "reason": "",
                "gate": None,
            }
        )
        return
    say(f"models:/{version.name}@{alias} is {version.uri} already")
