"""Metrics for operators, in the format of Prometheus. Every web process has the same: they come from the job store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pygeoapi.api import API

from processes.jobs.manager import JobManager
from processes.jobs.store import JobStore
from processes.web.views import View

_COUNTERS = {
    "jobs": ("classify_jobs_ended", "Jobs that have ended, by status", ["status"]),
    "sections": ("classify_sections", "Sections and other steps that slots have run, by outcome", ["outcome"]),
    "section_seconds": ("classify_section_seconds", "Seconds that slots have spent on steps, by outcome", ["outcome"]),
    "objects": ("classify_objects", "Objects processed", []),
    "model_loads": ("classify_model_loads", "Models that slots have loaded", []),
}
"""Name, help text and labels of each counter that runners write."""


def metrics_view(api: API) -> View:
    """Return the view of all metrics."""

    def metrics() -> Response:
        registry = CollectorRegistry()
        registry.register(_StoreCollector(cast(JobManager, api.manager).intake.store))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return metrics


class _StoreCollector(Collector):
    """Reads the job store at every request."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        queue = GaugeMetricFamily("classify_jobs", "Jobs that wait or run", labels=["status"])
        for status, number in self._store.queue().items():
            queue.add_metric([status], number)
        yield queue
        counts = self._store.counts()
        for counter, (name, help_text, labels) in _COUNTERS.items():
            family = CounterMetricFamily(name, help_text, labels=labels)
            for (kind, label), value in sorted(counts.items()):
                if kind == counter:
                    family.add_metric([label] if labels else [], value)
            yield family
