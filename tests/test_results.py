"""Results over HTTP, from every input format in every output format, as other readers find them."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner
from pyarrow import parquet

from conftest import definition, save_mean_network
from odd_crs import claiming, esri, unknown_datum
from oracle import transformed
from processes.programs.cli import main
from rasters import make_raster
from result_readers import (
    CSV,
    FLATGEOBUF,
    FORMATS,
    GEOJSON,
    GEOPACKAGE,
    NO_SUMMARY,
    PARQUET,
    SEQUENCE,
    TABLE,
    Found,
    flatgeobuf_header,
    read_result,
)
from result_standards import check_geopackage, check_geoparquet
from service import Client, configure, link, load_application
from tables import each_row

UTM, CRS84 = "EPSG:32633", "OGC:CRS84"
X, Y = 500_000, 5_000_000
"""Upper left corner of the image, whose left half is black and whose right half is white."""
DARK, BRIGHT, FAR = (X + 3.3, Y - 9.1), (X + 27.7, Y - 15 + 0.1 + 0.2), (X + 900.0, Y + 900.0)
SURE = round(1 / (1 + np.exp(-0.5)), 6)
"""The network's probability of black or white: logits 0 and ±0.5."""
ADDED = ("ClassLabel", "ClassValue", "Confidence", "ClassStatus")
OK_DARK, OK_BRIGHT = ("dark", 10, SURE, "ok"), ("bright", 20, SURE, "ok")
OUTSIDE, EMPTY = (None, None, None, "outside-image"), (None, None, None, "empty-geometry")
LABELS = (OK_DARK, OK_BRIGHT, EMPTY, OUTSIDE, OK_BRIGHT)
"""What the five features of each layer below get."""


class Absent:
    """Stands for an attribute that a feature of GeoJSON does not have."""


ABSENT = Absent()


@dataclass(frozen=True)
class Case:
    """Five features, as they are known by hand."""

    write: Callable[[Case, Path], Path | dict[str, Any]]
    """Makes the input: a file, or GeoJSON in the request."""
    ids: Sequence[Any] | None
    attributes: Mapping[str, Sequence[Any]]
    """Values by name; `ABSENT` for what a feature does not have."""
    geometry: Sequence[Any]
    crs: str
    types: Mapping[str, pa.DataType] | None = None
    """Of attributes in files that have types."""


def boxes(crs: str = UTM, clockwise: bool = False) -> list[Any]:
    found = [
        None if xy is None else shapely.box(*xy, xy[0] + 2.2, xy[1] + 3.4) for xy in (DARK, BRIGHT, None, FAR, BRIGHT)
    ]
    shapes = [shape if shape is None or crs == UTM else transformed(shape, UTM, crs) for shape in found]
    return [None if shape is None else shapely.orient_polygons(shape, exterior_cw=clockwise) for shape in shapes]


def measured(dimensions: str) -> list[Any]:
    """Return lines with heights or measures or both."""
    extra = {"Z": [7.25], "M": [-3.5], "ZM": [7.25, -3.5]}[dimensions]
    texts = [
        f"LINESTRING {dimensions} ({', '.join(' '.join(map(str, [x + by, y, *extra])) for by in (0, 1.1))})"
        for x, y in (DARK, BRIGHT, FAR, BRIGHT)
    ]
    shapes = [shapely.from_wkt(text) for text in texts]
    return [*shapes[:2], None, *shapes[2:]]


def write_geojson(case: Case, _: Path) -> dict[str, Any]:
    features: list[dict[str, Any]] = []
    for place, shape in enumerate(case.geometry):
        properties = {name: values[place] for name, values in case.attributes.items() if values[place] is not ABSENT}
        geometry = None if shape is None else json.loads(shapely.to_geojson(shape))
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
        if case.ids is not None and case.ids[place] is not None:
            features[-1]["id"] = case.ids[place]
    crs = {"type": "name", "properties": {"name": case.crs}}
    return {"type": "FeatureCollection", "features": features, **({} if case.crs == CRS84 else {"crs": crs})}


def arrow_table(case: Case, geometry: str) -> pa.Table:
    columns: dict[str, Any] = {}
    if case.ids is not None:
        columns["fid"] = pa.array(case.ids, pa.int64())
    columns |= {name: pa.array(values, (case.types or {}).get(name)) for name, values in case.attributes.items()}
    texts = shapely.to_wkb(np.array(case.geometry, dtype=object), output_dimension=4, flavor="iso")
    return pa.table(columns | {geometry: pa.array(texts, pa.binary())})


def write_gdal(ending: str, **options: Any) -> Callable[[Case, Path], Path]:
    def write(case: Case, folder: Path) -> Path:
        path = folder / f"objects{ending}"
        kind = next(shape for shape in case.geometry if shape is not None)
        suffix = {"POLYGON": "Polygon", "LINESTRING": "LineString", "LINESTRING Z": "LineString Z",
                  "LINESTRING M": "Measured LineString", "LINESTRING ZM": "Measured 3D LineString"}  # fmt: skip
        geometry_type = suffix[kind.wkt.split("(")[0].strip()]
        pyogrio.write_arrow(
            arrow_table(case, "geom"), path, geometry_name="geom", geometry_type=geometry_type, crs=case.crs, **options
        )
        if ending != ".shp":
            return path
        with zipfile.ZipFile(folder / "objects.zip", "w") as archive:
            for part in folder.glob("objects.*"):
                if part.suffix != ".zip":
                    archive.write(part, part.name)
        return folder / "objects.zip"

    return write


def write_geoparquet(case: Case, folder: Path) -> Path:
    crs = pyproj.CRS(case.crs).to_json_dict()
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": crs}
    geo = {"version": "1.1.0", "primary_column": "shape", "columns": {"shape": column}}
    table = arrow_table(case, "shape").replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, folder / "objects.parquet")
    return folder / "objects.parquet"


