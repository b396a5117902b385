"""How much memory there is, and how a search divides what it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.classifier import frozen, inference
from modularizer.errors import ModularizerError


@dataclass(frozen=True)
class MemoryPlan:
    """What a search does with the memory that it may use; bytes.

    Attributes:
        limit: in all, beside the network and the pixels that are there anyway.
        candidate: one candidate at work, estimated from the whole network's activations.
        workers: candidates that run at once.
        prepared: most for validation images that are kept prepared.
        remembered: most for scores that are kept.
    """

    limit: int
    candidate: int
    workers: int
    prepared: int
    remembered: int


def plan_memory(
    network: nn.Module, micro_batch: Tensor, *, limit: int | None, workers: int
) -> MemoryPlan:
    """Divide memory: half to candidates at work, a quarter each to images and scores.

    Args:
        network: the whole network; run once.
        micro_batch: prepared images, as many as candidates are given at once.
        limit: bytes; None for half of what is free on the network's device.
        workers: candidates that may run at once.

    Raises:
        ModularizerError: if not even one candidate fits.
    """
    allowed = free_bytes(micro_batch.device) // 2 if limit is None else limit
    candidate = _weights(network) + 2 * _activations(network, micro_batch)[0]  # and workspace
    fitting = allowed // 2 // max(candidate, 1)
    if fitting < 1:
        raise ModularizerError(
            f"a candidate on {len(micro_batch)} images takes some {candidate / 2**20:,.0f} MiB, "
            f"half of the {allowed / 2**20:,.0f} MiB that the search may use is less; allow it "
            "more memory or a smaller batch"
        )
    return MemoryPlan(allowed, candidate, min(workers, fitting), allowed // 4, allowed // 4)


def require_memory_for_gradients(network: nn.Module, images: Tensor, rows: int, limit: int) -> None:
    """Refuse a step of a gradient search that would take more than the search may use.

    Args:
        network: the whole network; run once, on one image.
        images: prepared images of a step.
        rows: modules that run side by side.
        limit: bytes.

    Raises:
        ModularizerError: if all activations, kept for the way back, take more.
    """
    an_image = max(_activations(network, images[:1])[1], _saved_bytes(network, images[:1]))
    needed = 2 * rows * len(images) * an_image  # and as much for gates and slopes
    if needed > limit:
        raise ModularizerError(
            f"a step of {len(images)} images through {rows} modules takes some "
            f"{needed / 2**20:,.0f} MiB, more than the {limit / 2**20:,.0f} MiB that the search "
            "may use; allow it more memory or fewer images a step"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; on the CPU within the control group's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return max(min([_available(), *_group_room()]), 0)


def _available() -> int:
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _group_room(folder: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What the control group (version 2) has left, if it has a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        pages = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return []
    files = int(pages.get("inactive_file", 0))  # cached files give way
    return [int(limit) - used + files] if limit.isdigit() else []


def _weights(network: nn.Module) -> int:
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in [*network.parameters(), *network.buffers()]
    )


def largest_layer_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes of the inputs and outputs of the layer that has most of them.

    A pass holds at least these at its worst moment, besides weights and workspace.

    Args:
        network: run once; on ``meta`` nothing is computed, and no memory is taken.
        images: prepared, (N, channels, height, width), where the network is.
    """
    if images.is_meta:
        with ShapesOnly():
            return _activations(network, images)[0]
    return _activations(network, images)[0]


def _activations(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """Bytes of the layer with most inputs and outputs, and of all layers' outputs together."""
    most = total = 0

    def look(_: nn.Module, taken: tuple[object, ...], made: object) -> None:
        nonlocal most, total
        inputs = sum(one.nbytes for one in taken if isinstance(one, Tensor))
        outputs = made.nbytes if isinstance(made, Tensor) else 0
        most, total = max(most, inputs + outputs), total + outputs

    leaves = [layer for layer in network.modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(look) for layer in leaves]
    try:
        with inference(network):
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return most, total


def _saved_bytes(network: nn.Module, images: Tensor) -> int:
    """What a step forward keeps for the way back, parameters and doubles left out."""
    own = {one.untyped_storage().data_ptr() for one in network.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            saved[place] = max(saved.get(place, 0), tensor.nbytes)
        return tensor

    keeping = torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept)
    with frozen(network), torch.enable_grad(), keeping:
        network(images.clone().requires_grad_().clone())  # it may be changed in place
    return sum(saved.values())


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held: resident on the CPU, allocated on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
