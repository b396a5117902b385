from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.trial import masks_removing_each
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.composed import ComposedClassifier
from modularizer.assembly.masking import masked
from modularizer.classifier import Classifier, channels_outermost, predict
from modularizer.cost import count_cost
from modularizer.datasets.images import DataSplits, ImageSet
from modularizer.decomposition import Parts, Resources, decompose
from modularizer.errors import CheckpointError, DataError, ModularizerError, PlanError
from modularizer.preprocessing import Preprocessing
from modularizer.progress import Progress
from modularizer.search.bracket import BracketResult, run_bracket
from modularizer.search.diversity import diff
from modularizer.settings import DecompositionSettings, TrainingSettings
from modularizer.training import train_classifier

NAMES = ("left", "middle", "right")
SPEC = ArchitectureSpec(
    name="simple_rescnn",
    arguments={"num_classes": 3, "width": 8, "in_channels": 1, "input_size": 8},
)
SETTINGS = DecompositionSettings(
    few_groups=4, candidates=6, parents=3, generations=4, top=8, random_draws=2, seed=5
)


def image_set(count: int, seed: int) -> ImageSet:
    """Noise with a bright bar whose place is the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label + 1] += 110
    return ImageSet(images, labels, NAMES)


DATA = DataSplits(image_set(60, 0), image_set(45, 1), image_set(30, 2), "bars")


@lru_cache(maxsize=1)
def strong() -> Classifier:
    settings = TrainingSettings(epochs=6, batch_size=16, learning_rate=0.02)
    return train_classifier(DATA, SPEC, settings).classifier


@lru_cache(maxsize=1)
def parts() -> Parts:
    return decompose(strong(), DATA, SETTINGS)


def untrained(network: nn.Module, names: tuple[str, ...] = NAMES) -> Classifier:
    return Classifier(
        network, architecture=SPEC, preprocessing=strong().preprocessing, class_names=names
    )


def same(first: Parts, second: Parts) -> bool:
    return (
        torch.equal(first.masks.kept, second.masks.kept)
        and first.masks.history == second.masks.history
        and first.random_accuracy == second.random_accuracy
    )


def test_the_same_seed_finds_the_same_masks_whatever_was_drawn_before() -> None:
    torch.rand(7)
    before = torch.get_rng_state()
    assert same(parts(), decompose(strong(), DATA, SETTINGS))
    assert torch.equal(before, torch.get_rng_state())
    other = decompose(strong(), DATA, SETTINGS.model_copy(update={"seed": 6}))
    assert not torch.equal(parts().masks.kept, other.masks.kept)


def test_what_is_reported_is_what_the_modules_do() -> None:
    assert_reported_as_done(parts())


def assert_reported_as_done(found: Parts) -> None:
    composed = ComposedClassifier(found.class_modules)
    predicted = predict(composed, DATA.validation.images).argmax(axis=1)
    accuracy = float((predicted == DATA.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)
    assert found.masks.diff == diff(found.masks.kept, found.plan.kernels_per_channel)
    last = found.masks.history[-1]
    fitness = 0.9 * found.masks.accuracy + 0.1 * found.masks.diff
    assert last["fitness"] == pytest.approx(fitness)
    kept = found.plan.kernels_kept(found.masks.kept)
    assert last["kernels_kept"] == pytest.approx(float(kept.double().mean()))
    for one, count in zip(found.class_modules, kept.tolist(), strict=True):
        convs = [m for m in one.network.modules() if isinstance(m, nn.Conv2d)]
        assert sum(m.out_channels for m in convs) == count
    whole = predict(strong(), DATA.validation.images).argmax(axis=1)
    assert found.strong_accuracy == pytest.approx(float((whole == DATA.validation.labels).mean()))


def test_each_module_is_the_masked_strong_network_s_score_of_its_class() -> None:
    found, network = parts(), strong().network
    images = torch.from_numpy(DATA.test.images)
    prepared = strong().preprocessing.prepare(images)
    for label, one in enumerate(found.class_modules):
        assert one.class_name == NAMES[label]
        assert one.output == label
        assert torch.equal(one.kept, found.masks.kept[label])
        with torch.no_grad(), masked(network, found.plan, one.kept):
            expected = network(prepared)[:, label]
        with torch.no_grad():
            torch.testing.assert_close(one(images), expected, rtol=1e-4, atol=1e-4)


def test_the_best_so_far_is_never_lost() -> None:
    history = parts().masks.history
    fitness = [generation["fitness"] for generation in history]
    assert fitness == sorted(fitness)
    assert len(history) == 4


NARROW = SETTINGS.model_copy(update={"top": 1, "generations": 12, "mutation_rate": 0.4})


@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_search_keeps_and_reports_the_best_of_all_its_generations(seed: int) -> None:
    results: list[BracketResult] = []

    def remembered(*args: Any, **kwargs: Any) -> BracketResult:
        results.append(run_bracket(*args, **kwargs))
        return results[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modularizer.search.evolution.run_bracket", remembered)
        found = decompose(strong(), DATA, NARROW.model_copy(update={"seed": seed}))
    fitness = [result.fitness for result in results]
    assert fitness == sorted(fitness)  # the best so far is among each generation's models
    assert fitness == [generation["fitness"] for generation in found.masks.history]
    assert fitness[-1] == fitness[-2]  # the last generation gained nothing here
    assert found.masks.accuracy == results[-1].accuracy
    assert found.masks.diff == pytest.approx(results[-1].diff)
    assert_reported_as_done(found)


def test_every_segment_keeps_a_kernel_for_every_class() -> None:
    harsh = SETTINGS.model_copy(update={"mutation_rate": 1.0, "few_groups": 2, "generations": 6})
    found = decompose(strong(), DATA, harsh)
    for segment in found.plan.segments:
        assert bool(found.masks.kept[:, segment.channels].any(dim=1).all())


def test_random_masks_keep_as_many_channels_of_each_segment() -> None:
    found = parts()
    assert found.random_masks.shape == (2, *found.masks.kept.shape)
    assert len(found.random_accuracy) == 2
    for draw in found.random_masks:
        for segment in found.plan.segments:
            counts = draw[:, segment.channels].sum(1)
            assert torch.equal(counts, found.masks.kept[:, segment.channels].sum(1))


def test_passes_are_counted_and_fewer_than_running_everything_on_everything() -> None:
    run = {"images": 0}

    def counted(module: nn.Module, args: Any, made: Any) -> None:
        if isinstance(made, Tensor) and isinstance(module, nn.Linear) and module.out_features == 1:
            run["images"] += 0 if made.is_meta else len(made)

    hook = nn.modules.module.register_module_forward_hook(counted)
    try:
        found = decompose(strong(), DATA, SETTINGS)
    finally:
        hook.remove()
    assert same(found, parts())
    images, classes, generations = len(DATA.validation), 3, len(found.masks.history)
    assert found.passes["plain"] == generations * classes * SETTINGS.candidates * images
    assert found.passes["search"] == sum(step["passes"] for step in found.masks.history)
    assert found.passes["search"] < 0.8 * found.passes["plain"]  # three classes: little to save
    assert found.passes["sensitivity"] <= len(found.plan.segments) * 9 * classes * images
    # Each image through a head of one output is a pass; the strong model itself, the draws and
    # the checks before and after come on top.
    judged = classes * images * (1 + SETTINGS.random_draws)
    checked = 2 * len(masks_removing_each(found.plan)) + classes * 32
    counted_here = found.passes["search"] + found.passes["sensitivity"]
    assert run["images"] == counted_here + judged + checked


def test_the_search_stops_after_generations_without_gain() -> None:
    settings = SETTINGS.model_copy(
        update={
            "generations": 60,
            "patience": 2,
            "mutation_rate": 0.0,
            "candidates": 2,
            "parents": 2,
        }
    )
    history = decompose(strong(), DATA, settings).masks.history
    assert 3 <= len(history) < 60
    assert history[-3]["fitness"] == history[-1]["fitness"]


def test_progress_is_told_after_each_segment_and_generation() -> None:
    told: list[Progress] = []
    found = decompose(strong(), DATA, SETTINGS, progress=told.append)
    stages = [(p.stage, p.done, p.total) for p in told]
    segments = len(found.plan.segments)
    assert stages == [
        *(("importance", n, 3) for n in range(1, 4)),
        *(("sensitivity", n, segments) for n in range(1, segments + 1)),
        *(("search", n, 4) for n in range(1, 5)),
    ]
    assert told[-1].seconds.keys() == {"decode", "network", "bracket", "diff", "total"}
    assert (
        0
        < sum(v for k, v in told[-1].seconds.items() if k != "total")
        < 1.01 * told[-1].seconds["total"]
    )
    assert told[-1].metrics == found.masks.history[-1]


@pytest.mark.parametrize("search", ["genetic", "gradient"])
def test_the_strong_classifier_is_left_as_it_is(search: str) -> None:
    torch.manual_seed(0)
    normed = simple_rescnn(3, width=8, in_channels=1, input_size=8, batch_norm=True)
    model = fitted(normed).train()
    settings = SETTINGS.model_copy(update={"search": search})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [p.requires_grad for p in model.parameters()]
    decompose(model, DATA, settings)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == grads
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Untouchable(np.ndarray[Any, Any]):
    """Pixels that may not be looked at."""

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("test images were read")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("test images were read")


def test_test_images_are_not_looked_at() -> None:
    test = ImageSet(DATA.test.images.view(Untouchable), DATA.test.labels, NAMES)
    assert same(parts(), decompose(strong(), replace(DATA, test=test), SETTINGS))


def without(images: ImageSet, label: int) -> ImageSet:
    return images.take(images.labels != label)


def test_data_that_does_not_fit_is_refused_before_any_work() -> None:
    told: list[Progress] = []

    def refused(data: DataSplits, message: str, model: Classifier | None = None) -> None:
        with pytest.raises(DataError, match=message):
            decompose(model or strong(), data, SETTINGS, progress=told.append)

    refused(DATA.only(["left", "right", "middle"]), "in that order")
    refused(DATA.only(["left", "right"]), "the model's classes are left, middle, right")
    train, validation = without(DATA.train, 1), without(DATA.validation, 2)
    refused(replace(DATA, train=train), "class 'middle' has no training image")
    refused(replace(DATA, validation=validation), "class 'right' has no validation image")
    lone = untrained(simple_rescnn(1, width=4, in_channels=1, input_size=8), ("left",))
    refused(DATA.only(["left"]), "single class", lone)
    assert not told


class FixedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(x).relu().contiguous().view(-1, 256))
        return scores


def test_a_network_that_can_not_be_sliced_is_refused_before_any_work() -> None:
    told: list[Progress] = []
    refused = {
        "a view to a fixed width": FixedView(),
        "no convolution": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
        "ConvTranspose2d": nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 3)
        ),
        "4 scores.*3 classes": simple_rescnn(4, width=4, in_channels=1, input_size=8),
        "2 scores.*3 classes": simple_rescnn(2, width=4, in_channels=1, input_size=8),
    }
    for message, network in refused.items():
        with pytest.raises(PlanError, match=message):
            decompose(untrained(network), DATA, SETTINGS, progress=told.append)
    assert not told


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_strong_network_with_broken_weights_is_refused(value: float) -> None:
    network = simple_rescnn(3, width=4, in_channels=1, input_size=8)
    with torch.no_grad():
        next(network.parameters())[0] = value
    with pytest.raises(ModularizerError, match="gives NaN or infinite scores"):
        decompose(untrained(network), DATA, SETTINGS)


class InterruptedHereError(Exception):
    """Stands for whatever ends a process between two steps."""


def interrupted_after(steps: int, path: Path, settings: DecompositionSettings) -> bool:
    """Decompose, and stop after so many steps; whether it came to that."""
    count = 0

    def stop(_: Progress) -> None:
        nonlocal count
        count += 1
        if count == steps:
            raise InterruptedHereError

    try:
        decompose(strong(), DATA, settings, resources=Resources(checkpoint=path), progress=stop)
    except InterruptedHereError:
        return True
    return False


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"elites": 2, "adaptive_alpha": True, "first_population": "weighted"},
        {"passing": "thresholds", "least_passing": 2, "most_passing": 9, "grouping": "random"},
        {"grouping": "none", "first_population": "random", "bracket": False},
    ],
)
def test_an_interrupted_decomposition_goes_on_and_ends_the_same(
    change: dict[str, Any], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update=change)
    whole = decompose(strong(), DATA, settings)
    once, everywhere = tmp_path / "once", tmp_path / "everywhere"
    assert interrupted_after(5 + len(whole.masks.history) // 2, once, settings)
    while interrupted_after(4, everywhere, settings):  # importance and a step, then four at a time
        pass
    for path in (once, everywhere):
        told: list[Progress] = []
        resources = Resources(workers=2, checkpoint=path)
        found = decompose(strong(), DATA, settings, resources=resources, progress=told.append)
        assert same(whole, found)
        assert whole.passes == found.passes
        if path == everywhere:
            assert not told  # all was done
        for one, other in zip(whole.class_modules, found.class_modules, strict=True):
            states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
            assert all(torch.equal(a, b) for a, b in states)


def test_workers_and_memory_do_not_change_the_result() -> None:
    generous = Resources(workers=3)
    tight = Resources(workers=3, memory_limit=4 * parts().memory.candidate)
    for resources in (generous, tight):
        found = decompose(strong(), DATA, SETTINGS, resources=resources)
        assert same(parts(), found)
        assert found.passes == parts().passes
    assert found.memory.workers < 3


def test_a_checkpoint_of_other_weights_data_or_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one"
    assert interrupted_after(7, path, SETTINGS)
    changed = SETTINGS.model_copy(update={"batch_size": 3})
    other = untrained(simple_rescnn(3, width=8, in_channels=1, input_size=8))
    data = replace(DATA, validation=DATA.train)
    for model, images, settings in (
        (strong(), DATA, changed),
        (other, DATA, SETTINGS),
        (strong(), data, SETTINGS),
    ):
        with pytest.raises(CheckpointError, match="of another search"):
            decompose(model, images, settings, resources=Resources(checkpoint=path))


def test_a_strong_model_at_chance_level_is_refused_with_the_numbers() -> None:
    network = simple_rescnn(3, width=4, in_channels=1, input_size=8)
    with pytest.raises(ModularizerError, match=r"right on 0\.333 .* nothing to take apart"):
        decompose(untrained(constant(network)), DATA, SETTINGS)


def constant(network: nn.Module) -> nn.Module:
    head = network.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
    return network


def test_a_hundred_classes_can_be_taken_apart() -> None:
    names = tuple(f"class {index}" for index in range(100))
    generator = np.random.default_rng(0)
    prototypes = generator.integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)

    def of(count: int) -> ImageSet:
        labels = np.arange(count, dtype=np.int64) % 100
        noise = generator.integers(0, 10, (count, 8, 8, 1))
        return ImageSet((prototypes[labels] * 0.9 + noise).astype(np.uint8), labels, names)

    data = DataSplits(of(300), of(200), of(100), "prototypes")
    spec = ArchitectureSpec(name="simple_simcnn", arguments=HUNDRED)
    training = TrainingSettings(epochs=40, batch_size=10, learning_rate=0.02)
    model = train_classifier(data, spec, training).classifier
    settings = SETTINGS.model_copy(update={"candidates": 3, "parents": 2, "generations": 2})
    found = decompose(model, data, settings)
    assert len(found.class_modules) == 100
    assert found.strong_accuracy > 0.5
    assert found.passes["search"] < 0.6 * found.passes["plain"]


HUNDRED = {"num_classes": 100, "widths": [16], "in_channels": 1, "input_size": 8}


class WithView(nn.Module):
    """The commonest idiom there is: ``view`` after a convolution, its width left to torch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.out = nn.Linear(6 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        scores: Tensor = self.out(x.view(x.size(0), -1))
        return scores


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_takes_contiguous_images_alone_is_served_too(channels: int) -> None:
    def coloured(images: ImageSet) -> ImageSet:
        return ImageSet(images.images.repeat(channels, axis=3), images.labels, NAMES)

    train, validation, test = map(coloured, (DATA.train, DATA.validation, DATA.test))
    data = DataSplits(train, validation, test, "bars")
    torch.manual_seed(0)
    network = WithView(channels)
    prepare = Preprocessing(
        size=(8, 8), channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels
    )
    images, labels = prepare.prepare(torch.from_numpy(data.train.images)), data.train.labels
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        scores = network(channels_outermost(images))
        nn.functional.cross_entropy(scores, torch.from_numpy(labels)).backward()
        optimiser.step()
    with pytest.raises(RuntimeError, match="view size"):
        network(images)
    model = Classifier(network, architecture=SPEC, preprocessing=prepare, class_names=NAMES)
    found = decompose(model, data, SETTINGS)
    predicted = predict(ComposedClassifier(found.class_modules), data.validation.images)
    accuracy = float((predicted.argmax(axis=1) == data.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)


class PartlyCoupled(nn.Module):
    """Two convolutions, concatenated, meet a third in an addition: each has some channels."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 3, 3, padding=1)
        self.right = nn.Conv2d(1, 5, 3, padding=1)
        self.both = nn.Conv2d(1, 8, 3, padding=1)
        self.out = nn.Linear(8 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.left(x), self.right(x)], dim=1) + self.both(x)
        scores: Tensor = self.out(nn.functional.max_pool2d(joined.relu(), 2).flatten(1))
        return scores


def fitted(network: nn.Module) -> Classifier:
    prepare = strong().preprocessing
    images = prepare.prepare(torch.from_numpy(DATA.train.images)).contiguous()
    labels = torch.from_numpy(DATA.train.labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return untrained(network)


def test_a_search_empties_no_layer_that_has_some_of_its_segment_s_channels() -> None:
    torch.manual_seed(1)
    model = fitted(PartlyCoupled())
    harsh = SETTINGS.model_copy(update={"mutation_rate": 0.9, "few_groups": 8, "generations": 6})
    found = decompose(model, DATA, harsh)
    (segment,) = found.plan.segments
    assert segment.layers == ("left", "right", "both")
    for one in found.class_modules:
        assert all(
            min(m.weight.shape[:2]) >= 1
            for m in one.network.modules()
            if isinstance(m, nn.Conv2d | nn.Linear)
        )


GRADIENT = SETTINGS.model_copy(
    update={"search": "gradient", "gradient_images": 20, "kernels_budget": 0.45}
)


def test_the_gradient_search_is_behind_the_same_seam() -> None:
    found = decompose(strong(), DATA, GRADIENT)
    assert found.sensitivity is None
    kept = found.plan.kernels_kept(found.masks.kept)
    assert bool((kept <= 0.45 * found.plan.kernels).all())
    predicted = predict(ComposedClassifier(found.class_modules), DATA.validation.images)
    accuracy = float((predicted.argmax(axis=1) == DATA.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)
    assert found.masks.history[-1]["accuracy"] == found.masks.accuracy
    assert found.masks.accuracy > max(found.random_accuracy)
    steps = GRADIENT.gradient_epochs * 3 * 3 * 20  # classes x images, and back at twice the cost
    assert found.passes == {"sensitivity": 0, "search": 3 * steps + 3 * len(DATA.validation)}
    assert sum(step["passes"] for step in found.masks.history) == found.masks.passes


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gates": "hard-concrete", "multiply_adds_budget": 0.5},
        {"polish_generations": 3},
    ],
)
def test_an_interrupted_gradient_search_goes_on_and_ends_the_same(
    change: dict[str, Any], tmp_path: Path
) -> None:
    settings = GRADIENT.model_copy(update=change)
    whole = decompose(strong(), DATA, settings)
    path = tmp_path / "one"
    while interrupted_after(4, path, settings):
        pass
    found = decompose(strong(), DATA, settings, resources=Resources(checkpoint=path))
    assert same(whole, found)
    assert whole.passes == found.passes


def test_a_polish_never_harms_and_keeps_the_budget_and_the_alignment() -> None:
    plain = decompose(strong(), DATA, GRADIENT)
    polished = decompose(strong(), DATA, GRADIENT.model_copy(update={"polish_generations": 6}))
    assert polished.masks.history[-1]["fitness"] >= plain.masks.history[-1]["fitness"]
    for segment in plain.plan.segments:
        counts = polished.masks.kept[:, segment.channels].sum(dim=1)
        assert torch.equal(counts, plain.masks.kept[:, segment.channels].sum(dim=1))
    assert not torch.equal(polished.masks.kept, plain.masks.kept)


@pytest.mark.parametrize("budget", ["kernels_budget", "multiply_adds_budget"])
def test_a_polish_stays_within_the_budget_where_channels_differ_in_cost(budget: str) -> None:
    torch.manual_seed(1)
    model = fitted(PartlyCoupled())
    settings = GRADIENT.model_copy(
        update={budget: 0.5, "polish_generations": 8, "patience": 8, "polish_swaps": 1.0}
    )
    found = decompose(model, DATA, settings)
    costs = [count_cost(one.network, one.preprocessing) for one in found.class_modules]
    whole = count_cost(model.network, model.preprocessing)
    for cost in costs:
        if budget == "kernels_budget":
            assert cost.kernels <= 0.5 * whole.kernels
        else:
            assert cost.multiply_adds <= 0.5 * whole.multiply_adds


def test_a_step_of_gradients_that_takes_too_much_memory_is_refused() -> None:
    limit = 3 * parts().memory.candidate
    with pytest.raises(ModularizerError, match=r"through 3 modules takes .* fewer images a step"):
        decompose(
            strong(),
            DATA,
            GRADIENT.model_copy(update={"gradient_batch": 10_000}),
            resources=Resources(memory_limit=limit),
        )


def test_a_budget_that_can_not_be_met_is_refused() -> None:
    with pytest.raises(ModularizerError, match="can't be met"):
        decompose(strong(), DATA, GRADIENT.model_copy(update={"kernels_budget": 0.01}))


def test_a_search_may_look_at_some_of_the_validation_images_alone() -> None:
    some = decompose(strong(), DATA, SETTINGS.model_copy(update={"validation_images": 15}))
    assert some.passes["plain"] == parts().passes["plain"] * 15 // len(DATA.validation)
    assert round(some.strong_accuracy * 15, 6) == int(some.strong_accuracy * 15 + 0.5)
    with pytest.raises(DataError, match="fewer than the 3 classes"):
        decompose(strong(), DATA, SETTINGS.model_copy(update={"validation_images": 2}))
