"""What MLflow's pages show of a model: its title, parameters, numbers and a description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from registry.bundles.manifest import (
    AnyManifest,
    ClassModuleManifest,
    PatchedModelManifest,
)
from registry.naming import parse_address

GAINS: Mapping[str, str] = {
    "validation_f1_gain": "tc_f1_gain",
    "validation_precision_gain": "tc_precision_gain",
    "validation_recall_gain": "tc_recall_gain",
    "validation_others_accuracy_gain": "others_accuracy_gain",
}
"""What a patched version's metrics are called where models are compared; TC: target class."""

_COMPARED = ("composed_accuracy", "kernels_kept", "kernels_kept_share", "multiply_adds_share")
_NOUNS = {
    "strong": "Strong model",
    "weak": "Weak model",
    "class_module": "Class module",
    "patched": "Patched model",
}
_MOST_NAMES = 20
_MOST_LETTERS = 60
_MAX_PARAMETER_LENGTH = 500


def title(name: str, manifest: AnyManifest) -> str:
    """A LoggedModel's name; several may have the same.

    MLflow allows fewer characters than in a registered name.

    Example:
        For the class ``0`` of ``digits-strong``: ``digits-strong class 0``.
    """
    if isinstance(manifest, ClassModuleManifest):
        name = f"{name.rpartition('.')[0]} class {_one_line(manifest.class_name)}"
    return re.sub(r"[/:.%'\"]", "_", name)


def parameters(manifest: AnyManifest, parents: Sequence[str] | None = None) -> dict[str, str]:
    """What a LoggedModel was made with, as MLflow's parameters: names to text.

    Args:
        manifest: of its bundle.
        parents: addresses of its parents here; None for the manifest's.
    """
    made_from = _parents(manifest, parents)
    found = {"kind": manifest.kind, "seed": str(manifest.origin.seed)}
    found["classes"] = json.dumps(manifest.class_names)
    found["data_source"] = manifest.origin.data_source
    if isinstance(manifest, PatchedModelManifest):
        found["weak"] = made_from[0]
        found["class_modules"] = json.dumps(made_from[1:])
        found["patched_classes"] = json.dumps([one.class_name for one in manifest.patches])
        found["calibration"] = json.dumps(sorted({p.calibration.kind for p in manifest.patches}))
        found["fusion"] = manifest.fusion.kind
        found["mirrored"] = json.dumps(manifest.mirrored)
    else:
        found["architecture"] = manifest.architecture.name
    if isinstance(manifest, ClassModuleManifest):
        found["class_name"] = manifest.class_name
        found["strong"] = made_from[0]
    return {key: value[:_MAX_PARAMETER_LENGTH] for key, value in found.items() if value}


def numbers(manifest: AnyManifest) -> tuple[dict[str, float], dict[str, float]]:
    """A model's metrics: those by which models are compared, and the others.

    MLflow groups metrics by data set, so what should stand in one column for models of different
    data must name none.

    Returns:
        Metrics that name no data set, and those that name the origin's.
    """
    metrics = manifest.metrics
    compared = {key: metrics[key] for key in _COMPARED if key in metrics}
    if isinstance(manifest, PatchedModelManifest):
        compared |= gains(metrics)
    else:
        compared |= manifest.cost.model_dump()
    return compared, {key: value for key, value in metrics.items() if key not in compared}


def gains(metrics: Mapping[str, float]) -> dict[str, float]:
    """A patched version's gains on validation images, by the names under which one compares."""
    return {shown: metrics[key] for key, shown in GAINS.items() if key in metrics}


def description(manifest: AnyManifest, parents: Sequence[str] | None = None) -> str:
    """A model in some sentences of Markdown, with links to what it was made from.

    Args:
        manifest: of its bundle.
        parents: addresses of its parents here; None for the manifest's.
    """
    made_from = _parents(manifest, parents)
    if isinstance(manifest, PatchedModelManifest):
        return _of_patched(manifest, made_from)
    if isinstance(manifest, ClassModuleManifest):
        return _of_class_module(manifest, made_from[0])
    told = f"{_NOUNS[manifest.kind]} ({manifest.architecture.name})"
    told += f" of the classes {codes(manifest.class_names)}"
    if manifest.origin.data_source:
        told += f", trained on {code(manifest.origin.data_source)}"
    if (accuracy := manifest.metrics.get("validation_accuracy")) is not None:
        told += f"; right on {accuracy:.3f} of the validation images"
    return f"{told}.\n\n{_size(manifest.cost.kernels, manifest.cost.multiply_adds)}."


