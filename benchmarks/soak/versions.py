"""Versions of one name that answer differently, and what each says of the same pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.networks import random_module
from benchmarks.serving.answers import told_by
from benchmarks.serving.orders import Exchange
from benchmarks.serving.payloads import FILES, Payload
from benchmarks.serving.pictures import smooth_noise
from benchmarks.serving.subject import (
    SubjectSize,
    clear_cases,
    made_of_nothing,
    raw_scores,
    register_parts,
)
from modularizer.classifier import Classifier
from modularizer.preprocessing import as_tensor
from modularizer.records import AppliedPatch, PatchedManifest
from registry.naming import parse_address
from registry.registry import Registry

NAME = "served"
ALIAS = "champion"


@dataclass(frozen=True, eq=False)
class Versions:
    """What a soak moves between.

    Attributes:
        uris: of the versions: one class patched, another one, both.
        spare: of class modules that no version uses.
        payload: pictures; an answer is right if it is what the version that it names says offline.
    """

    uris: tuple[str, ...]
    spare: tuple[str, ...]
    payload: Payload


def register_versions(registry: Registry, size: SubjectSize, *, seed: int = 0) -> Versions:
    """Make networks with random weights, three patched versions of one name, and an alias.

    Args:
        registry: where.
        size: of networks and pictures.
        seed: of weights, masks and pictures.
    """
    weak, strong = size.classifier(seed), size.classifier(seed + 1)
    pictures = np.stack(
        [smooth_noise(size.side, size.side, seed=seed + n) for n in range(size.pictures)]
    )
    modules = [
        random_module(strong, output, seed=seed + output)
        for output in range(len(strong.class_names))
    ]
    found = [(one, clear_cases(raw_scores(one, pictures), len(pictures))[1]) for one in modules]
    provenance = made_of_nothing(seed)
    weak_uri, module_uris = register_parts(registry, weak, strong, found, provenance)
    first, second = _patched_classes(weak, pictures)
    uris = []
    for outputs in ((first,), (second,), (first, second)):
        patches = [
            AppliedPatch(module_uris[one], modules[one].class_name, found[one][1])
            for one in outputs
        ]
        manifest = PatchedManifest(NAME, weak_uri, patches, {}, {}, provenance)
        uris.append(registry.add_patched(manifest))
    registry.aliases.promote(uris[0], ALIAS)
    spare = tuple(uri for n, uri in enumerate(module_uris) if n not in (first, second))
    return Versions(tuple(uris), spare, _payload(registry, uris, pictures))


def _patched_classes(weak: Classifier, pictures: NDArray[np.uint8]) -> tuple[int, int]:
    """The two classes that the weak model names least, so that patches change answers."""
    with torch.inference_mode():
        labels = weak(as_tensor(pictures)).argmax(dim=1).numpy()
    first, second, *_ = np.bincount(labels, minlength=len(weak.class_names)).argsort(kind="stable")
    return int(first), int(second)


def _payload(registry: Registry, uris: list[str], pictures: NDArray[np.uint8]) -> Payload:
    content_type, encode = FILES["npy"]
    said = [_said(registry, uri, pictures) for uri in uris]
    exchanges = tuple(
        Exchange(body=encode(picture), labels=labels)
        for picture, labels in zip(pictures, zip(*said, strict=True), strict=True)
    )
    return Payload("npy", "/predict", {"Content-Type": content_type}, exchanges, reader="version")


def _said(registry: Registry, uri: str, pictures: NDArray[np.uint8]) -> list[str]:
    """What a version says offline of each picture."""
    model, version = registry.load_patched(uri), parse_address(uri).version
    assert version is not None
    names = model.class_names
    with torch.inference_mode():
        both = model.both(as_tensor(pictures))
    labels, weak_labels = (
        both.scores.argmax(dim=1).tolist(),
        both.weak_scores.argmax(dim=1).tolist(),
    )
    return [
        told_by(version, names[label], names[weak], model.changed_by(weak_label=weak, label=label))
        for label, weak in zip(labels, weak_labels, strict=True)
    ]