LARGE = 2**53 + 1
INSTANT = dt.datetime(2024, 2, 29, 12, 30, 1, 250_000, dt.UTC)
LOCAL = dt.datetime(1969, 7, 20, 20, 17, 40)  # noqa: DTZ001 - without a zone
DAY = dt.date(2024, 2, 29)
JSON_ATTRIBUTES: dict[str, Sequence[Any]] = {
    "name": ['é "q", 😀\nnext', "", None, "=1+1", " blank "],
    "count": [LARGE, -1, 0, None, 2**62],
    "share": [0.1 + 0.2, -1e-300, None, 5.5, 1e22],
    "flag": [True, None, False, True, False],
    "nested": [{"a": [1, None, {"b": "é"}]}, [], None, {}, [[1.5]]],
    "some": [ABSENT, 1, ABSENT, 2, ABSENT],
    "ragged": [ABSENT, None, LARGE, 2, ABSENT],
    "mixed": [ABSENT, None, "x", 1, True],
}
MIXED_AS_TEXTS = [None, None, "x", "1", "true"]
"""How formats whose columns have one type give the last of these attributes."""
NUMBERS = {"n": [5, 4, 3, 2, 1]}

CASES = {
    "geojson-int-ids": Case(write_geojson, [3, 7, 12, 40, 2**40], JSON_ATTRIBUTES, boxes(CRS84), CRS84),
    "geojson-descending-ids": Case(write_geojson, [9, 3, 12, 0, -4], NUMBERS, boxes(CRS84), CRS84),
    "geojson-text-ids": Case(write_geojson, ["b", "a", "é b", "10", "9"], NUMBERS, boxes(), UTM),
    "geojson-mixed-ids": Case(write_geojson, [1, "a", None, 2.5, 7], NUMBERS, boxes(CRS84), CRS84),
    "geojson-no-ids": Case(write_geojson, None, {}, boxes(CRS84), CRS84),
    "geopackage": Case(
        write_gdal(".gpkg", driver="GPKG", layer="Häuser"),
        [2, 5, 7, 11, LARGE],
        {
            "day": [DAY, None, dt.date(1899, 12, 31), DAY, DAY],
            "instant": [INSTANT, None, INSTANT, INSTANT, INSTANT],
            "count": [LARGE, None, -LARGE, 0, 2**62 + 1],
            "flag": [True, False, None, True, False],
            "größe": ["ä", None, "", "b", 'c;"d"'],
            "share": [0.1 + 0.2, None, 1e-300, -5.5, 1e300],
        },
        boxes(),
        UTM,
        {"instant": pa.timestamp("ms", "UTC"), "count": pa.int64()},
    ),
    **{
        f"geopackage-{dimensions}": Case(
            write_gdal(".gpkg", driver="GPKG"), [0, 1, 2, 3, 4], NUMBERS, measured(dimensions), UTM
        )
        for dimensions in ("Z", "M", "ZM")
    },
    "flatgeobuf": Case(
        write_gdal(".fgb", driver="FlatGeobuf", SPATIAL_INDEX="NO"),
        None,
        {"count": [LARGE, None, 3, 4, 5], "text": ["a", None, "ß", "", "d"], "when": [INSTANT, None, *[INSTANT] * 3]},
        boxes("EPSG:3857"),
        "EPSG:3857",
        {"when": pa.timestamp("ms", "UTC")},
    ),
    "shapefile": Case(
        write_gdal(".shp", driver="ESRI Shapefile", encoding="UTF-8"),
        None,
        {"Straße": ["Müller", None, "ß", "é", "x"], "day": [DAY, None, DAY, DAY, dt.date(1900, 1, 1)], "n": [1, 2, None, 4, 5]},
        boxes(clockwise=True),
        UTM,
        {"n": pa.int32()},
    ),
    "geoparquet": Case(
        write_geoparquet,
        None,
        {
            "list": [[1, None, 3], None, [], [4], [5]],
            "record": [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None, {"a": 2, "b": []}, {"a": LARGE, "b": ["ü"]}],
            "money": [Decimal("1234.50"), None, Decimal("-0.01"), Decimal("0.00"), Decimal("9.99")],
            "local": [LOCAL, None, LOCAL, LOCAL, LOCAL],
            "blob": [b"\x00\xff", None, b"", b"a", b"b"],
            "unsigned": [2**63 - 1, None, 1, 2, 3],
        },
        boxes(),
        UTM,
        {
            "list": pa.list_(pa.int64()),
            "record": pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
            "money": pa.decimal128(9, 2),
            "local": pa.timestamp("ns"),
            "unsigned": pa.uint64(),
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("results")
    models = {
        "brightness": definition(),
        "several": definition(MetaDataMode="MultiLabeled_Tiles", Activation="sigmoid"),
        "odd-names": definition(Classes=ODD_CLASSES),
    }
    for name, emd in models.items():
        folder = home / "models" / name
        folder.mkdir(parents=True)
        save_mean_network(folder / "net.onnx", 3, None)
        (folder / "m.emd").write_text(json.dumps(emd))
    (home / "imagery").mkdir()
    values = np.zeros((3, 48, 64), np.uint8)
    values[:, :, 32:] = 255
    for name in ("a.tif", "b.tif"):
        make_raster(home / "imagery" / name, values=values)
    make_raster(home / "imagery" / "plain.png", crs=None, driver="PNG", values=values[:, :, 32:])
    for name, case in CASES.items():
        (home / "imagery" / name).mkdir()
        made = case.write(case, home / "imagery" / name)
        SENT[name] = link(made) if isinstance(made, Path) else made
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Client:
    return Client(load_application(configure(home, models=[home / "models"], imagery=[home / "imagery"])))


@dataclass(frozen=True)
class Asking:
    """The service, an image and a folder for the answers."""

    client: Client
    home: Path
    folder: Path

    def inputs(self, case: str | None, **more: Any) -> dict[str, Any]:
        own = {} if case is None else {"features": SENT[case]}
        return {"image": link(self.home / "imagery" / "a.tif"), "model": "brightness", **own, **more}

    def post(self, body: Any, **headers: str) -> Any:
        """Return the response to a request whose members keep their order: the test client's own JSON sorts them."""
        url, own = "/processes/classify-objects/execution", {"Content-Type": "application/json"}
        return self.client.http.post(url, data=json.dumps(body), headers=own | headers, buffered=True)

    def raw(self, media_type: str, case: str | None, **more: Any) -> bytes:
        """Return the answer in a format."""
        outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
        response = self.post({"inputs": self.inputs(case, **more), "outputs": outputs})
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"].split(";")[0] == media_type
        data: bytes = response.data
        return data

    def found(self, media_type: str, case: str | None, **more: Any) -> Found:
        """Return the answer in a format as another reader finds it."""
        return read_result(media_type, self.raw(media_type, case, **more), self.folder)


@pytest.fixture
def asking(client: Client, home: Path, tmp_path: Path) -> Asking:
    return Asking(client, home, tmp_path)


SENT: dict[str, Any] = {}
"""The features of a request by the case's name."""
ODD_CLASSES: list[dict[str, Any]] = [
    {"Value": 1, "Name": 'say "hi", a.b; größe 😀 ' + "x" * 70, "Color": [0, 0, 0]},
    {"Value": -2, "Name": "it's <&>", "Color": [255, 255, 255]},
]


def same(found: Any, wanted: Any, media_type: str) -> Any:
    """Say whether a value is the wanted one, in the words that a format has for it."""
    is_text = media_type == CSV
    match wanted:
        case None | Absent():
            return found is None or (is_text and found == "")
        case bool():
            return found == str(wanted).lower() if is_text else found == wanted
        case int():
            return found == str(wanted) if is_text else type(found) is int and found == wanted
        case float() | Decimal():
            return float(found) == float(wanted)
        case dt.datetime():
            when = dt.datetime.fromisoformat(found) if isinstance(found, str) else found
            return when == wanted
        case dt.date():
            # FlatGeobuf has no type for dates alone
            return found in (wanted, wanted.isoformat()) or (media_type == FLATGEOBUF and found == f"{wanted}T00:00:00")
        case dict() | list():
            return (json.loads(found) if isinstance(found, str) else found) == wanted
        case bytes():
            return (base64.b64decode(found) if isinstance(found, str) else found) == wanted
        case _:
            # a column of values of several types is one of texts
            return found == wanted


def columns_of(labels: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    return dict(zip(ADDED, zip(*labels, strict=True), strict=True))


def plain_ids(ids: Sequence[Any]) -> list[Any]:
    """Return ids as a column has them: texts where they are of several types."""
    is_mixed = len({type(item) for item in ids if item is not None}) > 1
    return [None if item is None else str(item) if is_mixed else item for item in ids]


def leading_columns(media_type: str, ids: Sequence[Any] | None) -> dict[str, list[Any]]:
    """Return the columns that tell the rows apart, before the attributes."""
    count = 5
    ascend = ids is not None and all(type(i) is int for i in ids) and list(ids) == sorted(set(ids)) and ids[0] >= 0
    own = {} if ids is None else {"id": plain_ids(ids)}
    match media_type:
        case "application/geo+json" | "application/geo+json-seq":
            return {}
        case "application/geopackage+sqlite3":
            return {"fid": list(ids or ())} if ascend else {"fid": list(range(1, count + 1)), **own}
        case "application/json":
            return {"id": [str(place if item is None else item) for place, item in enumerate(ids or [None] * count, 1)]}
        case _:
            return own


def assert_rows(found: Found, wanted: Mapping[str, Sequence[Any]], media_type: str) -> None:
    if media_type in (GEOJSON, SEQUENCE):
        there = [[name for name in wanted if wanted[name][place] is not ABSENT] for place in range(len(found.rows))]
        assert [list(row) for row in found.rows] == there
    else:
        assert found.names == list(wanted)
    assert len(found.rows) == len(next(iter(wanted.values())))
    for place, row in enumerate(found.rows):
        for name, values in wanted.items():
            value = values[place]
            assert same(row.get(name), value, media_type), (place, name, row.get(name), value)


def assert_geometry(found: Found, case: Case, media_type: str, crs: str) -> None:
    """Compare vertex by vertex, bit for bit where the CRS is the input's."""
    if media_type == TABLE:
        assert found.geometry is None
        return
    assert found.geometry is not None
    if media_type != CSV:
        assert found.crs is not None
        assert found.crs.equals(pyproj.CRS(crs), ignore_axis_order=True)
    keeps_measures = media_type in (GEOPACKAGE, FLATGEOBUF, CSV)
    for one, shape in zip(found.geometry, case.geometry, strict=True):
        if shape is None:
            assert one is None
            continue
        wanted = shape if keeps_measures or not shape.has_m else without_m(shape)
        assert (one.geom_type, one.has_z, one.has_m) == (wanted.geom_type, wanted.has_z, wanted.has_m)
        there, given = coordinates(one), coordinates(wanted)
        if crs != case.crs:
            transformer = pyproj.Transformer.from_crs(case.crs, crs, always_xy=True)
            given[:, :2] = np.column_stack(transformer.transform(given[:, 0], given[:, 1]))
            np.testing.assert_allclose(there, given, rtol=0, atol=1e-9 if crs == CRS84 else 1e-6)
        else:
            assert there.tobytes() == given.tobytes()


def coordinates(shape: Any) -> Any:
    return shapely.get_coordinates(shape, include_z=shape.has_z, include_m=shape.has_m)


def without_m(shape: Any) -> Any:
    return shapely.from_wkb(shapely.to_wkb(shape, output_dimension=3 if shape.has_z else 2))


def assert_summary(found: Found, labels: Sequence[tuple[Any, ...]], media_type: str) -> None:
    if media_type in NO_SUMMARY:
        assert found.summary is None
        return
    summary = found.summary
    assert set(summary) - {"crs"} == {"model", "counts", "classes", "status", "warnings", "software"}
    assert ("crs" in summary) == (found.geometry is not None)
    if found.geometry is not None:
        assert pyproj.CRS(summary["crs"]).equals(found.crs or pyproj.CRS(CRS84), ignore_axis_order=True)
    assert summary["status"] == {
        name: [row[3] for row in labels].count(name) for name in dict.fromkeys(["ok", *(row[3] for row in labels)])
    }
    assert summary["counts"] == {name: [row[0] for row in labels].count(name) for name in ("dark", "bright")}
    assert {item["name"]: item["count"] for item in summary["classes"]} == summary["counts"]
    assert [item["value"] for item in summary["classes"]] == [10, 20]
    assert all(re.fullmatch("#[0-9a-f]{6}", item["color"]) for item in summary["classes"])


@pytest.mark.parametrize(
    ("name", "media_type"),
    # a sequence is written as a GeoJSON is
    [
        (name, item)
        for name in CASES
        for item in FORMATS
        if item != SEQUENCE or name in ("geojson-mixed-ids", "geopackage")
    ],
)
def test_every_input_format_in_every_output_format(asking: Asking, name: str, media_type: str) -> None:
    case = CASES[name]
    found = asking.found(media_type, name)
    wanted = {**leading_columns(media_type, case.ids), **case.attributes, **columns_of(LABELS)}
    if "mixed" in wanted and media_type not in (GEOJSON, SEQUENCE):
        wanted["mixed"] = MIXED_AS_TEXTS
    assert_rows(found, wanted, media_type)
    if media_type in (GEOJSON, SEQUENCE):
        assert found.ids == list(case.ids or [None] * 5)
        assert [type(item) for item in found.ids] == [type(item) for item in case.ids or [None] * 5]
    assert_geometry(found, case, media_type, CRS84 if media_type in (GEOJSON, SEQUENCE) else case.crs)
    assert_summary(found, LABELS, media_type)


# Names that formats need for themselves

TAKEN = {"id": [1] * 5, "ID": [2] * 5, "fid": [3] * 5, "FID": [4] * 5, "geom": [5] * 5, "geometry": [6] * 5, "WKT": [7] * 5}  # fmt: skip
FREE_ID = ["id", "ID", "fid", "FID", "geom", "geometry", "WKT"]
OWN_ID = ["id_1", "ID_2", "fid", "FID", "geom", "geometry", "WKT"]


@pytest.mark.parametrize(
    ("media_type", "has_text_ids", "names"),
    [
        (GEOJSON, True, FREE_ID),
        (SEQUENCE, False, FREE_ID),
        (GEOPACKAGE, False, ["id", "ID_1", "fid_1", "FID_2", "geom_1", "geometry", "WKT"]),
        (GEOPACKAGE, True, ["id_1", "ID_2", "fid_1", "FID_2", "geom_1", "geometry", "WKT"]),
        (FLATGEOBUF, True, ["id_1", "ID_2", "fid", "FID_1", "geom", "geometry", "WKT"]),
        (PARQUET, True, ["id_1", "ID_2", "fid", "FID", "geom", "geometry_1", "WKT"]),
        (CSV, True, ["id_1", "ID_2", "fid", "FID", "geom", "geometry", "WKT_1"]),
        (TABLE, False, OWN_ID),
    ],
)
def test_attributes_get_out_of_the_way_of_the_format_s_own_names(
    asking: Asking, media_type: str, has_text_ids: bool, names: list[str]
) -> None:
    ids = ["a", "c", "b", "e", "d"] if has_text_ids else [1, 2, 3, 4, 5]
    case = Case(write_geojson, ids, TAKEN, boxes(CRS84), CRS84)
    found = asking.found(media_type, None, features=write_geojson(case, asking.folder))
    renamed = dict(zip(names, TAKEN.values(), strict=True))
    assert_rows(found, {**leading_columns(media_type, ids), **renamed, **columns_of(LABELS)}, media_type)
    if media_type not in NO_SUMMARY:
        changed = [pair for pair in zip(TAKEN, names, strict=True) if pair[0] != pair[1]]
        assert len(found.summary["warnings"]) == len(changed)
        for warning, (before, after) in zip(found.summary["warnings"], changed, strict=True):
            assert repr(before) in warning
            assert repr(after) in warning


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("storm-1", "storm-1"),
        ("-x", "layer_-x"),
        ("_", "_"),
        ("GPKG", "layer_GPKG"),
        ("Layer_Styles", "layer_Layer_Styles"),
    ],
)
def test_every_name_of_a_result_is_one_of_a_layer(asking: Asking, name: str, layer: str) -> None:
    path = asking.folder / "a.gpkg"
    path.write_bytes(asking.raw(GEOPACKAGE, "geojson-text-ids", resultName=name))
    assert check_geopackage(path) == []
    assert pyogrio.list_layers(path)[0][0] == layer


@pytest.mark.parametrize("media_type", [GEOPACKAGE, FLATGEOBUF])
def test_a_zero_byte_does_not_end_a_name(asking: Asking, media_type: str) -> None:
    case = Case(write_geojson, None, {"a\0b": [1] * 5, "a": [2] * 5}, boxes(CRS84), CRS84)
    found = asking.found(media_type, None, features=write_geojson(case, asking.folder))
    wanted = {"a\ufffdb": [1] * 5, "a": [2] * 5}
    assert_rows(found, {**leading_columns(media_type, None), **wanted, **columns_of(LABELS)}, media_type)


# CRS of the output


GAUSS_KRUEGER = ("urn:ogc:def:crs:EPSG::31468", "EPSG:31468")
"""Whose northing comes first."""


@pytest.mark.parametrize(
    ("media_type", "asked", "crs"),
    [
        *[(media_type, *GAUSS_KRUEGER) for media_type in (GEOPACKAGE, FLATGEOBUF, PARQUET, CSV)],
        *[(media_type, "http://www.opengis.net/def/crs/EPSG/0/4326", "EPSG:4326") for media_type in (GEOPACKAGE, PARQUET)],
        (FLATGEOBUF, "http://www.opengis.net/def/crs/OGC/1.3/CRS84", CRS84),
        (PARQUET, "EPSG:3857", "EPSG:3857"),
        (GEOPACKAGE, "EPSG:3857", "EPSG:3857"),
        (CSV, "EPSG:32633", UTM),
    ],
)  # fmt: skip
def test_output_crs_is_in_x_y_order_always(asking: Asking, media_type: str, asked: str, crs: str) -> None:
    found = asking.found(media_type, "geopackage-Z", outputCrs=asked)
    assert_geometry(found, CASES["geopackage-Z"], media_type, crs)


def test_a_crs_whose_authority_puts_the_northing_first_comes_back_as_it_came(asking: Asking) -> None:
    image = make_raster(asking.home / "imagery" / "nz.tif", crs="EPSG:32760", transform=None)
    corner = pyproj.Transformer.from_crs("EPSG:32760", "EPSG:2193", always_xy=True).transform(X + 9, Y - 9)
    shape = shapely.box(*corner, corner[0] + 3.3, corner[1] + 4.4)
    case = Case(write_gdal(".gpkg", driver="GPKG"), [1], {"n": [1]}, [shape], "EPSG:2193")
    path = case.write(case, asking.home / "imagery")
    assert isinstance(path, Path)
    for media_type in (GEOPACKAGE, FLATGEOBUF, PARQUET, CSV):
        found = asking.found(media_type, None, image=link(image), features=link(path))
        assert found.rows[0]["ClassStatus"] == "ok"
        assert_geometry(found, case, media_type, "EPSG:2193")
    geojson = asking.found(GEOJSON, None, image=link(image), features=link(path))
    assert_geometry(geojson, case, GEOJSON, CRS84)


@pytest.mark.parametrize("media_type", [GEOPACKAGE, FLATGEOBUF, PARQUET])
@pytest.mark.parametrize(
    "crs", ["+proj=laea +lat_0=45 +lon_0=15 +x_0=500000 +y_0=5000000 +ellps=bessel", "ESRI:102014", "EPSG:32633+5773"]
)
def test_a_crs_that_is_not_epsg_s_comes_back_as_it_came(asking: Asking, media_type: str, crs: str) -> None:
    folder = asking.home / "imagery" / asking.folder.name
    folder.mkdir()
    image = make_raster(folder / "own.tif", crs=crs.split("+5773")[0])
    case = Case(
        write_gdal(".gpkg", driver="GPKG"), [1], {"n": [1]}, [shapely.box(X + 9, Y - 9, X + 11.1, Y - 3.3)], crs
    )
    found = asking.found(media_type, None, image=link(image), features=link(Path(str(case.write(case, folder)))))
    assert found.rows[0]["ClassStatus"] == "ok"
    assert_geometry(found, case, media_type, crs)


URI = "http://www.opengis.net/def/crs"


@pytest.mark.parametrize(
    ("media_type", "asked", "uri"),
    [
        (GEOJSON, None, f"{URI}/OGC/1.3/CRS84"),
        (SEQUENCE, None, f"{URI}/OGC/1.3/CRS84"),
        (CSV, None, f"{URI}/EPSG/0/32633"),
        (CSV, "ESRI:102014", f"{URI}/ESRI/0/102014"),
        (GEOPACKAGE, "OGC:CRS84", f"{URI}/OGC/1.3/CRS84"),
        (PARQUET, "EPSG:3857", f"{URI}/EPSG/0/3857"),
        (TABLE, None, None),
    ],
)
def test_an_answer_says_its_crs(asking: Asking, media_type: str, asked: str | None, uri: str | None) -> None:
    outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    more = {} if asked is None else {"outputCrs": asked}
    response = asking.post({"inputs": asking.inputs("geopackage", **more), "outputs": outputs})
    assert response.headers.get("Content-Crs") == (None if uri is None else f"<{uri}>")
    job = re.search(r"<([^>]*/jobs/[^>]*)>", response.headers["Link"])
    assert job is not None
    info = asking.client.http.get(job[1].removeprefix("http://localhost"), headers={"Accept": "application/json"}).json
    assert info["summary"].get("crs") == uri
    assert pyproj.CRS(uri).name if uri else True


ODD_CRS: Mapping[str, tuple[pyproj.CRS, tuple[int, str, int] | None]] = {
    "crs84": (pyproj.CRS("OGC:CRS84"), (4326, "EPSG", 4326)),  # case gpkg-crs84, 0.3.0
    "nad83": (pyproj.CRS("OGC:CRS83"), (4269, "EPSG", 4269)),
    "etrs89 of esri": (esri(4258), (4258, "EPSG", 4258)),
    "laea of esri": (esri(3035), (3035, "EPSG", 3035)),
    "esri's own": (pyproj.CRS("ESRI:102014"), (102014, "ESRI", 102014)),
    **{f"unknown on {name}": (unknown_datum(name), None) for name in ("bessel", "krass", "GRS80")},
    "claims a code": (claiming(25832), None),
    "degrees on no datum": (pyproj.CRS("+proj=longlat +ellps=WGS84"), None),
}
"""CRS as files have them, and srs_id, organisation and its code in the GeoPackage; None = none means the same."""


@pytest.mark.parametrize("name", ODD_CRS)
def test_a_file_has_a_code_only_where_it_means_the_same(asking: Asking, name: str) -> None:
    crs, known = ODD_CRS[name]
    folder = asking.home / "imagery" / asking.folder.name
    folder.mkdir()
    geodetic = crs.geodetic_crs
    assert geodetic is not None
    x, y = (
        (10, 50) if crs.is_geographic else pyproj.Transformer.from_crs(geodetic, crs, always_xy=True).transform(10, 50)
    )
    cell = 1e-5 if crs.is_geographic else 1
    image = make_raster(folder / "own.tif", crs=crs.to_wkt(), transform=Affine(cell, 0, x, 0, -cell, y))
    place = shapely.Point(x + 20 * cell, y - 20 * cell)
    columns = {"geometry": pa.array([shapely.to_wkb(place)], pa.binary())}
    geo = {"encoding": "WKB", "geometry_types": ["Point"], "crs": crs.to_json_dict()}
    table = pa.table(columns).replace_schema_metadata(
        {"geo": json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geo}})}
    )
    parquet.write_table(table, folder / "objects.parquet")
    more = {"image": link(image), "features": link(folder / "objects.parquet")}
    geopackage = folder / "result.gpkg"
    geopackage.write_bytes(asking.raw(GEOPACKAGE, None, **more))
    with closing(sqlite3.connect(geopackage)) as database:
        (row,) = database.execute(
            "SELECT srs_id, upper(organization), organization_coordsys_id, definition FROM gpkg_spatial_ref_sys "
            "WHERE srs_id = (SELECT srs_id FROM gpkg_contents WHERE data_type = 'features')"
        )
    assert row[:3] == known or (known is None and row[1] == "NONE")
    # PROJ's way from what the files say to what was given moves nothing
    stated = [pyproj.CRS(row[3]), asking.found(FLATGEOBUF, None, **more).crs, asking.found(PARQUET, None, **more).crs]
    for found in stated:
        assert found is not None
        assert found.ellipsoid == crs.ellipsoid
        there = pyproj.Transformer.from_crs(found.geodetic_crs, found, always_xy=True).transform(10, 50)
        assert there == pytest.approx((x, y), abs=1e-6)
        if known is None:
            assert found.datum is not None
            assert crs.datum is not None
            assert found.datum.name.removesuffix(" ensemble") == crs.datum.name.removesuffix(" ensemble")
            assert found.to_json_dict().get("id") is None
    assert asking.found(CSV, None, **more).geometry == [place]


