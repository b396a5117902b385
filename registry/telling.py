"""What a run tells in MLflow once its versions are there: a description, and what parents gained.

A LoggedModel's page lists every run that measured it. Measuring the models that a run read is what
makes the way from a strong model to its class modules, and from a class module to the models that
it patches, one that can be clicked.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.adding import Entry
from registry.model_page import GAINS, description, gains, link
from registry.store.runs import RunLog
from registry.version import Version

_MOST_LINKS = 30


def tell_of_training(run: RunLog, entry: Entry, version: Version) -> None:
    """Describe the run that trained a strong or weak model."""
    run.describe(f"Made {link(version.uri)}.\n\n{description(entry.manifest)}")


def tell_of_decomposition(
    run: RunLog, entries: Sequence[Entry], strong: Version, versions: Sequence[Version]
) -> None:
    """Describe the run that took a strong model apart, and log the strong model's accuracy in it.

    Args:
        run: under way.
        entries: what was registered.
        strong: what was taken apart.
        versions: of the entries.
    """
    if not entries:
        return
    links = [f"- {link(version.uri)}" for version in versions[:_MOST_LINKS]]
    if more := len(versions) - len(links):
        links.append(f"- and {more} more")
    told = f"Took {link(strong.uri)} apart into {len(versions)} class modules:\n\n"
    run.describe(told + "\n".join(links))
    manifest = entries[0].manifest
    found = {k: v for k, v in manifest.metrics.items() if k == "strong_accuracy"}
    if found:
        run.log_model_metrics(strong.model_id, {}, found, manifest.origin, step=len(entries))


def tell_of_patching(
    run: RunLog, entry: Entry, weak: Version, modules: Sequence[Version], version: Version
) -> None:
    """Describe the run that patched, and log what the weak model did and a module gained in it.

    A gain is a class module's where it is the only patch: of several nobody can say whose it is.

    Args:
        run: under way.
        entry: what was registered.
        weak: what was patched.
        modules: the class modules that patch it.
        version: of the entry.
    """
    manifest = entry.manifest
    run.describe(f"Made {link(version.uri)}.\n\n{description(manifest)}")
    own = {k: v for k, v in manifest.metrics.items() if k.startswith("validation_weak_")}
    if own:
        run.log_model_metrics(weak.model_id, {}, own, manifest.origin, step=1)
    gained = gains(manifest.metrics)
    if len(modules) == 1 and gained:
        full = {key: manifest.metrics[key] for key in GAINS if key in manifest.metrics}
        run.log_model_metrics(modules[0].model_id, gained, full, manifest.origin, step=2)
