"""The summary of a result: the model, and what was found of each class and status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from processes.classify.labels import ClassStatus, Labels
from processes.classify.planning.sources import PlannedRows, Sources
from processes.features.writing.class_style import ClassStyle, hex_color


def counts_summary(rows: PlannedRows, labels: Labels) -> dict[str, Any]:
    """Return the model, counts by class and by status, and the classes with their colours.

    Args:
        rows: the rows.
        labels: of the rows.
    """
    sources = rows.sources
    classes, by_status = sources.model.definition.classes, np.bincount(labels.status, minlength=len(ClassStatus))
    counted, counts = counted_classes(sources, labels), dict.fromkeys((item.name for item in classes), 0)
    for item in counted:
        counts[item["name"]] += item["count"]
    return {
        "model": {"id": sources.model.id, "sha256": sources.model.sha256},
        "counts": counts,
        "classes": counted,
        "status": {
            item.label: int(by_status[item]) for item in ClassStatus if by_status[item] or item is ClassStatus.OK
        },
    }


def counted_classes(sources: Sources, labels: Labels) -> list[dict[str, Any]]:
    """Return the classes with their colours, and how many rows have each."""
    classes, colors = sources.model.definition.classes, class_style(sources).colors
    return [
        {"name": item.name, "value": item.value, "color": hex_color(color), "count": number}
        for item, color, number in zip(classes, colors, class_counts(sources, labels), strict=True)
    ]


def class_style(sources: Sources) -> ClassStyle:
    """Return how a map shows the classes of a run."""
    classes = tuple((item.name, item.color) for item in sources.model.definition.classes)
    return ClassStyle(sources.options.label_field, classes)


def class_counts(sources: Sources, labels: Labels) -> Sequence[int]:
    """Return how many rows have each class as their label, or as one of several, in the model's order."""
    definition = sources.model.definition
    if labels.values is not None:
        names = [item.name for item in definition.classes]
        by_name = _counts_of_labels(labels, names, definition.multi_label)
        return [by_name.pop(name, 0) for name in names]  # of classes that share a name the first one has them all
    if definition.multi_label and labels.scores is not None:
        found = (labels.scores >= sources.arguments.score_threshold).sum(axis=0)
    else:
        found = np.bincount(labels.winner[labels.status == ClassStatus.OK], minlength=len(definition.classes))
    return [int(number) for number in found]


def _counts_of_labels(labels: Labels, names: Collection[str], multi_label: bool) -> Counter[str]:
    """Return how often a raster function gave each class as a label, or as one of several.

    Args:
        labels: of the rows.
        names: of the classes.
        multi_label: True = names are joined by `;`.
    """
    given = [] if labels.values is None else labels.values.labels[labels.status == ClassStatus.OK].tolist()
    counted: Counter[str] = Counter()
    for label, count in Counter(given).items():
        for name in label.split(";") if multi_label and label not in names else [label]:
            counted[name] += count if name in names else 0
    return Counter({name: counted[name] for name in names})