# A result classified again


@pytest.mark.parametrize("media_type", [GEOJSON, GEOPACKAGE, FLATGEOBUF, PARQUET])
def test_a_result_is_classified_again(asking: Asking, media_type: str) -> None:
    first = asking.home / "imagery" / f"first-{FORMATS.index(media_type)}"
    first.write_bytes(asking.raw(media_type, "geopackage"))
    case = CASES["geopackage"]
    after = {f"After{ending}": values for ending, values in zip(["", "_Value", "_Confidence", "_Status"], columns_of(LABELS).values(), strict=True)}  # fmt: skip
    # only GeoJSON and a GeoPackage have ids; in the others they are attributes since
    is_id = media_type in (GEOJSON, GEOPACKAGE)
    own = {} if is_id else {"id": case.ids}
    found = asking.found(GEOPACKAGE, None, features=link(first), classLabelField="After")
    fids = {"fid": case.ids if is_id else range(1, 6)}
    wanted: dict[str, Any] = {**fids, **own, **case.attributes, **columns_of(LABELS), **after}
    if media_type == FLATGEOBUF:
        wanted["day"] = [None if day is None else f"{day}T00:00:00" for day in case.attributes["day"]]
    assert_rows(found, wanted, GEOPACKAGE)
    if media_type != GEOJSON:
        assert_geometry(found, case, GEOPACKAGE, UTM)
    refused = asking.post({"inputs": asking.inputs(None, features=link(first), classLabelField="classlabel")})
    assert refused.status_code == 400
    (fault,) = refused.json["errors"]
    assert fault["pointer"] == "/inputs/features"
    assert "'ClassLabel'" in fault["detail"]