def name_description(name: str, manifest: AnyManifest) -> str:
    """What a registered name stands for, and the commands for its versions, in Markdown."""
    what = {
        "strong": "is taken apart into one class module a class",
        "weak": "is weak on some class; `patchbay diagnose` says on which",
        "class_module": "scores one class, and can patch a weak model's score for it",
        "patched": "joins a weak model and class modules; it holds no weights of its own",
    }[manifest.kind]
    uri = f"models:/{name}/VERSION"
    commands = {
        "strong": [f"patchbay modularize {uri} --data DATA"],
        "weak": [
            f"patchbay diagnose {uri} --data DATA",
            f"patchbay patch {uri} --with MODULE --name NAME --data DATA",
        ],
        "class_module": [f"patchbay patch WEAK --with {uri} --name NAME --data DATA"],
        "patched": [
            f"patchbay evaluate {uri} --data DATA",
            f"patchbay promote {uri} --alias champion --data DATA",
            f"patchbay serve models:/{name}@champion",
        ],
    }[manifest.kind]
    lines = "\n".join([f"patchbay show {uri}", *commands])
    of = _NOUNS[manifest.kind]
    if isinstance(manifest, ClassModuleManifest):
        of += f" of the class {code(manifest.class_name)}"
    return f"{of}: {what}.\n\n```\n{lines}\n```"


def link(uri: str) -> str:
    """A version's address as a link to its page."""
    address = parse_address(uri)
    return f"[`{uri}`](#/models/{address.name}/versions/{address.version})"


def code(text: str, *, most: int = _MOST_LETTERS) -> str:
    """Anybody's text as Markdown that shows it as it is, in one line of so many letters."""
    return f"`{_one_line(text, most).replace('`', chr(39)) or ' '}`"


def codes(texts: Sequence[str]) -> str:
    """Several of them, the first twenty by name."""
    more = f" and {len(texts) - _MOST_NAMES} more" if len(texts) > _MOST_NAMES else ""
    return ", ".join(map(code, texts[:_MOST_NAMES])) + more


def _parents(manifest: AnyManifest, parents: Sequence[str] | None) -> list[str]:
    return [one.uri for one in manifest.parents] if parents is None else list(parents)


def _of_class_module(manifest: ClassModuleManifest, strong: str) -> str:
    metrics = manifest.metrics
    told = f"Class module: scores the class {code(manifest.class_name)} with a part of "
    told += f"{link(strong)}.\n\n"
    told += _size(manifest.cost.kernels, manifest.cost.multiply_adds)
    if {"kernels_kept_share", "multiply_adds_share"} <= metrics.keys():
        told += f": {metrics['kernels_kept_share']:.3f} and {metrics['multiply_adds_share']:.3f} "
        told += "of the strong model's"
    told += "."
    if {"composed_accuracy", "strong_accuracy"} <= metrics.keys():
        told += "\n\nAll class modules of its search, composed, are right on "
        told += f"{metrics['composed_accuracy']:.3f} of the validation images, the strong model on "
        told += f"{metrics['strong_accuracy']:.3f}."
    return told


def _of_patched(manifest: PatchedModelManifest, made_from: Sequence[str]) -> str:
    patches = manifest.patches[:_MOST_NAMES]
    lines = [
        f"- {code(one.class_name)} by {link(module)}"
        for one, module in zip(patches, made_from[1:], strict=False)
    ]
    if more := len(manifest.patches) - len(patches):
        lines.append(f"- and {more} more")
    told = f"Patched model: {link(made_from[0])} with patches for\n\n" + "\n".join(lines)
    metrics = manifest.metrics
    if {"validation_weak_f1", "validation_patched_f1"} <= metrics.keys():
        told += f"\n\nF1 of the patched class{'es, the mean' * (len(manifest.patches) > 1)} on "
        told += f"validation images: {metrics['validation_weak_f1']:.3f} weak, "
        told += f"{metrics['validation_patched_f1']:.3f} patched."
    return told


def _size(kernels: int, multiply_adds: int) -> str:
    return f"{kernels:,} kernels, {multiply_adds:,} multiply-adds an image"


def _one_line(text: str, most: int = _MOST_LETTERS) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
