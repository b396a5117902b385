from __future__ import annotations

import pytest

from serving.telemetry import Telemetry
from tests.serving.samples import make_engine, random_images


def test_answers_are_counted_by_the_patches_that_changed_them() -> None:
    telemetry = Telemetry()
    predictions = make_engine().answer(list(random_images(60, 8, 8, 1)))
    telemetry.count_answers(predictions)
    assert telemetry.registry.get_sample_value("patchbay_images_total") == 60
    for patch in ("TC", "7"):
        counted = telemetry.registry.get_sample_value(
            "patchbay_changed_answers_total", {"patch": patch}
        )
        assert (counted or 0) == sum(patch in p.changed_by for p in predictions)


def test_a_stage_is_timed_though_it_fails() -> None:
    telemetry = Telemetry()
    with pytest.raises(RuntimeError), telemetry.timed("decode"):
        raise RuntimeError
    count = telemetry.registry.get_sample_value("patchbay_stage_seconds_count", {"stage": "decode"})
    assert count == 1


def test_two_instances_live_in_one_process() -> None:
    Telemetry().count_outcome("ok")
    assert Telemetry().registry.get_sample_value("patchbay_images_total") == 0
