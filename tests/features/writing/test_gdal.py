"""What GDAL writes for us, read back by plain sqlite3 and by GDAL without Arrow's own times."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyogrio

from conftest import write_layer
from layers import make_layer, wkt
from processes.features.writing.flatgeobuf import FLATGEOBUF
from processes.features.writing.geopackage import GEOPACKAGE
from tables import each_row

TIMES = [
    "1955-03-04T10:15:59.500",  # GDAL 3.12 makes 10:16:00 of Arrow's time
    "1969-12-31T23:59:59.999",
    "0001-01-01T00:00:59.001",
    "1955-03-04T10:15:58.500",
    "1955-03-04T10:15:59",
    "1970-01-01T00:00:00",
    "2024-02-29T12:30:59.999",
    "9999-12-31T23:59:59.999",
    None,
]


@each_row(
    ("dtype", "ending"),
    [
        (pa.timestamp("ms"), ""),
        (pa.timestamp("us"), ""),
        (pa.timestamp("ms", "UTC"), "Z"),
        (pa.timestamp("us", "+05:30"), "Z"),
        (pa.timestamp("us", "Europe/Berlin"), "Z"),
    ],
    ids=str,
)
def test_times_of_every_year_are_written_to_the_millisecond(tmp_path: Path, dtype: pa.DataType, ending: str) -> None:
    moments = pa.array(TIMES).cast(pa.timestamp(dtype.unit)).cast(pa.int64()).cast(dtype)
    layer = make_layer([wkt("POINT (1 2)")] * len(TIMES), pa.table({"when": moments}))
    expected = [text if text is None else text + ending for text in TIMES]
    path, _ = write_layer(layer, GEOPACKAGE, tmp_path)
    with closing(sqlite3.connect(path)) as database:
        assert [text for (text,) in database.execute('SELECT "when" FROM result ORDER BY fid')] == expected
        assert ("when", "DATETIME") in database.execute("SELECT name, type FROM pragma_table_info('result')").fetchall()
    path, _ = write_layer(layer, FLATGEOBUF, tmp_path)
    table = pyogrio.read_arrow(path, datetime_as_string=True)[1]
    assert table.schema.field("when").metadata[b"GDAL:OGR:type"] == b"DateTime"
    assert table.column("when").to_pylist() == expected
