from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.assembly.masking import masked
from modularizer.datasets.images import ImageSet
from modularizer.search.bracket import Asked
from modularizer.search.diversity import jaccard_distances
from modularizer.search.images import ClassImages
from modularizer.search.scoring import CandidateScorer, Generation


def made(count: int = 30, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, ImageSet]:
    torch.manual_seed(0)
    network = simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    labels = generator.permutation(np.arange(count) % 3)
    return network.to(dtype).eval(), ImageSet(pixels, labels, ("a", "b", "c"))


def prepared(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).double() / 128 - 1


def class_images(images: ImageSet, micro_batch: int = 4, keep: float = float("inf")) -> ClassImages:
    return ClassImages(
        images,
        prepare=prepared,
        device=torch.device("cpu"),
        micro_batch=micro_batch,
        keep_bytes=keep,
    )


def some_masks(plan: SlicingPlan, *shape: int) -> Tensor:
    masks = torch.rand(*shape, plan.channels, generator=torch.Generator().manual_seed(1)) < 0.7
    for segment in plan.segments:
        masks[..., segment.start] = True
    return masks


@pytest.fixture
def scorer() -> Iterator[CandidateScorer]:
    network, images = made()
    with CandidateScorer(network, slicing_plan(network, (1, 8, 8)), class_images(images)) as one:
        yield one


@pytest.mark.parametrize("micro_batch", [1, 7, 500])
@pytest.mark.parametrize("workers", [1, 3])
def test_scores_are_the_masked_network_s(micro_batch: int, workers: int) -> None:
    network, images = made()
    plan = slicing_plan(network, (1, 8, 8))
    masks = some_masks(plan, 4)
    given = class_images(images, micro_batch, keep=0 if workers == 1 else float("inf"))
    with CandidateScorer(network, plan, given, workers=workers) as scorer:
        found = scorer.scores(masks, 1, (2, 0))
    order = np.concatenate([np.flatnonzero(images.labels == one) for one in (2, 0)])
    pixels = prepared(torch.from_numpy(images.images[order]))
    for kept, row in zip(masks, found, strict=True):
        with torch.no_grad(), masked(network, plan, kept):
            expected = network(pixels)[:, 1].float()
        torch.testing.assert_close(row, expected, rtol=1e-6, atol=1e-6)
    assert scorer.work.passes == 4 * len(order)


def test_nothing_is_run_twice(scorer: CandidateScorer) -> None:
    masks = some_masks(scorer.plan, 3)
    twins = masks[[0, 1, 2, 0]]
    found = scorer.scores(twins, 0, (0, 1))
    assert torch.equal(found[0], found[3])
    assert scorer.work.passes == 3 * 20
    assert torch.equal(scorer.scores(twins, 0, (1, 0)), found.roll(10, dims=1))
    scorer.scores(twins[:1], 0, (0, 1, 2))
    assert scorer.work.passes == 3 * 20 + 10
    scorer.scores(masks[:1], 1, (0,))  # another output is another network
    assert scorer.work.passes == 3 * 20 + 20
    assert scorer.work.reruns == 0


def test_what_a_generation_did_not_ask_about_is_forgotten(scorer: CandidateScorer) -> None:
    masks = some_masks(scorer.plan, 2)
    scorer.scores(masks, 0, (0,))
    scorer.next_generation()
    scorer.scores(masks[:1], 0, (0,))
    scorer.next_generation()
    before = scorer.work.passes
    scorer.scores(masks[:1], 0, (0,))
    assert scorer.work.passes == before
    scorer.scores(masks[1:], 0, (0,))
    assert scorer.work.passes == before + 10


def test_scores_that_do_not_fit_are_run_again_and_counted_apart() -> None:
    network, images = made()
    plan = slicing_plan(network, (1, 8, 8))
    masks = some_masks(plan, 3)
    results = []
    for limit in (float("inf"), 600.0):  # a tensor of ten float32 scores, and no more
        given = class_images(images)
        with CandidateScorer(network, plan, given, remember_bytes=limit) as scorer:
            results += [scorer.scores(masks, 2, (0, 1)), scorer.scores(masks, 2, (0, 1))]
            assert scorer.work.passes == 60
            assert scorer.work.reruns == (0 if limit > 600 else 50)
            assert scorer.remembered_bytes <= limit
    assert all(torch.equal(one, results[0]) for one in results)


