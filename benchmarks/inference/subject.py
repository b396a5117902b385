"""The networks that are measured: made when they are asked for, as memory is measured, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from benchmarks.inference.settings import (
    ALIGNMENT,
    InferenceSettings,
    RandomNetworks,
    SavedNetworks,
)
from benchmarks.networks import random_classifier, random_module, whole_module
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import ClassModule, both_ways
from modularizer.assembly.decode import class_module_skeleton
from modularizer.classifier import Classifier, ImageNetwork
from modularizer.preprocessing import Preprocessing
from serving.engine.packing import place

Made = TypeVar("Made", bound=ImageNetwork)


class Maker(Protocol):
    """Makes networks on the CPU, each anew."""

    def weak(self) -> Classifier:
        """The weak model."""
        ...

    def strong(self) -> Classifier:
        """The strong model."""
        ...

    def module(self, number: int, *, align: int = 1) -> ClassModule:
        """A class module of the strong model, by a mask of its own.

        Args:
            number: which.
            align: of how many kernels a layer keeps a multiple.
        """
        ...


class RandomMaker:
    """Networks with random weights; the strong one is of the weak one's size."""

    def __init__(self, networks: RandomNetworks) -> None:
        self._of = networks

    def weak(self) -> Classifier:
        """The weak model."""
        return random_classifier(self._of.spec, side=self._of.side, seed=self._of.seed)

    def strong(self) -> Classifier:
        """The strong model."""
        return random_classifier(self._of.spec, side=self._of.side, seed=self._of.seed + 1)

    def module(self, number: int, *, align: int = 1) -> ClassModule:
        """A class module, by a random mask."""
        return random_module(
            self.strong(),
            number % 10,
            kept_share=self._of.kept_share,
            seed=self._of.seed + number,
            align=align,
        )


class SavedMaker:
    """Networks that `save_networks` has put into a folder of this very run."""

    def __init__(self, networks: SavedNetworks) -> None:
        self._folder = networks.folder

    def weak(self) -> Classifier:
        """The weak model."""
        return self._classifier("weak.pt")

    def strong(self) -> Classifier:
        """The strong model that the first class module is of."""
        return self._classifier("strong.pt")

    def module(self, number: int, *, align: int = 1) -> ClassModule:
        """A class module, as it was registered."""
        saved = torch.load(self._folder / f"module-{number}.pt", weights_only=True)
        architecture, preprocessing = _described(saved)
        skeleton = class_module_skeleton(
            architecture, preprocessing, saved["kept"], saved["output"]
        )
        module = ClassModule(
            skeleton,
            architecture=architecture,
            kept=saved["kept"],
            output=saved["output"],
            class_name=saved["class_name"],
            preprocessing=preprocessing,
        )
        if saved["sees_both_ways"]:
            module = both_ways(module)
        module.network.load_state_dict(saved["weights"], assign=True)
        return module.eval()

    def _classifier(self, name: str) -> Classifier:
        saved = torch.load(self._folder / name, weights_only=True)
        architecture, preprocessing = _described(saved)
        network = build_network(architecture, device="meta")
        network.load_state_dict(saved["weights"], assign=True)
        return Classifier(
            network,
            architecture=architecture,
            preprocessing=preprocessing,
            class_names=saved["class_names"],
        ).eval()


def save_networks(
    folder: Path, weak: Classifier, modules: list[ClassModule], strong: Classifier | None
) -> None:
    """Put networks where other processes of this run find them, as plain values and tensors.

    Args:
        folder: there.
        weak: the weak model.
        modules: the patched model's own first.
        strong: what the first module was made of, if it is known.
    """
    classifiers = {"weak": weak} if strong is None else {"weak": weak, "strong": strong}
    for name, classifier in classifiers.items():
        named = {"class_names": list(classifier.class_names)}
        torch.save(_description(classifier) | named, folder / f"{name}.pt")
    for number, module in enumerate(modules):
        of_its_class = {
            "kept": module.kept,
            "output": module.output,
            "class_name": module.class_name,
            "sees_both_ways": module.sees_both_ways,
        }
        torch.save(_description(module) | of_its_class, folder / f"module-{number}.pt")


def _description(made: Classifier | ClassModule) -> dict[str, Any]:
    return {
        "architecture": made.architecture.model_dump_json(),
        "preprocessing": made.preprocessing.model_dump_json(),
        "weights": made.network.state_dict(),
    }


def _described(saved: dict[str, Any]) -> tuple[ArchitectureSpec, Preprocessing]:
    return (
        ArchitectureSpec.model_validate_json(saved["architecture"]),
        Preprocessing.model_validate_json(saved["preprocessing"]),
    )


class Subject:
    """Networks on the device.

    Args:
        settings: which, and where they are.
        is_packed: whether they are in the form in which the service runs them on a CPU.
    """

    def __init__(self, settings: InferenceSettings, *, is_packed: bool = True) -> None:
        self.settings = settings
        self.device = torch.device(settings.device)
        self.is_packed = is_packed
        self._modules: list[ClassModule] = []
        networks = settings.networks
        self._maker: Maker = (
            RandomMaker(networks) if isinstance(networks, RandomNetworks) else SavedMaker(networks)
        )

    @cached_property
    def weak(self) -> Classifier:
        """The weak model."""
        return self._placed(self._maker.weak())

    @cached_property
    def strong(self) -> Classifier:
        """The strong model."""
        return self._placed(self._maker.strong())

    @cached_property
    def aligned_module(self) -> ClassModule:
        """The first class module, with kernels in multiples of `ALIGNMENT`."""
        return self._placed(self._maker.module(0, align=ALIGNMENT))

    @cached_property
    def masked_module(self) -> ClassModule:
        """A class module with all kernels: what masking without slicing takes.

        A masked kernel is computed like any other and then multiplied by zero.
        """
        return self._placed(whole_module(self._maker.strong(), 0))

    def modules(self, count: int) -> list[ClassModule]:
        """So many class modules of the strong model, each by a mask of its own."""
        while len(self._modules) < count:
            self._modules.append(self._placed(self._maker.module(len(self._modules))))
        return self._modules[:count]

    def inputs(self, networks: Sequence[ImageNetwork], batch: int) -> list[Tensor]:
        """Prepared images of noise for each network, channels innermost, on the device.

        Float32 (batch, channels, height, width); networks that prepare alike share them.
        """
        made: dict[Preprocessing, Tensor] = {}
        for wanted in dict.fromkeys(one.preprocessing for one in networks):
            generator = torch.Generator().manual_seed(self.settings.seed + batch)
            images = torch.randn(batch, wanted.channels, *wanted.size, generator=generator)
            made[wanted] = images.to(self.device, memory_format=torch.channels_last)
        return [made[one.preprocessing] for one in networks]

    def _placed(self, network: Made) -> Made:
        network.eval().requires_grad_(requires_grad=False)
        if self.is_packed:
            place(network, device=self.device)
        return network.to(self.device)
