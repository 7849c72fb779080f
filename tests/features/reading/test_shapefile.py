"""Zipped Shapefiles in: as GDAL writes them, with texts in the encodings of the field, and no file where none belongs."""

from __future__ import annotations

import datetime as dt
import stat
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely

from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading import shapefile_zip
from processes.features.reading.files import read_layer
from processes.settings import Limits
from tables import each_row

BOX = shapely.box(500_000, 5_500_000, 500_010, 5_500_020)


def parts_of(
    geometries: Sequence[Any] = (BOX, BOX, BOX),
    columns: Mapping[str, Any] | None = None,
    geometry_type: str = "Polygon",
    **options: Any,
) -> dict[str, bytes]:
    """Return the files of a Shapefile as GDAL writes them, by ending."""
    wkb = pa.array(shapely.to_wkb(np.array(geometries, dtype=object), output_dimension=4, flavor="iso"), pa.binary())
    table = pa.table({**(columns or {"n": np.arange(len(geometries))}), "shape": wkb})
    with tempfile.TemporaryDirectory() as folder:
        pyogrio.write_arrow(
            table,
            Path(folder) / "x.shp",
            driver="ESRI Shapefile",
            geometry_name="shape",
            geometry_type=geometry_type,
            crs="EPSG:32633",
            **options,
        )
        return {path.suffix: path.read_bytes() for path in Path(folder).iterdir()}


