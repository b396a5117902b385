"""What the search spends its time on: bracket, Diff and decoding."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.timing import Seconds, timed
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from modularizer.search.bracket import run_bracket
from modularizer.search.diversity import jaccard_distances


@dataclass(frozen=True)
class BracketSize:
    """How much a bracket is given; the defaults are those of the published aim."""

    classes: int = 10
    candidates: int = 100
    images: int = 2000
    channels: int = 4224
    top: int = 100


def measure_bracket(size: BracketSize, *, repeats: int = 5, seed: int = 0) -> dict[str, object]:
    """Time Diff's matrix product and one bracket on random scores.

    The scores let each candidate favour its own class, so that stages keep and drop models as
    in a search; the time does not depend on what they are.

    Returns:
        ``bracket_seconds`` and ``diff_seconds`` (medians), with spread and sizes.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size.images) % size.classes
    own = torch.nn.functional.one_hot(labels, size.classes).T[:, None, :].float()
    noise = torch.randn(size.classes, size.candidates, size.images, generator=generator)
    columns = noise + 2 * own
    masks = torch.rand(size.classes * size.candidates, size.channels, generator=generator) < 0.5
    kernels = torch.ones(size.channels, dtype=torch.int64)
    distances = jaccard_distances(masks, kernels)
    diff = timed(lambda: jaccard_distances(masks, kernels), repeats=repeats)
    bracket = timed(
        lambda: run_bracket(
            columns, labels, distances, alpha=0.9, top=size.top, generator=generator
        ),
        repeats=repeats,
    )
    return {
        "bracket_seconds": bracket.median,
        "diff_seconds": diff.median,
        "bracket": asdict(bracket),
        "diff": asdict(diff),
        "size": asdict(size),
    }


def measure_decoding(
    *, width_multiplier: float, kept_share: float = 0.6, images: int = 500, repeats: int = 5
) -> dict[str, object]:
    """Time decoding a SimCNN class module, and running it on images, 32 x 32 RGB.

    Args:
        width_multiplier: of the paper's widths.
        kept_share: share of each segment's channels that stay; 0.57 in the paper's mean.
        images: how many the module is run on.
        repeats: timed runs, after one that is not counted.

    Returns:
        ``decode_seconds`` and ``run_seconds`` (medians), ``decode_share`` their ratio.
    """
    spec = ArchitectureSpec(
        name="simcnn", arguments={"num_classes": 10, "width_multiplier": width_multiplier}
    )
    network = build_network(spec).eval()
    plan = slicing_plan(network, (3, 32, 32))
    kept = torch.ones(plan.channels, dtype=torch.bool)
    for segment in plan.segments:
        stays = max(1, round(len(segment) * kept_share))
        kept[segment.start + stays : segment.stop] = False
    module = decode(network, plan, kept, output=0)
    batch = torch.randn(images, 3, 32, 32)

    def run() -> Tensor:
        with torch.inference_mode():
            scores: Tensor = module(batch)
        return scores

    decoding: Seconds = timed(lambda: decode(network, plan, kept, output=0), repeats=repeats * 4)
    running: Seconds = timed(run, repeats=repeats)
    return {
        "width_multiplier": width_multiplier,
        "decode_seconds": decoding.median,
        "run_seconds": running.median,
        "decode_share": decoding.median / running.median,
        "decode": asdict(decoding),
        "run": asdict(running),
        "images": images,
    }
