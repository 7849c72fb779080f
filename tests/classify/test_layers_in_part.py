"""Layers on hosts of which an extent is wanted: little is fetched, and the result is that of the local file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from msgspec.structs import replace

from classify.test_labels_of_sources import classified
from conftest import MakePackage
from processes.allowed_hosts import AllowedHost
from processes.errors import RequestError
from processes.settings import Settings
from range_host import RangeHandler, RangeHost, range_host
from rasters import make_raster
from service import link, models_checked_here

COUNT, SIDE = 20_000, 20_000
LEFT, TOP = 500_000, 5_000_000


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write layers of many small squares, all over a large area."""
    folder = tmp_path_factory.mktemp("layers")
    places = np.random.default_rng(3).uniform(0, SIDE, (COUNT, 2))
    shapes = shapely.box(LEFT + places[:, 0], TOP - places[:, 1] - 4, LEFT + places[:, 0] + 4, TOP - places[:, 1])
    shapes[::1000] = None
    names = [f"house {number} of many that have a name of their own" for number in range(COUNT)]
    table = pa.table({"number": np.arange(COUNT), "name": names, "geometry": shapely.to_wkb(shapes)})
    pyogrio.write_arrow(
        table.filter(pa.array(shapes != None)),  # noqa: E711 - of each; its index takes no feature without geometry
        folder / "32633.fgb",
        driver="FlatGeobuf",
        geometry_type="Polygon",
        crs="EPSG:32633",
        geometry_name="geometry",
    )
    bounds = shapely.bounds(shapes)
    order = np.lexsort((bounds[:, 0] // 2000, bounds[:, 1] // 2000))  # as who writes a large layer sorts it
    boxes = pa.StructArray.from_arrays(
        [pa.array(edge, from_pandas=True) for edge in bounds.T], ["xmin", "ymin", "xmax", "ymax"]
    )
    covering = {"bbox": {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}}
    crs = json.loads(pyproj.CRS("EPSG:32633").to_json())
    column = {"encoding": "WKB", "geometry_types": [], "crs": crs, "covering": covering}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    covered = table.append_column("bbox", boxes).take(order).replace_schema_metadata({"geo": json.dumps(geo)})
    pq.write_table(covered, folder / "covered.parquet", row_group_size=500)
    plain = covered.drop_columns(["bbox"])
    del column["covering"]
    pq.write_table(plain.replace_schema_metadata({"geo": json.dumps(geo)}), folder / "plain.parquet")
    storage = plain["geometry"].combine_chunks()
    for name, metadata in (("native", None), ("geoparquet-2", {"geo": json.dumps(geo | {"version": "2.0.0"})})):
        native = pa.ExtensionArray.from_storage(NativeGeometry(json.dumps({"crs": crs})), storage)
        table = plain.replace_schema_metadata(metadata).set_column(2, "geometry", native)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=500)
        with pq.ParquetFile(folder / f"{name}.parquet") as file:
            column = file.metadata.row_group(0).column(2)
            assert (file.schema.column(2).logical_type.type, column.is_geo_stats_set) == ("GEOMETRY", True)
    return folder


class NativeGeometry(pa.ExtensionType):  # type: ignore[misc]
    """Geometries that pyarrow writes as Parquet's own type GEOMETRY, with statistics of where they lie."""

    def __init__(self, metadata: str) -> None:
        self._metadata = metadata
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._metadata.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> NativeGeometry:
        return cls(serialized.decode())


@pytest.fixture
def host(layers: Path) -> Iterator[RangeHost]:
    with range_host(layers) as running, models_checked_here():
        yield running


@pytest.fixture
def allowed(settings: Settings, host: RangeHost, layers: Path, make_package: MakePackage) -> Settings:
    make_package("mean")
    make_raster(
        settings.imagery[0] / "a.tif", width=1000, height=1000, transform=Affine(1, 0, LEFT + 9000, 0, -1, TOP - 9000)
    )
    roots = (*settings.imagery, layers)
    return replace(settings, hosts=(AllowedHost.parse(host.host),), imagery=roots)


def rows(settings: Settings, folder: Path, features: dict[str, Any], extent: Any, **more: Any) -> list[dict[str, Any]]:
    image = link(settings.imagery[0] / "a.tif")
    return classified(
        settings, folder, {"image": image, "features": features, "model": "mean", "extent": extent, **more}
    )


BOX = [LEFT + 9300, TOP - 9700, LEFT + 9700, TOP - 9300]
EXTENTS = {
    "its CRS": {"bbox": BOX, "crs": "EPSG:32633"},
    "CRS84": {"bbox": [15.117, 45.065, 15.122, 45.068]},
    "nothing": {"bbox": [LEFT - 900, TOP, LEFT - 800, TOP + 100], "crs": "EPSG:32633"},
    "all": {"bbox": [LEFT - 900, TOP - 90_000, LEFT + 90_000, TOP + 100], "crs": "EPSG:32633"},
}


@pytest.mark.parametrize("name", ["32633.fgb", "covered.parquet", "native.parquet", "geoparquet-2.parquet"])
@pytest.mark.parametrize("extent", EXTENTS)
def test_an_extent_costs_what_is_in_it(
    allowed: Settings, host: RangeHost, layers: Path, tmp_path: Path, name: str, extent: str
) -> None:
    modes = [{}, {"processingMode": "separate"}] if extent == "its CRS" else [{}]
    for number, more in enumerate(modes):  # ids of rows are positions in the whole layer
        expected = rows(allowed, tmp_path / f"a{number}", link(layers / name), EXTENTS[extent], **more)
        host.forget()
        found = rows(allowed, tmp_path / f"b{number}", {"href": host.link(name)}, EXTENTS[extent], **more)
        assert found == expected
        size = (layers / name).stat().st_size
        if extent == "all":
            assert len(found) == COUNT - COUNT / 1000
            assert size < host.sent_bytes < 1.5 * size
        else:
            assert host.sent_bytes < size / 3
            assert len(host.ranges) < 10
            assert (len(found) > 5) == (extent != "nothing")


def test_a_layer_that_tells_no_boxes_is_fetched_whole(
    allowed: Settings, host: RangeHost, layers: Path, tmp_path: Path
) -> None:
    expected = rows(allowed, tmp_path / "a", link(layers / "plain.parquet"), EXTENTS["its CRS"])
    found = rows(allowed, tmp_path / "b", {"href": host.link("plain.parquet")}, EXTENTS["its CRS"])
    assert found == expected
    assert host.sent_bytes > (layers / "plain.parquet").stat().st_size
    host.takes_ranges = False
    host.forget()
    found = rows(allowed, tmp_path / "c", {"href": host.link("32633.fgb")}, EXTENTS["its CRS"])
    assert len(host.ranges) == 1
    assert len(found) == len(expected)


def test_a_layer_that_changes_meanwhile_is_told(allowed: Settings, host: RangeHost, tmp_path: Path) -> None:
    def change(handler: RangeHandler, start: int, end: int) -> bool:
        if len(host.ranges) == 3:
            host.tag = "2"
        return False

    host.fault = change
    with pytest.raises(RequestError, match=r"32633\.fgb was changed") as caught:
        rows(allowed, tmp_path / "a", {"href": host.link("32633.fgb")}, EXTENTS["its CRS"])
    assert [fault.pointer for fault in caught.value.faults] == ["/inputs/features/href"]
