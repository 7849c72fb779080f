"""Figures for operators, as Prometheus reads them: what the store knows, the same from every web process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pygeoapi.api import API

from processes.jobs.manager import JobManager
from processes.jobs.store import JobStore

_COUNTERS = {
    "jobs": ("classify_jobs_ended", "Jobs that ended, by how", ["status"]),
    "sections": ("classify_sections", "Sections and other steps that slots did, by what came of them", ["outcome"]),
    "section_seconds": ("classify_section_seconds", "Seconds that slots spent on them", ["outcome"]),
    "objects": ("classify_objects", "Objects done", []),
    "model_loads": ("classify_model_loads", "Networks that slots opened", []),
}
"""Name, words and label of each counter that runners keep."""


def metrics_view(api: API) -> Callable[[], Any]:
    """Return the view of all figures."""

    def metrics() -> Response:
        registry = CollectorRegistry()
        registry.register(_StoreCollector(cast(JobManager, api.manager).intake.store))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return metrics


class _StoreCollector(Collector):
    """Reads the store each time it is asked."""

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
        for counter, (name, words, labels) in _COUNTERS.items():
            family = CounterMetricFamily(name, words, labels=labels)
            for (kind, label), value in sorted(counts.items()):
                if kind == counter:
                    family.add_metric([label] if labels else [], value)
            yield family
