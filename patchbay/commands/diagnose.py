"""``patchbay diagnose``: where a model is weak, and which classes are worth a patch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchbay import diagnosis_view, options
from patchbay.console import emit, say
from patchbay.provenance import warn_of_other_splits
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.classifier import Classifier
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.datasets.images import ImageSet
    from registry.bundles.manifest import Origin
    from registry.diagnoses import DiagnosedVersion
    from registry.loading import Loaded
    from registry.registry import Registry

_FLATTERED = (
    "The patch's rule was fitted on validation images, so these figures flatter it; --split test "
    "judges it on others."
)


@click.command(short_help="Find the classes that a model is weak at.")
@click.argument("model")
@options.splits
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="validation: what one chooses by; test: the held-out images, choose nothing by them.",
)
@click.option(
    "--margin",
    type=options.FiniteRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="How far the F1 of a class must lie below the mean F1 of the others, with 95 % "
    "confidence, to be worth a patch.",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Confusions to show, the costliest first; JSON has all.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw the classes and the confusions as PNG files in this folder.",
)
@click.option(
    "--store", is_flag=True, help="Keep the diagnosis with the version, as an MLflow run."
)
@options.common
def diagnose(
    model: str,
    source: str,
    split: str,
    margin: float,
    top: int,
    pictures: Path | None,
    store: bool,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Tell class by class how good MODEL is, what it confuses, and what is worth a patch.

    MODEL is a strong, weak or patched version. A class is worth a patch (*) if, with 95 %
    confidence, its F1 is more than --margin below the mean F1 of the other classes.

    \b
    --json prints
      uri, split, images, accuracy, macro_f1   and the last two's _interval, [low, high]
      data, settings, margin                   what judged, and how
      classes     in the model's order: class_name, support, answered, right, precision,
                  recall, f1 and their _interval; others_f1, gap_interval, worth_patching
                  (null: the class has no image, or there is no other)
      confusions  the costliest first: true_class, answered_class, count, share (of the
                  class), macro_f1_cost and accuracy_cost (what either would gain if just
                  these images were right)
      worth_patching   class names, the weakest first
      next        a class_name and a command each
      pictures    files that were drawn
      run_id      of the MLflow run with --store, else null
    """  # noqa: D301
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    from modularizer.diagnosis import diagnose as judge
    from modularizer.records import Provenance
    from registry.diagnoses import DiagnosedVersion

    loaded = registry.load(model)
    uri, network = loaded.version.uri, _answering(loaded)
    data = load_splits(source, seed=data_seed, size=size, classes=network.class_names)
    _warn(registry, loaded, data, split)
    images = data.test.open("patchbay diagnose") if split == "test" else data.validation
    record = DiagnosedVersion(
        uri,
        split,
        judge(
            images.labels,
            _answers(network, images),
            class_names=images.class_names,
            margin=margin,
        ),
        Provenance(
            {"split": split, "margin": margin, "data_seed": data.seed, "size": size},
            seed=0,
            data_source=data.source,
            data_fingerprint=images.fingerprint,
        ),
    )
    drawn = _draw(record, pictures)
    run_id = registry.add_diagnosis(record) if store else None
    steps = diagnosis_view.next_steps(
        record.diagnosis,
        loaded.parts[0].uri if loaded.parts else uri,  # a patched model is patched anew
        options.same_data(source, size, data_seed, home),
    )
    if as_json:
        emit(
            {
                **record.as_json(),
                "next": [{"class_name": name, "command": line} for name, line in steps],
                "pictures": [str(path) for path in drawn],
                "run_id": run_id,
            }
        )
        return
    title = f"{uri} on {len(images):,} {split} images"
    diagnosis_view.show_diagnosis(title, record.diagnosis, most_confusions=top)
    if split == "validation" and _was_fitted(loaded):
        say(_FLATTERED)
    for path in drawn:
        say(f"drawn: {path}")
    if run_id:
        say(f"stored: run {run_id}")
    for line in dict.fromkeys(line for _, line in steps):
        names = ", ".join(name for name, same in steps if same == line)
        say(f"Next, for {names}: {line}")


def _answering(loaded: Loaded) -> Classifier | PatchedClassifier:
    """The model, if it answers with a class."""
    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.classifier import Classifier
    from registry.errors import RegistryError

    if not isinstance(loaded.model, Classifier | PatchedClassifier):
        raise RegistryError(
            f"{loaded.version.uri} is a class module: it scores one class alone and answers with "
            "none; diagnose a strong, weak or patched model"
        )
    return loaded.model


def _answers(network: Classifier | PatchedClassifier, images: ImageSet) -> NDArray[np.int64]:
    """What the model answers, as labels: int64 (N,)."""
    from modularizer.classifier import predict

    labels: NDArray[np.int64] = predict(network, images.images).argmax(axis=1)
    return labels


def _warn(registry: Registry, loaded: Loaded, data: DataSplits, split: str) -> None:
    """Say so where the model may have learnt from the images that are to judge it."""
    origin: Origin = loaded.manifest.origin
    called = "the model"
    if loaded.parts:  # its own origin tells of the patching
        origin, called = registry.manifest(loaded.parts[0].uri).origin, "the weak model"
    warn_of_other_splits(origin, data, split, model=called)


def _was_fitted(loaded: Loaded) -> bool:
    from modularizer.assembly.calibrations.fitted import FittedCalibration
    from modularizer.assembly.patched import PatchedClassifier

    return isinstance(loaded.model, PatchedClassifier) and any(
        isinstance(patch.calibration, FittedCalibration) for patch in loaded.model.patches
    )


def _draw(record: DiagnosedVersion, folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    from modularizer.diagnosis_pictures import save_diagnosis_pictures

    folder.mkdir(parents=True, exist_ok=True)
    return save_diagnosis_pictures(record.diagnosis, folder)
