"""Attributes of any type of Arrow as the formats can hold them, against Python's own values."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa

from processes.features.reading.attributes import plain_table
from tables import each_row


@each_row(
    "dtype",
    [
        pa.decimal128(9, 2),
        pa.decimal128(15, 0),
        pa.decimal128(15, 15),
        pa.decimal128(12, 20),
        pa.decimal128(12, 30),
        pa.decimal128(9, -3),
        pa.decimal256(15, 7),
        pa.decimal64(15, 3),
        pa.decimal32(9, 2),
    ],
    ids=str,
)
def test_decimals_are_the_nearest_doubles(dtype: pa.DataType) -> None:
    # Arrow's cast gives 50.370000000000005 for 50.37 (pyarrow 26)
    largest = 10**dtype.precision - 1
    numbers = [
        5037,
        -5037,
        0,
        1,
        largest,
        -largest,
        *np.random.default_rng(0).integers(-largest, largest, 500).tolist(),
    ]
    values = [None if index % 7 == 3 else Decimal(number).scaleb(-dtype.scale) for index, number in enumerate(numbers)]
    column = pa.chunked_array([pa.array(values, dtype), pa.array(values[:5], dtype)[2:], pa.array([], dtype)])
    found = plain_table(pa.table({"price": column})).column("price")
    assert found.type == pa.float64()
    assert found.to_pylist() == [None if value is None else float(value) for value in [*values, *values[2:5]]]