def packed(
    path: Path, parts: Mapping[str, bytes], stem: str = "roofs", compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Add files to a zip archive, each as the stem with an ending."""
    with zipfile.ZipFile(path, "a", compression) as file:
        for ending, data in parts.items():
            file.writestr(stem + ending, data)
    return path


def read(path: Path, layer: str | None = None, limit: int = 100_000) -> Layer:
    return read_layer(path, "roofs.zip", layer, Limits(max_objects=limit))


def problem(path: Path, layer: str | None = None) -> str:
    with pytest.raises(LayerError) as caught:
        read(path, layer)
    assert str(path.parent) not in caught.value.detail
    assert tempfile.gettempdir() not in caught.value.detail
    return caught.value.detail


def test_features_come_in_their_order_without_ids(tmp_path: Path) -> None:
    shapes = [shapely.box(n, 0, n + 1, 1) for n in range(50)]
    layer = read(packed(tmp_path / "a.zip", parts_of(shapes, {"n": list(range(50, 0, -1))})))
    assert layer.attributes.column("n").to_pylist() == list(range(50, 0, -1))
    assert [shape.equals(other) for shape, other in zip(layer.geometries(0, 50), shapes, strict=True)] == [True] * 50
    assert (layer.name, layer.ids, layer.geometry_type) == ("roofs", None, "Polygon")
    assert layer.crs is not None
    assert layer.crs.to_epsg() == 32633


def test_attributes_keep_their_types_and_nulls(tmp_path: Path) -> None:
    columns = {
        "text": ["é😀", None],
        "date": [dt.date(2024, 2, 29), None],
        "flag": [True, None],
        "whole": pa.array([-3, None], pa.int32()),
        "long": [2**53, None],
        "number": [0.1, None],
    }
    layer = read(packed(tmp_path / "a.zip", parts_of([BOX, BOX], columns)))
    first, second = layer.attributes.to_pylist()
    assert first == {
        "text": "é😀",
        "date": dt.date(2024, 2, 29),
        "flag": True,
        "whole": -3,
        "long": 2**53,
        "number": 0.1,
    }
    assert second == dict.fromkeys(columns)


def test_null_and_multipart_geometries_stay(tmp_path: Path) -> None:
    both = shapely.union_all([BOX, shapely.box(500_100, 5_500_000, 500_110, 5_500_020)])
    layer = read(packed(tmp_path / "a.zip", parts_of([BOX, None, both])))
    first, second, third = layer.geometries(0, 3)
    assert (first.geom_type, second, third.geom_type) == ("Polygon", None, "MultiPolygon")
    assert third.equals(both)
    assert layer.geometry_type == "Unknown"


@pytest.mark.parametrize(
    ("text", "name"),
    [("POINT Z (1 2 3)", "Point Z"), ("POINT M (1 2 7)", "Point M"), ("POINT ZM (1 2 3 7)", "Point ZM")],
)
@pytest.mark.filterwarnings("ignore:Measured")
def test_heights_and_measures_stay(tmp_path: Path, text: str, name: str) -> None:
    layer = read(packed(tmp_path / "a.zip", parts_of([shapely.from_wkt(text)], geometry_type="Unknown")))
    assert layer.geometries(0, 1)[0].wkt == text
    assert layer.geometry_type == name


@each_row(
    ("cpg", "language", "encoding", "text"),
    [
        ("UTF-8", 0, "utf-8", "é中😀"),
        ("UTF-8\r\n", 0x57, "utf-8", "é中"),
        ("CP1252", 0, "cp1252", "é€"),
        ("1252", 0, "cp1252", "é€"),
        ("ANSI 1252", 0, "cp1252", "é€"),
        ("OEM 437", 0, "cp437", "é"),
        ("CP437", 0, "cp437", "é"),
        ("ISO-8859-1", 0, "latin1", "é"),
        ("88591", 0, "latin1", "é"),
        ("Big5", 0, "big5", "中文"),
        ("EUC-KR", 0, "euc-kr", "한국"),
        (None, 0x03, "cp1252", "é€"),
        (None, 0x01, "cp437", "é"),
        (None, 0x4F, "cp950", "中文"),
        (None, 0xC9, "cp1251", "Жя"),
        (None, 0, "latin1", "é"),
        (None, 0, "utf-8", "é中"),
        ("nonsense", 0, "ascii", "plain"),
    ],
)
def test_texts_come_in_the_encoding_that_the_files_name(
    tmp_path: Path, cpg: str | None, language: int, encoding: str, text: str
) -> None:
    parts = parts_of([BOX], {"name": ["X" * 12]})
    dbf = bytearray(parts[".dbf"].replace(b"X" * 12, text.encode(encoding).ljust(12)))
    dbf[29] = language
    parts = {ending: data for ending, data in parts.items() if ending != ".cpg"} | {".dbf": bytes(dbf)}
    layer = read(packed(tmp_path / "a.zip", parts | ({} if cpg is None else {".cpg": cpg.encode()})))
    assert layer.attributes.column("name").to_pylist() == [text]


def test_encoding_that_is_not_known_is_named(tmp_path: Path) -> None:
    parts = parts_of([BOX], {"name": ["XX"]})
    dbf = parts[".dbf"].replace(b"XX", b"\xe9\xff")
    said = problem(packed(tmp_path / "a.zip", parts | {".dbf": dbf, ".cpg": b"klingon"}))
    assert "'klingon'" in said


@each_row("stem", ["a/b/roofs", "ROOFS", "dächer", "a\\roofs", "a.b"])
def test_shapefile_may_lie_in_a_folder_and_have_any_name(tmp_path: Path, stem: str) -> None:
    parts = {ending.upper(): data for ending, data in parts_of().items()}
    layer = read(packed(tmp_path / "a.zip", parts, stem))
    assert (len(layer), layer.name) == (3, stem.replace("\\", "/").split("/")[-1])


def test_what_else_is_in_the_zip_does_not_matter(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of())
    others = {
        "readme.txt": b"x",
        "__MACOSX/._roofs.shp": b"x",
        "._roofs.shp": b"x",
        "more.zip": b"PK",
        "../x.txt": b"x",
    }
    with zipfile.ZipFile(path, "a") as file:
        for name, data in others.items():
            file.writestr(name, data)
        file.mkdir("empty.shp")
    assert len(read(path)) == 3


def test_of_several_shapefiles_one_must_be_picked(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of(), "north/roofs")
    packed(path, parts_of([BOX]), "trees")
    packed(path, parts_of([BOX, BOX]), "south/roofs")
    said = problem(path)
    assert "3 Shapefiles, pick one with #layer=name: 'north/roofs', 'trees', 'south/roofs'" in said
    assert len(read(path, "trees")) == 1
    assert len(read(path, "south/roofs")) == 2
    assert "2 Shapefiles 'roofs'" in problem(path, "roofs")
    assert "no Shapefile 'Trees'" in problem(path, "Trees")


def test_without_dbf_there_are_geometries_alone(tmp_path: Path) -> None:
    parts = parts_of()
    del parts[".dbf"]
    layer = read(packed(tmp_path / "a.zip", parts))
    assert (len(layer), layer.attributes.column_names) == (3, [])


def test_without_shx_it_is_read_all_the_same(tmp_path: Path) -> None:
    shapes = [BOX, None, shapely.box(0, 0, 1, 1)]
    parts = parts_of(shapes)
    whole = read(packed(tmp_path / "a.zip", parts))
    del parts[".shx"]
    layer = read(packed(tmp_path / "b.zip", parts))
    assert layer.geometries(0, 3).tolist() == whole.geometries(0, 3).tolist()
    assert layer.attributes.equals(whole.attributes)
    with pytest.raises(LimitError, match="max_objects = 2"):
        read(packed(tmp_path / "c.zip", parts), limit=2)


def test_deleted_records_are_left_out(tmp_path: Path) -> None:
    parts = parts_of()
    dbf = bytearray(parts[".dbf"])
    header, record = struct.unpack_from("<HH", dbf, 8)
    dbf[header + record] = ord("*")
    layer = read(packed(tmp_path / "a.zip", parts | {".dbf": bytes(dbf)}))
    assert layer.attributes.column("n").to_pylist() == [0, 2]


def test_without_prj_there_is_no_crs(tmp_path: Path) -> None:
    parts = parts_of()
    del parts[".prj"]
    assert "has no CRS: there is no .prj" in problem(packed(tmp_path / "a.zip", parts))


@each_row("prj", [b"", b"nonsense", b'LOCAL_CS["x",UNIT["metre",1]]', b"\xff\xfe\x00"])
def test_prj_that_names_no_crs_is_refused(tmp_path: Path, prj: bytes) -> None:
    assert "has no CRS" in problem(packed(tmp_path / "a.zip", parts_of() | {".prj": prj}))


def test_prj_that_is_torn_is_refused(tmp_path: Path) -> None:
    prj = b'PROJCS["x",GEOGCS["y"'
    assert "the file is broken" in problem(packed(tmp_path / "a.zip", parts_of() | {".prj": prj}))


def test_more_features_than_allowed_name_the_limit(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of())
    with pytest.raises(LimitError, match=r"3 features.*max_objects = 2"):
        read(path, limit=2)


def test_layer_without_features_is_empty(tmp_path: Path) -> None:
    layer = read(packed(tmp_path / "a.zip", parts_of([], {"n": pa.array([], pa.int64())})))
    assert (len(layer), layer.attributes.column_names) == (0, ["n"])


@each_row("ending", [".shp", ".shx", ".dbf"])
def test_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, ending: str) -> None:
    parts = parts_of()
    for size in [*range(0, len(parts[ending]) - 1, 9), len(parts[ending]) - 2]:
        path = packed(tmp_path / f"{size}.zip", parts | {ending: parts[ending][:size]})
        assert "cannot be read" in problem(path)


def test_files_of_different_shapefiles_are_refused(tmp_path: Path) -> None:
    parts, others = parts_of(), parts_of([shapely.Point(1, 2)] * 4, geometry_type="Point")
    assert ".dbf is broken" in problem(packed(tmp_path / "a.zip", parts | {".dbf": others[".dbf"]}))
    assert ".shx does not belong" in problem(packed(tmp_path / "b.zip", others | {".shx": parts[".shx"]}))


def test_damaged_files_never_give_a_part_of_their_features(tmp_path: Path) -> None:
    whole = parts_of([shapely.box(n, 0, n + 1, 1) for n in range(40)], {"t": [f"text {n}" for n in range(40)]})
    rng, refused = np.random.default_rng(2), 0
    for number in range(120):
        ending = (".shp", ".shx", ".dbf")[number % 3]
        data = bytearray(whole[ending])
        start = int(rng.integers(len(data)))
        data[start : start + 4] = rng.bytes(4)
        path = packed(tmp_path / f"{number}.zip", whole | {ending: bytes(data)})
        try:
            assert len(read(path)) == 40
        except (LayerError, LimitError):
            refused += 1
    assert refused


@each_row("name", ["../roofs", "/roofs", "a/../roofs"])
def test_name_that_points_out_of_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    assert "points out of it" in problem(packed(tmp_path / "a.zip", parts_of(), name))


def test_link_in_the_zip_is_refused(tmp_path: Path) -> None:
    parts = parts_of()
    del parts[".dbf"]
    path = packed(tmp_path / "a.zip", parts)
    member = zipfile.ZipInfo("roofs.dbf")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(member, "/etc/passwd")
    assert "holds a link: 'roofs.dbf'" in problem(path)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of())
    data = bytearray(path.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 8] |= 1
        place = data.find(b"PK\x01\x02", place + 4)
    path.write_bytes(data)
    assert "is encrypted" in problem(path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of())
    packed(path, {".SHP": b"x"})
    assert "two files" in problem(path)


def test_zip_without_a_shapefile_is_refused(tmp_path: Path) -> None:
    assert "holds no Shapefile" in problem(packed(tmp_path / "a.zip", {".geojson": b"{}", ".dbf": b"", ".zip": b"PK"}))
    assert "holds no Shapefile" in problem(packed(tmp_path / "b.zip", {}))


def test_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of() | {".dbf": bytes(shapefile_zip.FREE_BYTES + 1)})
    assert path.stat().st_size < 2**20
    assert "times, more than 200" in problem(path)


def test_bomb_is_refused_by_what_comes_out(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of() | {".dbf": bytes(10 * 2**20)})
    data = path.read_bytes()
    size = struct.pack("<I", 10 * 2**20)
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack("<I", 5)))
    assert "zip" in problem(path)


@each_row("share", [0.01, 0.3, 0.6, 0.95])
def test_torn_zip_is_refused(tmp_path: Path, share: float) -> None:
    path = packed(tmp_path / "a.zip", parts_of())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "not a sound zip archive" in problem(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_cannot_be_unpacked_in_parts_are_refused(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "a.zip", parts_of(), compression=method)
    assert f"compressed by method {method}; store or deflate it" in problem(path)


def test_a_stored_archive_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", parts_of(), compression=zipfile.ZIP_STORED)
    assert len(read(path)) == 3
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    assert "cannot be read" in problem(path) or "zip" in problem(path)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = packed(tmp_path / "a.zip", parts_of())
    assert len(read(path)) == 3
    assert "no Shapefile" in problem(path, "x")
    assert list(scratch.iterdir()) == []
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.zip", "scratch"]


def with_fields(fields: Sequence[tuple[str, str, int, int]], rows: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """Return the files of a Shapefile whose .dbf has these fields, name, type, bytes and decimals, and these texts."""
    head = b"".join(
        name.encode().ljust(11, b"\0") + kind.encode() + bytes(4) + bytes([size, decimals]) + bytes(14)
        for name, kind, size, decimals in fields
    )
    record_bytes = 1 + sum(size for _, _, size, _ in fields)
    sizes = struct.pack("<BBBBIHH20x", 3, 126, 1, 1, len(rows), 33 + len(head), record_bytes)
    records = [
        " " + "".join(text.rjust(size) for text, (_, _, size, _) in zip(row, fields, strict=True)) for row in rows
    ]
    return parts_of([BOX] * len(rows)) | {".dbf": sizes + head + b"\r" + "".join(records).encode() + b"\x1a"}


@each_row(
    ("size", "decimals", "texts", "values"),
    [
        (19, 0, ["1234567890123456789", "", "-1"], [1234567890123456789, None, -1]),
        (19, 0, ["9007199254740993", "2", "3"], [9007199254740993, 2, 3]),
        (19, 0, ["1", "2", "*" * 19], [1, 2, None]),
        (18, 0, ["123456789012345678", "1", "*" * 18], [123456789012345678, 1, None]),
        (20, 0, ["12345678901234567890", "1", ""], ["12345678901234567890", "1", "null"]),
        (9, 0, ["1", "2.5", "3"], [1, 2.5, 3]),
        (12, 0, ["1", "2.5", "3"], [1, 2.5, 3]),
        (12, 0, ["1", "n/a", ""], ["1", '"n/a"', "null"]),
        (12, 0, ["1 234", "5", "12-5"], ['"1 234"', "5", '"12-5"']),  # GDAL 3.12.4: 1 and 12, without a word
        (12, 0, ["--5", "5", "-"], ['"--5"', "5", '"-"']),
        (12, 0, ["7*", "5", "1+"], ['"7*"', "5", '"1+"']),
        (12, 0, ["-5   ", "+17".ljust(12), "123456789012"], [-5, 17, 123456789012]),
        (12, 0, ["12".ljust(12), "*" * 12, ""], [12, None, None]),
        (10, 2, ["1.25", "-3", ""], [1.25, -3, None]),
        (10, 2, ["1.25", "1,5", ""], ["1.25", '"1,5"', "null"]),
        (10, 2, ["1.5e2", "1", "x"], ["150.0", "1", '"x"']),
    ],
)
def test_numbers_are_those_of_the_dbf(
    tmp_path: Path, size: int, decimals: int, texts: list[str], values: list[Any]
) -> None:
    # dbf-long-ids, GDAL 3.12.4: whole numbers of more than 18 digits are doubles; 2.5 is 2 and n/a is 0
    for kind in ("N", "F"):
        parts = with_fields([("a", kind, size, decimals), ("b", "C", 3, 0)], [[text, "x"] for text in texts])
        layer = read(packed(tmp_path / f"{kind}.zip", parts))
        assert layer.attributes.column("a").to_pylist() == values
        assert layer.attributes.column_names == ["a", "b"]
        assert layer.warnings == ()


@each_row(
    ("text", "date"),
    [
        ("20200229", dt.date(2020, 2, 29)),
        ("00010101", dt.date(1, 1, 1)),
        ("", None),
        ("00000000", None),
        ("19850000", "no date"),
        ("********", "no date"),
        ("20210229", "no date"),
        ("20200431", "no date"),
        ("00000505", "no date"),
        ("2020-1-5", "no date"),
        ("31.12.20", "no date"),
    ],
)
def test_dates_are_those_of_the_dbf_or_null(tmp_path: Path, text: str, date: dt.date | str | None) -> None:
    # dates-invented, GDAL 3.12.4: 1970-01-01
    parts = with_fields([("built", "D", 8, 0)], [["19990930"], [text], [text]])
    layer = read(packed(tmp_path / "a.zip", parts))
    is_read = not isinstance(date, str)
    assert layer.attributes.column("built").to_pylist() == [dt.date(1999, 9, 30), *[date if is_read else None] * 2]
    said = "2 dates of the attribute 'built' cannot be read and are null; the first is that of feature 2"
    assert layer.warnings == (() if is_read else (said,))


@each_row(
    ("size", "text", "date"),
    [
        (10, "2020-02-29", dt.date(2020, 2, 29)),
        (10, "20200229", dt.date(2020, 2, 29)),
        (10, "", None),
        (10, "00000000", None),
        (10, "2021-02-29", "no date"),
        (10, "29.02.2020", "no date"),
        (6, "202002", "no date"),
    ],
)
def test_date_in_a_field_of_another_width_is_that_of_its_text(
    tmp_path: Path, size: int, text: str, date: dt.date | str | None
) -> None:
    # GDAL 3.12.4: 1970-01-01 for 2020-02-29
    layer = read(packed(tmp_path / "a.zip", with_fields([("built", "D", size, 0)], [[""], [text]])))
    is_read = not isinstance(date, str)
    assert layer.attributes.column("built").to_pylist() == [None, date if is_read else None]
    said = "1 date of the attribute 'built' cannot be read and is null: that of feature 2"
    assert layer.warnings == (() if is_read else (said,))


@each_row(
    ("kind", "version", "text", "value"),
    [
        ("I", 0x30, "\5\0\0\1", 2**24 + 5),
        ("B", 0x32, "\0" * 7 + "@", 2.0),
        ("I", 0x03, "\5\0\0\1", None),
        ("B", 0x03, "\0" * 7 + "@", None),
        ("O", 0x04, "\0" * 7 + "@", None),
        ("+", 0x04, "\0\0\0\1", None),
        ("@", 0x04, "\1" * 8, None),
        ("T", 0x30, "\1" * 8, None),
        ("Y", 0x30, "\1" * 8, None),
        ("M", 0x83, "1".rjust(10), None),
    ],
)
def test_binary_field_is_read_or_told(tmp_path: Path, kind: str, version: int, text: str, value: float | None) -> None:
    # GDAL 3.12.4: the bytes as a text, up to the first zero
    parts = with_fields([("a", kind, len(text), 0), ("b", "C", 3, 0)], [[text, "x"]])
    layer = read(packed(tmp_path / "a.zip", parts | {".dbf": bytes([version]) + parts[".dbf"][1:]}))
    assert layer.attributes.column("a").to_pylist() == [value]
    assert layer.attributes.column("b").to_pylist() == ["x"]
    said = f"the attribute 'a' is of the dBASE type {kind!r}, which is not read"
    assert layer.warnings == ((said,) if value is None else ())


def test_fields_that_do_not_fit_into_their_records_are_refused(tmp_path: Path) -> None:
    parts = with_fields([("a", "N", 10, 0), ("b", "C", 3, 0)], [["5", "abc"], ["7", "x"]])
    for cut in (1, 3, 8):  # GDAL 3.12.4: no attributes, without a word
        dbf = bytearray(parts[".dbf"])
        struct.pack_into("<H", dbf, 10, 14 - cut)
        assert "its .dbf is broken" in problem(packed(tmp_path / f"{cut}.zip", parts | {".dbf": bytes(dbf)}))


def test_records_behind_a_deleted_one_keep_their_values(tmp_path: Path) -> None:
    parts = with_fields(
        [("id", "N", 19, 0), ("built", "D", 8, 0)], [[str(2**60 + n), f"2020010{n}"] for n in (1, 2, 3)]
    )
    dbf = bytearray(parts[".dbf"])
    header, record = struct.unpack_from("<HH", dbf, 8)
    dbf[header + record] = ord("*")
    layer = read(packed(tmp_path / "a.zip", parts | {".dbf": bytes(dbf)}))
    assert layer.attributes.column("id").to_pylist() == [2**60 + 1, 2**60 + 3]
    assert layer.attributes.column("built").to_pylist() == [dt.date(2020, 1, 1), dt.date(2020, 1, 3)]


def beside(folder: Path, parts: Mapping[str, bytes], stem: str = "roofs") -> Path:
    """Write the files of a Shapefile beside one another, and return the .shp."""
    for ending, data in parts.items():
        (folder / f"{stem}{ending}").write_bytes(data)
    return next(path for path in folder.iterdir() if path.suffix.lower() == ".shp")


def test_a_shapefile_is_read_with_the_files_beside_it(tmp_path: Path) -> None:
    parts = parts_of(columns={"n": np.arange(3), "street": np.array(["Elm", "Straße", None], object)})
    (tmp_path / "zipped").mkdir()
    zipped = read_layer(packed(tmp_path / "zipped" / "a.zip", parts), "a.zip", None, Limits())
    found = read_layer(beside(tmp_path, parts), "roofs.shp", None, Limits())
    assert found.name == zipped.name == "roofs"
    assert found.crs == zipped.crs
    assert found.geometry is not None
    assert found.geometry.equals(zipped.geometry)
    assert found.attributes.equals(zipped.attributes)
    assert {path.name for path in tmp_path.iterdir()} == {"zipped", *(f"roofs{ending}" for ending in parts)}


def test_endings_may_be_capital_letters(tmp_path: Path) -> None:
    path = beside(tmp_path, {ending.upper(): data for ending, data in parts_of().items()})
    assert read_layer(path, "ROOFS.SHP", None, Limits()).attributes.column("n").to_pylist() == [0, 1, 2]


def test_what_is_missing_beside_a_shapefile(tmp_path: Path) -> None:
    parts = parts_of()
    path = beside(tmp_path, {ending: data for ending, data in parts.items() if ending not in (".shx", ".cpg")})
    assert read_layer(path, "roofs.shp", None, Limits()).attributes.num_rows == 3  # an index is made, elsewhere
    assert not path.with_suffix(".shx").exists()
    path.with_suffix(".prj").unlink()
    with pytest.raises(LayerError, match=r"has no CRS: there is no \.prj"):
        read_layer(path, "roofs.shp", None, Limits())


def test_links_beside_a_shapefile_are_not_followed(tmp_path: Path) -> None:
    """A .dbf that leads elsewhere would put another file's texts into the result."""
    (tmp_path / "secret").mkdir()
    secret = beside(tmp_path / "secret", parts_of(columns={"word": np.array(["a", "b", "c"], object)}))
    path = beside(tmp_path, parts_of())
    path.with_suffix(".dbf").unlink()
    path.with_suffix(".dbf").symlink_to(secret.with_suffix(".dbf"))
    assert read_layer(path, "roofs.shp", None, Limits()).attributes.column_names == []


@each_row(("options", "words"), [({"layer": "roofs"}, "this file has none"), ({"crs": "EPSG:4326"}, "its own CRS")])
def test_neither_layer_nor_crs_of_a_shapefile_is_named(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(LayerError, match=words):
        read_layer(beside(tmp_path, parts_of()), "roofs.shp", options.get("layer"), Limits(), crs=options.get("crs"))