# What changes the rows


@pytest.mark.parametrize("media_type", FORMATS)
def test_separate_rows(asking: Asking, media_type: str) -> None:
    images = [link(asking.home / "imagery" / name) for name in ("a.tif", "b.tif")]
    found = asking.found(media_type, "geojson-mixed-ids", image=images, processingMode="separate")
    ids = ["1:a.tif", "1:b.tif", "a:a.tif", "a:b.tif", "3", "2.5", "7:a.tif", "7:b.tif"]
    labels = [OK_DARK, OK_DARK, OK_BRIGHT, OK_BRIGHT, EMPTY, OUTSIDE, OK_BRIGHT, OK_BRIGHT]
    if media_type in (GEOJSON, SEQUENCE):
        assert found.ids == [*ids[:5], 2.5, *ids[6:]]
    lead: dict[str, Any] = {"fid": list(range(1, 9)), "id": ids} if media_type == GEOPACKAGE else {"id": ids}
    names = ["a.tif", "b.tif"] * 2 + [None, None, "a.tif", "b.tif"]
    wanted = {**({} if found.ids else lead), "n": [5, 5, 4, 4, 3, 2, 1, 1], **columns_of(labels), "ImageID": names}
    assert_rows(found, wanted, media_type)
    assert_summary(found, labels, media_type)


