"""Patched models with more and more modules: bytes, loading, latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.growth.curves import Curves, in_turns, seconds
from benchmarks.growth.loading import measure_loading
from benchmarks.growth.settings import GrowthSettings
from benchmarks.growth.subject import CALIBRATION, sized_classifier
from benchmarks.networks import plan_of, random_module
from benchmarks.serving.subject import made_of_nothing, register_parts
from modularizer.records import AppliedPatch, PatchedManifest
from registry.registry import Registry
from serving.engine.engine import Engine
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.packing import place
from serving.residency.building import Builder
from serving.residency.parts import PartCache

_FEWEST_CLASSES = 10


def measure_patched(
    home: Path, settings: GrowthSettings, *, told: Callable[[str], None] = lambda line: None
) -> Curves:
    """Register a patched model for each number of modules, load and ask each of them.

    Args:
        home: of the registry, which is made.
        settings: sizes, networks and repeats.
        told: called with a line whenever something is done.

    Returns:
        What `benchmarks.growth.loading.measure_loading` finds; ``one_image_ms``, ``batch_ms`` and
        ``explained_image_ms`` (one image, with what each patch did), networks in turn.
    """
    curves = Curves("modules")
    registry = Registry.open(home)
    uris = register_models(registry, settings)
    told("patched models are registered")
    load = partial(measure_loading, home, batch=settings.batch, threads=settings.threads)
    for done, size in enumerate(
        in_turns(settings.modules, settings.load_repeats, settings.seed), start=1
    ):
        for name, found in load(uris[size]).items():
            curves.add(name, size, found)
        told(f"{done} of {settings.load_repeats * len(uris)} times a model is loaded")
    _measure_latency(registry, home, uris, settings, curves)
    told("patched models are timed")
    return curves


def register_models(registry: Registry, settings: GrowthSettings) -> dict[int, str]:
    """One weak model, modules of one strong model, and a patched model for each size.

    Returns:
        The patched models' addresses, by the number of modules.
    """
    classes = max(_FEWEST_CLASSES, *settings.modules)
    weak, strong = (sized_classifier(settings, classes, settings.seed + n) for n in (0, 1))
    plan, share = plan_of(strong), settings.kept_share
    modules = [
        random_module(strong, n, kept_share=share, seed=settings.seed + n, plan=plan)
        for n in range(max(settings.modules))
    ]
    made = made_of_nothing(settings.seed)
    weak_uri, module_uris = register_parts(
        registry, weak, strong, [(one, CALIBRATION) for one in modules], made
    )
    patches = [
        AppliedPatch(uri, one.class_name, CALIBRATION)
        for uri, one in zip(module_uris, modules, strict=True)
    ]
    return {
        size: registry.add_patched(
            PatchedManifest(f"patched-{size}", weak_uri, patches[:size], {}, {}, made)
        )
        for size in settings.modules
    }


def _measure_latency(
    registry: Registry,
    home: Path,
    uris: dict[int, str],
    settings: GrowthSettings,
    curves: Curves,
) -> None:
    """Ask each model in turns, all of them in memory; their parts are shared."""
    torch.set_num_threads(settings.threads)
    in_turn = SequentialExecutor()
    parts = PartCache(place=partial(place, device=in_turn.device))
    builder = Builder(parts, (in_turn,), home=home)
    with ExitStack() as leases:
        asking = {}
        for size, uri in uris.items():
            served = builder.build(registry, registry.find(uri))
            leases.callback(served.leases.close)
            asking[size] = _asks(served.engine, settings)
        for works in asking.values():
            for work in works.values():
                work()  # the first time is the slowest
        for size in in_turns(settings.modules, settings.latency_repeats, settings.seed):
            for name, work in asking[size].items():
                curves.add(name, size, 1000 * seconds(work))


def _asks(engine: Engine, settings: GrowthSettings) -> dict[str, Callable[[], object]]:
    preprocessing = engine.model.weak.preprocessing
    shape = (settings.batch, *preprocessing.size, preprocessing.channels)
    generator = np.random.default_rng(settings.seed)
    images: Sequence[np.ndarray] = list(generator.integers(0, 256, shape, dtype=np.uint8))
    ask, explained = engine.ask(), engine.ask(explain=True)
    return {
        "one_image_ms": partial(engine.answer, images[:1], ask),
        "explained_image_ms": partial(engine.answer, images[:1], explained),
        "batch_ms": partial(engine.answer, images, ask, batch_size=settings.batch),
    }
