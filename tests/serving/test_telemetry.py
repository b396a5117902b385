from __future__ import annotations

import pytest

from serving.engine.batcher import BatchReport, Reason
from serving.telemetry import Telemetry
from tests.serving.samples import make_engine, random_images


def test_answers_are_counted_by_the_patches_that_changed_them() -> None:
    telemetry = Telemetry()
    engine = make_engine()
    answers = engine.answer(list(random_images(60, 8, 8, 1)))
    telemetry.count_answers(answers)
    assert telemetry.registry.get_sample_value("patchbay_images_total") == 60
    for patch in ("TC", "7"):
        counted = telemetry.registry.get_sample_value(
            "patchbay_changed_answers_total", {"patch": patch}
        )
        assert (counted or 0) == sum(patch in answers.changed_by(row) for row in range(60))


def test_a_stage_is_timed_though_it_fails() -> None:
    telemetry = Telemetry()
    with pytest.raises(RuntimeError), telemetry.timed("decode"):
        raise RuntimeError
    count = telemetry.registry.get_sample_value("patchbay_stage_seconds_count", {"stage": "decode"})
    assert count == 1


def test_a_batch_is_counted_by_its_size_and_its_reason() -> None:
    telemetry = Telemetry()
    telemetry.count_batch(BatchReport(5, Reason.FULL, (0.25, 0.5), 0.125, 0.0))
    telemetry.count_batch(BatchReport(3, Reason.FULL, (0.0,), 0.125, 2.0))

    def value(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(name, labels)

    assert value("patchbay_batch_images_sum", reason="full") == 8
    assert value("patchbay_batch_images_count", reason="full") == 2
    for stage, seconds, count in (("wait", 0.75, 3), ("weak", 0.25, 2), ("patches", 2.0, 1)):
        assert value("patchbay_stage_seconds_sum", stage=stage) == seconds
        assert value("patchbay_stage_seconds_count", stage=stage) == count


def test_two_instances_live_in_one_process() -> None:
    Telemetry().count_outcome("ok", "predict")
    assert Telemetry().registry.get_sample_value("patchbay_images_total") == 0


def test_totals_are_by_labels_and_of_this_instance() -> None:
    telemetry = Telemetry()
    assert telemetry.totals(telemetry.requests) == {}
    assert telemetry.totals(telemetry.images) == {(): 0}
    telemetry.count_outcome("ok", "predict")
    telemetry.count_outcome("ok", "predict")
    telemetry.count_outcome("busy", "infer")
    Telemetry().count_outcome("ok", "predict")
    assert telemetry.totals(telemetry.requests) == {("ok", "predict"): 2, ("busy", "infer"): 1}