@pytest.mark.parametrize("media_type", FORMATS)
def test_extent_leaves_rows_out_and_keeps_ids_and_order(asking: Asking, media_type: str) -> None:
    bright = {"bbox": [X + 25, Y - 20, X + 31, Y - 10], "crs": "EPSG:32633"}
    found = asking.found(media_type, "geojson-int-ids", extent=bright)
    assert [row["count"] for row in found.rows] == (["-1", str(2**62)] if media_type == CSV else [-1, 2**62])
    key = {GEOJSON: None, SEQUENCE: None, GEOPACKAGE: "fid"}.get(media_type, "id")
    ids = found.ids if key is None else [row[key] for row in found.rows]
    assert list(map(str, ids or [])) == ["7", str(2**40)]
    assert_summary(found, [OK_BRIGHT] * 2, media_type)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        *zip(["geojson-text-ids", "geopackage", "geopackage-ZM", "geoparquet"] * 2, FORMATS, strict=False),
        ("geojson-text-ids", GEOPACKAGE),
        ("geopackage", PARQUET),
        ("geoparquet", CSV),
    ],
)
def test_nothing_within_the_extent_leaves_the_columns(asking: Asking, media_type: str, name: str) -> None:
    nowhere = {"bbox": [X - 9, Y, X - 8, Y + 1], "crs": "EPSG:32633"}
    found = asking.found(media_type, name, extent=nowhere)
    assert found.rows == []
    assert_summary(found, [], media_type)
    if media_type in (GEOJSON, SEQUENCE):
        return
    case = CASES[name]
    leading = list(leading_columns(media_type, case.ids))
    assert found.names == [*leading, *case.attributes, *ADDED]
    assert found.geometry == (None if media_type == TABLE else [])


