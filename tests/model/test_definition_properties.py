"""Whatever stands in an .emd, it is either read into a definition that holds what it promises, or refused in words."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import definition
from processes.errors import PackageError
from processes.model.definition import ModelDefinition, parse_definition
from tables import each_row

STATS = {
    name: [1.0, 2.0, 3.0, 4.0]
    for name in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
}
KEYS = {
    "Framework": "arcgis.learn.models._inferencing",
    "ModelConfiguration": "_FeatureClassifier",
    "ModelFile": "net.onnx",
    "ModelType": "ObjectClassification",
    "InferenceFunction": "ArcGISObjectClassifier.py",
    "ImageHeight": 8,
    "ImageWidth": 8,
    "ExtractBands": [0, 1, 2],
    "CropSizeFixed": 1,
    "BlackenAroundFeature": 0,
    "ImageSpaceUsed": "MAP_SPACE",
    "DataRange": [0, 1],
    "BatchSize": 4,
    "MinCellSize": 0.1,
    "MaxCellSize": {"x": 1, "y": 1, "spatialReference": {"wkid": 3857}},
    "MetaDataMode": "Labeled_Tiles",
    "NormalizationStats": STATS,
    "Normalization": {"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]},
    "Activation": "softmax",
    "Classes": [{"Value": 1, "Name": "a", "Color": [1, 2, 3]}, {"ClassValue": 2, "ClassName": "b"}],
}
"""Every key that is read, with a sound value."""
REQUIRED = {"ModelFile", "ImageHeight", "ImageWidth", "Classes"}
INNER = ["x", "y", "scale", "mean", "std", *STATS, "Value", "Name", "ClassValue", "ClassName", "Color"]
MOST_WORDS = 300
MODEST = settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["none", "MAP_SPACE", "ObjectClassification", "a", " ", "net.onnx", "\0", "é" * 200])
    | st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(INNER) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


def written(keys: dict[str, Any]) -> bytes:
    return json.dumps(keys).encode()


def outcome(emd: dict[str, Any] | bytes) -> ModelDefinition | str:
    """Return what the reader makes of an .emd, or why it does not take it."""
    try:
        return parse_definition(emd if isinstance(emd, bytes) else written(emd))
    except PackageError as err:
        return err.detail


def check(found: ModelDefinition) -> None:
    """Check what every definition promises to those who use it."""
    bands = found.bands
    if not found.network_file:
        assert found.inference_function is not None
    else:
        assert found.network_file.strip()
        assert "\\" not in found.network_file
    assert 1 <= found.chip_width <= 8192
    assert 1 <= found.chip_height <= 8192
    assert bands is None or bands
    assert all(band.strip() if isinstance(band, str) else 0 <= band < 65535 for band in bands or ())
    assert found.batch_size is None or found.batch_size >= 1
    assert all(limit is None or 0 < limit.size < math.inf for limit in (found.min_cell_size, found.max_cell_size))
    assert found.activation in (None, "softmax", "sigmoid", "none")
    if found.data_range is not None:
        low, high = np.asarray(found.data_range, np.float32)
        assert np.isfinite(high - low)
        assert found.data_range[0] < found.data_range[1]
    if found.normalization is not None:
        scale, offset = (
            np.asarray(item, np.float32) for item in (found.normalization.scale, found.normalization.offset)
        )
        assert len(scale) == len(offset) == (len(bands) if bands is not None else len(scale)) >= 1
        assert np.isfinite(scale).all()
        assert np.isfinite(offset).all()
        assert scale.all()
    assert len({item.name for item in found.classes}) == len(found.classes) >= 2
    for item in found.classes:
        assert item.name.strip()
        assert type(item.value) is int
        assert item.color is None or all(0 <= part <= 255 for part in item.color)


@MODEST
@given(st.sampled_from(sorted(KEYS)), anything)
@example("Normalization", {"mean": [0, 0, 0], "std": [1e-300, 1, 1]})
@example("Normalization", {"mean": [0, 0, 0], "std": [1e300, 1, 1]})
@example("Normalization", {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 0})
@example("ExtractBands", [1e300])
@example("ModelType", "x" * 10_000)
@example("ModelFile", "x" * 10_000)
@example("MinCellSize", {"x": 1, "y": "1"})
@example("DataRange", [-1e308, 1e308])
def test_a_key_of_any_value_is_read_or_refused_with_its_name(key: str, value: Any) -> None:
    keys = KEYS | {key: value}
    if key == "NormalizationStats":
        keys["Normalization"] = None
    found = outcome(keys)
    if isinstance(found, ModelDefinition):
        check(found)
        return
    assert len(found) < MOST_WORDS
    assert key in found or (key in ("Normalization", "NormalizationStats", "ExtractBands") and "normalisation" in found)


@MODEST
@given(st.dictionaries(st.sampled_from(sorted(KEYS)), anything, min_size=2))
def test_several_keys_of_any_value_are_read_or_refused(changes: dict[str, Any]) -> None:
    found = outcome(KEYS | changes)
    if isinstance(found, ModelDefinition):
        check(found)
    else:
        assert len(found) < MOST_WORDS


@MODEST
@given(st.sets(st.sampled_from(sorted(KEYS))))
def test_null_is_absent_for_any_set_of_keys(names: set[str]) -> None:
    nulls = outcome({name: None if name in names else value for name, value in KEYS.items()})
    assert nulls == outcome({name: value for name, value in KEYS.items() if name not in names})
    required = REQUIRED - {"ModelFile"} if "InferenceFunction" not in names else REQUIRED  # a function alone is enough
    assert isinstance(nulls, str) == bool(names & required)


@settings(MODEST, max_examples=40)
@given(st.dictionaries(st.text().filter(lambda name: name not in KEYS), anything))
def test_unknown_keys_of_any_value_change_nothing(more: dict[str, Any]) -> None:
    assert outcome(KEYS | more) == outcome(KEYS)


@MODEST
@given(
    size=st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
    bands=st.none() | st.lists(st.integers(0, 65534), min_size=1, max_size=5),
    flags=st.tuples(st.sampled_from([0, 1, False, True, 0.0, 1.0]), st.sampled_from([0, 1, False, True, 0.0, 1.0])),
    names=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=5, unique=True),
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=5, max_size=5),
    data_range=st.none() | st.tuples(st.floats(-1e30, -1e-3), st.floats(0, 1e30)),
)
def test_sound_definitions_are_read_as_they_were_written(
    size: tuple[int, int],
    bands: list[int] | None,
    flags: tuple[Any, Any],
    names: list[str],
    values: list[int],
    data_range: tuple[float, float] | None,
) -> None:
    classes = [{"Value": value, "Name": name} for value, name in zip(values, names, strict=False)]
    keys = definition(Normalization="none", ExtractBands=bands, ImageWidth=size[0], ImageHeight=size[1])
    keys |= {"CropSizeFixed": flags[0], "BlackenAroundFeature": flags[1], "Classes": classes, "DataRange": data_range}
    found = parse_definition(json.dumps(keys, ensure_ascii=False).encode("utf-8-sig"))
    assert (found.chip_width, found.chip_height) == size
    assert found.bands == (tuple(bands) if bands is not None else None)
    assert (found.fixed_size, found.blacken) == (bool(flags[0]), bool(flags[1]))
    assert [(item.value, item.name) for item in found.classes] == list(zip(values, names, strict=False))
    assert found.data_range == data_range


@MODEST
@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 40))
def test_damaged_text_is_read_or_refused(noise: bytes, place: int, length: int) -> None:
    text = written(KEYS)
    found = outcome(text[:place] + noise + text[place + length :])
    if isinstance(found, ModelDefinition):
        check(found)
    else:
        assert 0 < len(found) < MOST_WORDS


@each_row(
    ("key", "value"),
    [
        (
            "Classes",
            [{"Value": n, "Name": f"class {n}"} for n in range(50_000)] + [{"Value": 0, "Name": "class 49999"}],
        ),
        ("ExtractBands", [0] * 1_000_000),
        ("ModelType", "x" * 10_000_000),
        ("ModelFile", [[["x"]]] * 500_000),
    ],
    ids=["classes", "bands", "text", "list"],
)
def test_a_huge_value_is_refused_in_little_time_and_few_words(key: str, value: Any) -> None:
    start = time.perf_counter()
    found = outcome(KEYS | {key: value})
    assert time.perf_counter() - start < 5
    assert isinstance(found, str)
    assert key in found
    assert len(found) < MOST_WORDS


@each_row("depth", [10, 500, 1000, 1200, 1400, 1600, 100_000])
def test_deep_values_are_refused_whatever_their_depth(depth: int) -> None:
    with pytest.raises(PackageError) as caught:
        parse_definition(b'{"ModelType":' + b"[" * depth + b"]" * depth + b"}")
    assert len(caught.value.detail) < MOST_WORDS
