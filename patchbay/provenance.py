"""Whether images may judge a model: those that it has learnt from may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modularizer.datasets.data_splits import DataSplits
    from registry.bundles.manifest import Origin


def other_splits(
    origin: Origin, data: DataSplits, split: str, *, model: str = "the weak model"
) -> str | None:
    """Why images may be among those that a model has learnt from.

    Args:
        origin: what the model was made with.
        data: splits with its classes.
        split: which of them is to judge: ``validation``, ``test``.
        model: what to call it.

    Returns:
        A sentence; None if the splits are those that it was trained with, if it was trained with
        data of another name, or if nothing is known of its data.
    """
    if origin.data_source != data.source or not origin.data_source:
        return None
    if origin.data_fingerprint in ("", data.fingerprint):
        return None
    trained, here = origin.settings.get("data_seed"), data.seed
    which = (
        f"other splits of {data.source} (those of --data-seed {trained}, not {here})"
        if trained not in (None, here)
        else f"other images, sizes or splits of {data.source}"
    )
    return (
        f"{model} was trained with {which}, so images that it has learnt from may be among "
        f"the {split} ones"
    )


def warn_of_other_splits(
    origin: Origin, data: DataSplits, split: str, *, model: str = "the weak model"
) -> None:
    """Say so on stderr; arguments as of `other_splits`."""
    warning = other_splits(origin, data, split, model=model)
    if warning is not None:
        click.echo(f"warning: {warning}", err=True)