@pytest.mark.parametrize("media_type", FORMATS)
def test_several_labels(asking: Asking, media_type: str) -> None:
    few = asking.found(media_type, "geojson-descending-ids", model="several")
    both = asking.found(media_type, "geojson-descending-ids", model="several", modelArguments={"score_threshold": 0.3})
    none = asking.found(media_type, "geojson-descending-ids", model="several", modelArguments={"score_threshold": 0.9})
    ids = leading_columns(media_type, CASES["geojson-descending-ids"].ids)
    low = round(1 - SURE, 6)
    scores = {"Score_dark": [0.5, 0.5, None, None, 0.5], "Score_bright": [low, SURE, None, None, SURE]}
    gone, status = [None, None], ["ok", "ok", "empty-geometry", "outside-image", "ok"]

    def columns(labels: list[Any], values: list[Any]) -> dict[str, Sequence[Any]]:
        told = [labels, values, [0.5, SURE, *gone, SURE], status]
        return {**ids, **NUMBERS, **dict(zip(ADDED, told, strict=True)), **scores}

    # black: 0.5 and 0.38, white: 0.5 and 0.62
    assert_rows(few, columns(["dark", "dark;bright", *gone, "dark;bright"], [10, *[None] * 4]), media_type)
    assert_rows(both, columns(["dark;bright", "dark;bright", *gone, "dark;bright"], [None] * 5), media_type)
    assert_rows(none, columns(["", "", *gone, ""], [None] * 5), media_type)
    if media_type not in NO_SUMMARY:
        assert few.summary["counts"] == {"dark": 3, "bright": 2}
        assert [item["count"] for item in few.summary["classes"]] == [3, 2]
        assert none.summary["counts"] == {"dark": 0, "bright": 0}
        assert none.summary["status"] == {"ok": 3, "empty-geometry": 1, "outside-image": 1}


