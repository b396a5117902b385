"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.answers import Answers
    from serving.engine.batcher import BatchReport
    from serving.residency.parts import ResidentPart

_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """Counters, gauges and histograms of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "patchbay_requests",
            "Requests with images by outcome (ok, or the code of the error) and route (predict, or "
            "infer of the Open Inference Protocol).",
            ["outcome", "route"],
            registry=self.registry,
        )
        self.images = Counter(
            "patchbay_images", "Images that were answered.", registry=self.registry
        )
        self.changed = Counter(
            "patchbay_changed_answers",
            "Answers that a patch moved away from the weak model's, by the patch's class.",
            ["patch"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "patchbay_stage_seconds",
            "Seconds by stage: read, decode, wait and answer of a request, "
            "weak and patches of a batch.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "patchbay_batch_images",
            "Images of a batch, by why it began: full, waited (long enough), at_once.",
            ["reason"],
            buckets=_IMAGES,
            registry=self.registry,
        )

        self.reloads = Counter(
            "patchbay_reloads",
            "Looks at where the alias stands that found something: swapped, failed (the old "
            "version goes on), unreachable (the registry), from_cache (at the start).",
            ["outcome"],
            registry=self.registry,
        )
        self.active = Gauge(
            "patchbay_active_version",
            "1 for the version that answers, 0 for those that did before.",
            ["name", "version"],
            registry=self.registry,
        )
        self.resident = Gauge(
            "patchbay_resident_bytes",
            "Bytes of each network in memory, weak models and patches; 0 once it is evicted.",
            ["part"],
            registry=self.registry,
        )
        self._last_active: tuple[str, str] | None = None
        self._known_parts: set[str] = set()

    def exposition(self) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and the content type of that."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def count_outcome(self, outcome: str, route: str) -> None:
        """A request ended: "ok", or with the error of that code."""
        self.requests.labels(outcome, route).inc()

    def count_answers(self, answers: Answers) -> None:
        """These images were answered."""
        self.images.inc(len(answers))
        for row in np.flatnonzero(answers.labels != answers.weak_labels):
            for patch in answers.changed_by(int(row)):
                self.changed.labels(patch).inc()

    def count_batch(self, report: BatchReport) -> None:
        """A batch went through the networks."""
        self.batch_images.labels(report.reason.value).observe(report.images)
        for seconds in report.waited_seconds:
            self.observe("wait", seconds)
        self.observe("weak", report.weak_seconds)
        if report.patches_seconds:
            self.observe("patches", report.patches_seconds)

    def count_reload(self, outcome: str) -> None:
        """It was looked where the alias stands, and something came of it."""
        self.reloads.labels(outcome).inc()

    def note_active(self, name: str, version: int) -> None:
        """From now on this version answers."""
        if self._last_active is not None:
            self.active.labels(*self._last_active).set(0)
        self._last_active = (name, str(version))
        self.active.labels(*self._last_active).set(1)

    def note_parts(self, parts: Sequence[ResidentPart]) -> None:
        """These networks are in memory now, and no others."""
        now = {part.name: part.size_bytes for part in parts}
        for name in self._known_parts - set(now):
            self.resident.labels(name).set(0)
        for name, size_bytes in now.items():
            self.resident.labels(name).set(size_bytes)
        self._known_parts |= set(now)

    def totals(self, counter: Counter) -> dict[tuple[str, ...], int]:
        """What one of these counters has counted in this process, by its labels' values.

        Args:
            counter: one that counts wholes.
        """
        return {
            tuple(sample.labels.values()): int(sample.value)
            for metric in counter.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }

    def observe(self, stage: str, seconds: float) -> None:
        """A stage took that long for one request or batch."""
        self.seconds.labels(stage).observe(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe how long the block takes, error or not."""
        began = perf_counter()
        try:
            yield
        finally:
            self.observe(stage, perf_counter() - began)