def test_what_another_process_ran_is_counted_once(scorer: CandidateScorer) -> None:
    masks = some_masks(scorer.plan, 3, 2)
    for label in range(3):
        scorer.scores(masks[label], label, (label,))
    scorer.scores(masks[1, :1], 1, (0,))
    ran = scorer.ran(masks)
    assert ran.shape == (3, 2, 3)
    assert int(ran.sum()) == 7
    assert bool(ran[1, 0, 0])
    network, images = made()
    with CandidateScorer(network, scorer.plan, class_images(images)) as other:
        other.remember(masks, ran)
        assert torch.equal(other.ran(masks), ran)
        again = other.scores(masks[1], 1, (0, 1))
        assert other.work.reruns == 30
        assert other.work.passes == 10
    assert torch.equal(again, scorer.scores(masks[1], 1, (0, 1)))


def test_composed_accuracy_is_that_of_an_argmax_over_columns(scorer: CandidateScorer) -> None:
    network, images = made()
    everything = torch.ones(3, scorer.plan.channels, dtype=torch.bool)
    with torch.no_grad():
        predicted = network(prepared(torch.from_numpy(images.images))).argmax(dim=1).numpy()
    assert scorer.composed_accuracy(everything) == float((predicted == images.labels).mean())


def test_a_generation_answers_for_its_masks(scorer: CandidateScorer) -> None:
    masks = some_masks(scorer.plan, 3, 4)
    generation = Generation(scorer, masks)
    assert generation.count == 4
    assert list(generation.image_counts) == [10, 10, 10]
    rows = torch.tensor([3, 1])
    asked = [Asked(1, rows, (2,)), Asked(0, torch.tensor([2]), (1, 0))]
    first, second = generation.scores(asked)
    assert torch.equal(first, scorer.scores(masks[1, rows], 1, (2,)))
    assert torch.equal(second, scorer.scores(masks[0, 2:3], 0, (1, 0)))
    kernels = scorer.plan.kernels_per_channel
    expected = jaccard_distances(masks[0, rows], masks[2], kernels)
    assert torch.equal(generation.distances(0, rows, 2, torch.arange(4)), expected)


def test_bfloat16_is_close_and_another() -> None:
    network, images = made(dtype=torch.float32)
    plan = slicing_plan(network, (1, 8, 8))
    masks = some_masks(plan, 2)
    found = {}
    for precision in ("float32", "bfloat16"):
        given = ClassImages(
            images,
            prepare=lambda pixels: prepared(pixels).float(),
            device=torch.device("cpu"),
            micro_batch=8,
        )
        with CandidateScorer(network, plan, given, precision=precision) as scorer:
            found[precision] = scorer.scores(masks, 0, (0, 1, 2))
    assert not torch.equal(found["float32"], found["bfloat16"])
    torch.testing.assert_close(found["float32"], found["bfloat16"], rtol=0.05, atol=0.05)


def test_the_network_is_left_alone_and_threads_stay_as_they_were() -> None:
    network, images = made()
    threads, running = torch.get_num_threads(), set(threading.enumerate())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan = slicing_plan(network, (1, 8, 8))
    with CandidateScorer(network, plan, class_images(images), workers=2) as scorer:
        scorer.scores(some_masks(plan, 4), 0, (0, 1, 2))
    assert torch.get_num_threads() == threads
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert set(threading.enumerate()) <= running


def test_images_are_cut_by_class_and_only_so_many_are_kept_prepared() -> None:
    _, images = made(32)
    kept = class_images(images, micro_batch=4)
    size = 32 * 64 * 8
    assert kept.kept_bytes == size
    for limit in (0, size // 2):
        some = class_images(images, micro_batch=4, keep=limit)
        assert some.kept_bytes <= limit
        assert some.counts == kept.counts == (11, 11, 10)
        for label in range(3):
            batches, others = list(some.batches(label)), list(kept.batches(label))
            assert [len(batch) for batch in batches] == ([4, 4, 3] if label < 2 else [4, 4, 2])
            assert all(torch.equal(a, b) for a, b in zip(batches, others, strict=True))
    assert kept.total == 32