@pytest.mark.parametrize("media_type", FORMATS)
def test_odd_names_of_classes(asking: Asking, media_type: str) -> None:
    options = {"model": "odd-names", "modelArguments": {"class_scores": True}, "classLabelField": "L_2"}
    found = asking.found(media_type, "geojson-no-ids", **options)
    dark, bright = (item["Name"] for item in ODD_CLASSES)
    names = ["L_2", "L_2_Value", "L_2_Confidence", "L_2_Status", f"L_2_Score_{dark}", f"L_2_Score_{bright}"]
    low = round(1 - SURE, 6)
    told = [
        [dark, bright, None, None, bright],
        [1, -2, None, None, -2],
        [SURE, SURE, None, None, SURE],
        ["ok", "ok", "empty-geometry", "outside-image", "ok"],
        [SURE, low, None, None, low],
        [low, SURE, None, None, SURE],
    ]
    wanted = {**leading_columns(media_type, None), **dict(zip(names, told, strict=True))}
    assert_rows(found, wanted, media_type)


@pytest.mark.parametrize("media_type", FORMATS)
def test_whole_images(asking: Asking, media_type: str) -> None:
    images = [link(asking.home / "imagery" / name) for name in ("b.tif", "a.tif")]
    found = asking.found(media_type, None, image=images)
    # half black, half white
    lead: dict[str, Any] = {"fid": [1, 2]} if media_type == GEOPACKAGE else {}
    wanted = {**lead, "ImageID": ["b.tif", "a.tif"], **columns_of([("dark", 10, 0.5, "ok")] * 2)}
    assert_rows(found, wanted, media_type)
    outline = shapely.box(X, Y - 24, X + 32, Y)
    if media_type != TABLE:
        assert found.geometry is not None
        is_degrees = media_type in (GEOJSON, SEQUENCE)
        place = transformed(outline, UTM, CRS84) if is_degrees else outline
        for shape in found.geometry:
            assert shapely.hausdorff_distance(shape, place) < 1e-9


@pytest.mark.parametrize("media_type", [TABLE, CSV, PARQUET, GEOPACKAGE])
def test_images_without_a_reference(asking: Asking, media_type: str) -> None:
    found = asking.found(media_type, None, image=link(asking.home / "imagery" / "plain.png"))
    lead: dict[str, Any] = {"fid": [1]} if media_type == GEOPACKAGE else {}
    assert_rows(found, {**lead, "ImageID": ["plain.png"], **columns_of([OK_BRIGHT])}, media_type)
    assert found.geometry is None
    assert_summary(found, [OK_BRIGHT], media_type)


@pytest.mark.parametrize("media_type", [TABLE, CSV, PARQUET, GEOPACKAGE])
def test_a_table_of_images_has_id_free_for_the_label(asking: Asking, media_type: str) -> None:
    image = link(asking.home / "imagery" / "plain.png")
    found = asking.found(media_type, None, image=image, classLabelField="id")
    names = ["ImageID", "id", "id_Value", "id_Confidence", "id_Status"]
    assert found.names == (["fid", *names] if media_type == GEOPACKAGE else names)
    assert found.rows[0]["id"] == "bright"


@pytest.mark.parametrize("media_type", [item for item in FORMATS if item != SEQUENCE])  # it is written as GeoJSON is
def test_many_rows_keep_their_order_and_ids(asking: Asking, media_type: str) -> None:
    count = 16_390  # more than the service has in hand at a time
    ids = [count - place for place in range(count)]
    shapes = [shapely.Point(BRIGHT if place in (0, count - 5, count - 1) else FAR) for place in range(count)]
    case = Case(write_geojson, ids, {"n": range(count)}, shapes, UTM)
    found = asking.found(media_type, None, features=write_geojson(case, asking.folder))
    assert [int(row["n"]) for row in found.rows] == list(range(count))
    if media_type in (GEOJSON, SEQUENCE):
        assert found.ids == ids
    else:
        assert [int(row["id"]) for row in found.rows] == ids
    assert [place for place, row in enumerate(found.rows) if row["ClassStatus"] == "ok"] == [0, count - 5, count - 1]
    if found.geometry is not None and media_type not in (GEOJSON, SEQUENCE):
        assert [tuple(shape.coords[0]) for shape in found.geometry] == [shape.coords[0] for shape in shapes]


# Files as their standards want them


SOME_HEIGHTS = Case(write_geojson, None, NUMBERS, [*measured("Z")[:4], shapely.force_2d(measured("Z")[4])], UTM)


@pytest.mark.parametrize("name", ["geopackage", "geopackage-M", "geojson-text-ids", "some heights", "table"])
def test_a_geopackage_keeps_the_standard(asking: Asking, name: str) -> None:
    other: dict[str, Any] = {
        "some heights": {"features": write_geojson(SOME_HEIGHTS, asking.folder)},
        "table": {"image": link(asking.home / "imagery" / "plain.png")},
    }
    path = asking.folder / "a.gpkg"
    path.write_bytes(asking.raw(GEOPACKAGE, None if name in other else name, **other.get(name, {})))
    assert check_geopackage(path) == []


@pytest.fixture
def sound_geopackage(asking: Asking) -> Path:
    path = asking.folder / "sound.gpkg"
    path.write_bytes(asking.raw(GEOPACKAGE, "geopackage"))
    return path


