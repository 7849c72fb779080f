"""Values against schemas: what is taken without jsonschema, jsonschema takes too."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processes.classify.description import describe
from processes.ogc.schema import fits_simply
from processes.ogc.schema_faults import schema_faults

SCHEMAS = [item["schema"] for item in describe(["roofs", "trees"])["inputs"].values()]
WORDS = st.sampled_from(["mosaic", "CPU", "roofs", "ClassLabel", "9a", "storm-damage", "storm\n", "a\n", ""])
VALUES = st.recursive(
    WORDS | st.text() | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


@given(VALUES)
def test_what_is_taken_without_jsonschema_has_no_fault(value: Any) -> None:
    for schema in SCHEMAS:
        if fits_simply(value, schema):
            assert not schema_faults(value, schema, "name", "/inputs/name")


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        ("mosaic", {"type": "string", "enum": ["mosaic", "separate"], "default": "mosaic"}, True),
        ("other", {"type": "string", "enum": ["mosaic", "separate"]}, False),
        ("a1", {"type": "string", "pattern": "^[a-z][0-9]$"}, True),
        ("a1\n", {"type": "string", "pattern": "^[a-z][0-9]$"}, False),
        ({"a": 1}, {"type": "object", "default": {}}, True),
        ({"a": 1}, {"type": "object", "required": ["b"]}, False),
        (1, {"type": "string"}, False),
        (1, {"type": "integer"}, False),  # it may fit: jsonschema says so
    ],
)
def test_texts_and_objects_are_seen_to_fit(value: Any, schema: dict[str, Any], fits: bool) -> None:
    assert fits_simply(value, schema) is fits


def test_values_that_fit_need_no_jsonschema() -> None:
    program = (
        "import sys; from processes.ogc.values import check_value\n"
        "assert not check_value('CPU', {'type': 'string', 'enum': ['CPU']}, 'processorType', '')\n"
        "assert 'jsonschema' not in sys.modules\n"
        "assert check_value('TPU', {'type': 'string', 'enum': ['CPU']}, 'processorType', '')\n"
        "assert 'jsonschema' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