@each_row(
    ("tampering", "requirement"),
    [
        ("PRAGMA application_id = 1", "2:"),
        ("DELETE FROM gpkg_spatial_ref_sys WHERE srs_id = 0", "11:"),
        ("UPDATE gpkg_contents SET last_change = '2024-01-01'", "15:"),
        ("UPDATE gpkg_contents SET data_type = 'attributes'", "22:"),
        ("UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'", "32:"),
        ("UPDATE gpkg_geometry_columns SET z = 1", "27, 28:"),
        ("DELETE FROM gpkg_extensions WHERE extension_name = 'gpkg_rtree_index'", "75:"),
        ("DELETE FROM gpkg_extensions WHERE extension_name = 'gpkg_metadata'", "140:"),
        ("UPDATE gpkg_metadata_reference SET reference_scope = 'file'", "96:"),
        ("DELETE FROM gpkg_metadata", "7:"),
        ("DELETE FROM gpkg_contents WHERE table_name = 'layer_styles'", "table layer_styles"),
    ],
)
def test_a_broken_geopackage_is_seen(sound_geopackage: Path, tmp_path: Path, tampering: str, requirement: str) -> None:
    path = tmp_path / "a.gpkg"
    shutil.copy(sound_geopackage, path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(tampering)
    assert any(fault.startswith(requirement) for fault in check_geopackage(path))


@pytest.mark.parametrize("name", ["geojson-no-ids", "geopackage-ZM", "flatgeobuf"])
def test_a_geoparquet_keeps_the_standard(asking: Asking, name: str) -> None:
    path = asking.folder / "a.parquet"
    path.write_bytes(asking.raw(PARQUET, name))
    assert check_geoparquet(path) == []


def test_a_flatgeobuf_has_no_index_and_says_how_many_it_holds(asking: Asking) -> None:
    header = flatgeobuf_header(asking.raw(FLATGEOBUF, "geopackage"))
    assert (header["index_node_size"], header["count"]) == (0, 5)


def test_pandas_reads_a_table_and_csv_in_full(asking: Asking, pandas: Any) -> None:
    ids = list(map(str, CASES["geojson-int-ids"].ids or ()))
    table = pandas.read_json(io.BytesIO(asking.raw(TABLE, "geojson-int-ids")), orient="table")
    csv = pandas.read_csv(
        io.BytesIO(asking.raw(CSV, "geojson-int-ids")), dtype={"id": str, "count": "Int64", "ClassValue": "Int64"}
    )
    assert table.index.tolist() == csv["id"].tolist() == ids
    assert csv["count"].tolist()[:2] == [LARGE, -1]  # pandas makes fractions of a table's whole numbers, and rounds
    for found in (table, csv):
        for name in ("share", "flag", "ClassLabel", "ClassValue", "Confidence", "ClassStatus"):
            values = (JSON_ATTRIBUTES | columns_of(LABELS))[name]
            assert [None if pandas.isna(value) else value for value in found[name]] == list(values), name


# HTTP


@pytest.mark.parametrize("media_type", FORMATS)
def test_a_document_holds_what_the_raw_answer_holds(asking: Asking, media_type: str) -> None:
    outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    response = asking.post({"inputs": asking.inputs("geopackage"), "outputs": outputs, "response": "document"})
    assert response.status_code == 200, response.text
    assert response.mimetype == "application/json"
    (item,) = response.json.values()
    assert item["mediaType"] == media_type
    is_binary = media_type in (GEOPACKAGE, FLATGEOBUF, PARQUET)
    assert item.get("encoding") == ("base64" if is_binary else None)
    value = item["value"]
    data = base64.b64decode(value, validate=True) if is_binary else (value if isinstance(value, str) else json.dumps(value)).encode()  # fmt: skip
    raw = asking.raw(media_type, "geopackage")
    if media_type == GEOPACKAGE:
        assert read_result(media_type, data, asking.folder).rows == read_result(media_type, raw, asking.folder).rows
    else:  # each result has a name of its own, with a number behind it
        data, raw = (re.sub(rb"(classify-objects-a)-\d+", rb"\1", text) for text in (data, raw))
        assert json.loads(data) == json.loads(raw) if isinstance(value, dict) else data == raw


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        *[(media_type, media_type) for media_type in FORMATS if media_type != TABLE],
        ("application/json", GEOJSON),
        ("application/vnd.flatgeobuf;q=0.9, application/json;q=0.1", FLATGEOBUF),
        ("text/csv;q=0.2, application/geo+json-seq;q=0.3, image/png", SEQUENCE),
        ("text/*", CSV),
    ],
)
def test_accept_chooses_among_the_formats(asking: Asking, accept: str, media_type: str) -> None:
    response = asking.post({"inputs": asking.inputs("geojson-no-ids")}, Accept=accept)
    assert (response.status_code, response.mimetype) == (200, media_type), response.text
    assert len(read_result(media_type, response.data, asking.folder).rows) == 5


def test_an_accept_without_an_offer_is_told_the_offers(asking: Asking) -> None:
    response = asking.post({"inputs": asking.inputs("geojson-no-ids")}, Accept="application/gml+xml")
    assert response.status_code == 406
    assert all(media_type in response.json["detail"] for media_type in FORMATS if media_type != TABLE)


def test_the_description_lists_every_format(asking: Asking) -> None:
    description = asking.client.http.get("/processes/classify-objects").json
    schema = description["outputs"]["classifiedObjects"]["schema"]
    assert [item["contentMediaType"] for item in schema["oneOf"]] == list(FORMATS)


# The command line


def test_the_command_line_writes_what_http_gives(asking: Asking) -> None:
    configuration = asking.home / "pygeoapi-config.yml"
    features = asking.home / "imagery" / "geopackage" / "objects.gpkg"
    for ending, media_type in zip((".geojson", ".gpkg", ".fgb", ".parquet", ".geojsonl", ".csv", ".json"), FORMATS, strict=True):  # fmt: skip
        path = asking.folder / f"objects{ending}"
        options = ["--image", asking.home / "imagery" / "a.tif", "--features", features, "--model", "brightness"]
        done = CliRunner().invoke(main, ["--config", str(configuration), "run", "--quiet", *map(str, options), "--output", str(path)])  # fmt: skip
        assert done.exit_code == 0, done.output
        written = read_result(media_type, path.read_bytes(), asking.folder)
        answered = asking.found(media_type, "geopackage")
        for member in ("names", "rows", "ids", "geometry", "summary"):
            assert getattr(written, member) == getattr(answered, member), (ending, member)
