"""Links to STAC documents: which images they stand for, and that these have the cells of the same files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from affine import Affine
from msgspec import structs
from rasterio.windows import Window

from linked_images import asset, cells, give, item, items, opened
from processes.classify.downloads import FRAME, download_links
from processes.classify.images import stamp_images
from processes.classify.sections import from_plain_value, to_plain_value
from processes.errors import Fault, ForbiddenError, ImageError, LimitError
from processes.imagery.image import Image
from processes.imagery.source import gdal_settings
from processes.ogc.request import read_request
from processes.settings import Settings
from pygeoapi_server import collection, pygeoapi_server
from rasters import make_raster, random_values
from told_host import ToldHost, told_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ToldHost]:
    """Start a host with three images; `a` and `b` differ in their cells."""
    with told_host() as told:
        for seed, name in enumerate(("a.tif", "b.tif")):
            give(told, f"/data/{name}", make_raster(tmp_path / name, seed=seed))
        yield told


def fault(href: str, host: ToldHost, folder: Path, **limits: int) -> Fault:
    faults: list[Fault] = []
    opened(href, host, folder, faults, None, **limits)
    (found,) = faults
    assert str(folder) not in found.detail
    return found


def test_the_asset_that_is_meant(host: ToldHost, tmp_path: Path) -> None:
    thumbnail = asset("t.png", "thumbnail", kind="image/png")
    for number, assets in enumerate(
        (
            {"x": asset("b.tif", "data"), "y": asset("a.tif", "visual"), "thumbnail": thumbnail},
            {"y": asset("a.tif"), "thumbnail": thumbnail, "info": asset("i.json", kind="application/json")},
            {"y": asset("a.tif", kind=None), "info": asset("i.json", kind=None)},
            {"visual-2": asset("b.tif", "visual"), "visual": asset("a.tif", "visual")},
        )
    ):
        give(host, f"/data/{number}", item(f"scene-{number}", **assets))
        (image,) = opened(f"{host.url}/data/{number}", host, tmp_path)
        assert image.name == f"scene-{number}"
        assert (cells(image)[0] == random_values((3, 48, 64), seed=0)).all()


def test_an_asset_by_name(host: ToldHost, tmp_path: Path) -> None:
    give(host, "/data/i?f=json", item("s", **{"a,1": asset("a.tif"), "b": asset("./b.tif", "data")}))
    (image,) = opened(f"{host.url}/data/i?f=json#asset=b", host, tmp_path)
    assert (cells(image)[0] == random_values((3, 48, 64), seed=1)).all()
    (image,) = opened(f"{host.url}/data/i?f=json#asset=a%2C1", host, tmp_path)
    assert (cells(image)[0] == random_values((3, 48, 64), seed=0)).all()


@pytest.mark.parametrize("fragment", ["", "#asset=z", "#assets=x,z", "#layer=x", "#asset=", "#assets=x,,y"])
def test_faults_list_the_assets(host: ToldHost, tmp_path: Path, fragment: str) -> None:
    give(host, "/i", item("scene", x=asset("a.tif", "data"), y=asset("b.tif")))
    said = fault(f"{host.url}/i{fragment}", host, tmp_path)
    assert isinstance(said.error, ImageError)
    assert said.pointer == "/inputs/image/href"
    if "z" in fragment:
        assert "has no asset 'z'" in said.detail
    if fragment == "" or "z" in fragment:
        assert "'x' (image/tiff, data), 'y' (image/tiff)" in said.detail
    else:
        assert "#asset=NAME" in said.detail


def test_signed_links_are_requested_as_they_are(host: ToldHost, tmp_path: Path) -> None:
    signed = "/data/s.tif?sv=2024&sig=a%2Fb%3D%3D+c&x="
    host.files[signed] = host.files["/data/a.tif"]
    give(host, "/i", item("s", a=asset(host.url + signed)))
    opened(f"{host.url}/i", host, tmp_path)
    assert signed in host.asked
    del host.files[signed]
    said = fault(f"{host.url}/i", host, tmp_path).detail
    assert "/data/s.tif: the host answers with status 404" in said
    assert "sig" not in said


def test_an_asset_elsewhere_is_read_where_the_first_link_is_not_allowed(host: ToldHost, tmp_path: Path) -> None:
    elsewhere = {"s3": {"href": "s3://bucket/b.tif"}, "odd": 1, "none": {}, "here": {"href": "a.tif", "title": "x"}}
    for number, main in enumerate(("http://elsewhere.example/a.tif", "s3://bucket/a.tif", "ftp://elsewhere.example/a")):
        give(host, f"/data/{number}", item("s", a=asset(main) | {"alternate": elsewhere}))
        (image,) = opened(f"{host.url}/data/{number}", host, tmp_path)
        assert (cells(image)[0] == random_values((3, 48, 64), seed=0)).all()
        (image,) = opened(f"{host.url}/data/{number}#assets=a,a", host, tmp_path)
        assert len(image.data_bands) == 6
    give(host, "/i", item("s", a=asset("ftp://elsewhere.example/a") | {"alternate": {"s3": elsewhere["s3"]}}))
    said = fault(f"{host.url}/i", host, tmp_path)
    assert isinstance(said.error, ForbiddenError)
    assert "ftp://elsewhere.example/a" in said.detail
    give(host, "/i", item("s", a=asset("/data/none.tif") | {"alternate": {"here": {"href": "/data/a.tif"}}}))
    assert "status 404" in fault(f"{host.url}/i", host, tmp_path).detail


def test_what_was_downloaded_is_not_copied_before_it_is_opened(host: ToldHost, tmp_path: Path) -> None:
    settings = Settings.from_plugin({"hosts": host.authority}, tmp_path)
    give(host, "/i", item("s", a=asset("data/b.tif")))
    links = [{"href": f"{host.url}/{target}"} for target in ("data/a.tif", "data/none.tif", "i")]
    request = read_request(json.dumps({"inputs": {"image": links}}).encode(), FRAME)
    (folder := tmp_path / "fetched").mkdir()
    for _ in range(2):
        download_links(request, settings, folder)
        size_bytes = (tmp_path / "a.tif").stat().st_size
        assert sum(path.stat().st_size == size_bytes for path in folder.iterdir()) == 2


def test_hrefs_of_a_page_start_from_their_item(host: ToldHost, tmp_path: Path) -> None:
    own = {"rel": "self", "href": f"{host.url}/data/items/s"}
    give(host, "/search?limit=2", items(item("s", own, a=asset("../a.tif")), item("t", a=asset("data/b.tif"))))
    assert [image.name for image in opened(f"{host.url}/search?limit=2", host, tmp_path)] == ["s", "t"]


def test_pages_of_a_search_are_followed_in_order(host: ToldHost, tmp_path: Path) -> None:
    def page(names: str, following: str = "") -> dict[str, Any]:
        links = [{"rel": "next", "href": following, "type": "application/geo+json"}] if following else []
        return items(*(item(name, a=asset("/data/a.tif")) for name in names), links=links, numberMatched=4)

    give(host, "/search?limit=2", page("ca", "?limit=2&token=x"))
    give(host, "/search?limit=2&token=x", page("", "?limit=2&token=y"))  # pystac-client ends here
    give(host, "/search?limit=2&token=y", page("bc"))
    assert [image.name for image in opened(f"{host.url}/search?limit=2", host, tmp_path)] == ["c", "a", "b", "c-2"]
    said = fault(f"{host.url}/search?limit=2", host, tmp_path, max_images=3)
    assert isinstance(said.error, LimitError)
    assert "max_images = 3" in said.detail
    give(host, "/search?limit=2&token=y", page("b"))
    assert "3 of 4 features were read" in fault(f"{host.url}/search?limit=2", host, tmp_path).detail


def test_next_page_by_post_is_refused(host: ToldHost, tmp_path: Path) -> None:
    following = {"rel": "next", "href": f"{host.url}/search", "method": "POST", "body": {"token": "x"}}
    give(host, "/search", items(item("s", a=asset("/data/a.tif")), links=[following]))
    assert "is to be requested by POST" in fault(f"{host.url}/search", host, tmp_path).detail


def test_items_of_a_collection(host: ToldHost, tmp_path: Path) -> None:
    frame = {"type": "Collection", "stac_version": "1.0.0", "id": "c", "description": "", "license": "other"}
    give(host, "/c/one/one.json", item("one", a=asset("../../data/a.tif")))
    give(host, "/c/two.json", item("two", a=asset("/data/b.tif")))
    links = [
        {"rel": "root", "href": "/"},
        {"rel": "item", "href": "./one/one.json"},
        {"rel": "item", "href": "two.json"},
    ]
    give(host, "/c/collection.json", frame | {"links": links})
    assert [image.name for image in opened(f"{host.url}/c/collection.json", host, tmp_path)] == ["one", "two"]
    give(host, "/c/items", items(item("three", a=asset("../data/a.tif"))))
    give(host, "/c/api", frame | {"links": [*links, {"rel": "items", "href": "items"}]})
    assert [image.name for image in opened(f"{host.url}/c/api", host, tmp_path)] == ["three"]
    give(host, "/c/none", frame | {"links": []})
    assert "has no link to items" in fault(f"{host.url}/c/none", host, tmp_path).detail


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"a": 1}, "is JSON and no STAC document"),
        ({"type": "FeatureCollection", "features": []}, "has no items"),
        (items({"type": "Feature", "geometry": None, "properties": {}}), "no STAC items"),
        ({"type": "Feature", "id": 5, "assets": {"a": {"href": "a.tif"}}}, "cannot be read"),
        ({"type": "Feature", "id": "s", "assets": {"a": {}}}, "cannot be read"),
        (item("s", a={"href": "file:///etc/passwd"}), "not below a folder"),
        (item("s", a=asset("http://[/a.tif")), "cannot be read"),
    ],
)
def test_what_is_no_item_is_refused(host: ToldHost, tmp_path: Path, document: Any, said: str) -> None:
    give(host, "/i", document)
    assert said in fault(f"{host.url}/i#asset=a", host, tmp_path).detail


def test_assets_of_hosts_that_are_not_allowed_are_refused(host: ToldHost, tmp_path: Path) -> None:
    for href in ("http://127.0.0.2/a.tif", "http://elsewhere.example/a.tif"):
        give(host, "/i", item("s", a=asset(href)))
        assert isinstance(fault(f"{host.url}/i", host, tmp_path).error, ForbiddenError)


def test_files_of_this_machine_are_stamped(host: ToldHost, tmp_path: Path) -> None:
    folder = tmp_path / "imagery"
    (folder / "scenes").mkdir(parents=True)
    band = make_raster(folder / "a.tif", bands=1)
    other = make_raster(folder / "b.tif", bands=1)
    (folder / "scenes" / "i.json").write_text(json.dumps(item("s", a=asset("../a.tif"), b=asset("../b.tif"))))
    href = (folder / "scenes" / "i.json").as_uri()
    for fragment, names in (("#asset=a", ["i.json", "s"]), ("#assets=a,b", ["i.json", "s"])):
        (image,) = opened(href + fragment, host, tmp_path)
        assert image.name == "s"
        settings = Settings.from_plugin({"imagery": str(folder)}, tmp_path)
        request = read_request(json.dumps({"inputs": {"image": {"href": href + fragment}}}).encode(), FRAME)
        before = stamp_images(request, settings, [])[0]
        assert [stamp.name for stamp in before] == names
        assert image.source.location in {stamp.path for stamp in before}
        changed = other if "assets" in fragment else band
        changed.write_bytes(changed.read_bytes() + b"\0")
        assert stamp_images(request, settings, [])[0] != before


def test_pygeoapis_own_items(host: ToldHost, tmp_path: Path) -> None:
    """Its items of files have no time and an old version; its search has pages."""
    (tmp_path / "files").mkdir()
    path = make_raster(tmp_path / "files" / "c.tif", seed=7)
    scenes = items(*(item(f"scene-{n}", a=asset(f"{host.url}/data/a.tif", "visual")) for n in range(5)))
    (tmp_path / "scenes.geojson").write_text(json.dumps(scenes))
    files = {"type": "stac", "name": "FileSystem", "data": str(path.parent), "file_types": [".tif"]}
    features = {"type": "feature", "name": "GeoJSON", "data": str(tmp_path / "scenes.geojson"), "id_field": "id"}
    resources = {
        name: collection(name, providers=[provider]) | {"type": "stac-collection"}
        for name, provider in (("files", files), ("scenes", features))
    }
    with pygeoapi_server(tmp_path, resources) as url:
        authority = f"{host.authority},{url.removeprefix('http://')}"
        both = dataclasses.replace(host, authority=authority)
        for link in ("/stac/files?f=json", "/stac/files/c?f=json"):
            (image,) = opened(url + link, both, tmp_path)
            assert image.name == "c"
            assert (cells(image)[0] == random_values((3, 48, 64), seed=7)).all()
        found = opened(f"{url}/stac-api/search?limit=2", both, tmp_path)
        assert [image.name for image in found] == [f"scene-{n}" for n in range(5)]


NEAREST = {
    "same": (Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 64, 48),
    "finer": (Affine(0.25, 0, 499_999, 0, -0.25, 5_000_001), 160, 120),
    "part": (Affine(0.5, 0, 500_010, 0, -0.5, 4_999_990), 20, 20),
}


@pytest.mark.parametrize("kind", NEAREST)
@pytest.mark.parametrize("nodata", [None, 0])
def test_stacked_bands_are_taken_from_the_cell_that_holds_the_centre(
    host: ToldHost, tmp_path: Path, kind: str, nodata: float | None
) -> None:
    first = random_values((1, 48, 64), "uint16", 1)
    transform, width, height = NEAREST[kind]
    other = random_values((1, height, width), "uint8", 2)
    if nodata is not None:
        other[:, :5] = 0
    give(host, "/r.tif", make_raster(tmp_path / "r.tif", values=first))
    give(host, "/g.tif", make_raster(tmp_path / "g.tif", values=other, transform=transform, nodata=nodata))
    give(host, "/i", item("s", r=asset("r.tif"), g=asset("g.tif")))
    (image,) = opened(f"{host.url}/i#assets=r,g", host, tmp_path)
    assert (image.dtype.name, image.band_names, image.shape) == ("uint16", ("r", "g"), (48, 64))
    assert image.data_bands == (0, 1)
    found, valid = cells(image)
    assert valid.all()  # the first band has a value everywhere
    assert (found[0] == first[0]).all()
    columns = np.floor((500_000 + (np.arange(64) + 0.5) * 0.5 - transform.c) / transform.a).astype(int)
    rows = np.floor((5_000_000 - (np.arange(48) + 0.5) * 0.5 - transform.f) / transform.e).astype(int)
    inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    expected = np.zeros((48, 64), np.uint16)
    expected[inside] = other[0][
        np.ix_(rows[(rows >= 0) & (rows < height)], columns[(columns >= 0) & (columns < width)])
    ]
    assert (found[1] == expected).all()
    (image,) = opened(f"{host.url}/i#assets=g,r,g", host, tmp_path)
    found, _ = cells(image)
    assert (found[0] == found[2]).all()


def test_coarser_bands_are_interpolated(host: ToldHost, tmp_path: Path) -> None:
    """Between the centres of four cells the values are the plane through them."""
    plane = np.add.outer(np.arange(12) * 10.0, np.arange(16) * 4.0)[None].astype("float32")
    coarse = Affine(2, 0, 500_000, 0, -2, 5_000_000)
    give(host, "/r.tif", make_raster(tmp_path / "r.tif", values=random_values((1, 48, 64), "uint8", 1)))
    give(host, "/g.tif", make_raster(tmp_path / "g.tif", values=plane, transform=coarse))
    give(host, "/i", item("s", r=asset("r.tif"), g=asset("g.tif")))
    (image,) = opened(f"{host.url}/i#assets=r,g", host, tmp_path)
    found, _ = cells(image)
    rows, columns = (np.arange(48) + 0.5) / 4 - 0.5, (np.arange(64) + 0.5) / 4 - 0.5
    expected = np.add.outer(rows * 10, columns * 4)
    inner = np.s_[2:-2, 2:-2]
    assert found[1][inner] == pytest.approx(expected[inner], abs=1e-4)


def test_a_stack_is_valid_where_one_band_is(host: ToldHost, tmp_path: Path) -> None:
    """As in one file with a nodata value. A file that ends has no value beyond its end."""
    bands = random_values((2, 48, 64), "uint8", 3)
    bands[0, :10], bands[1, :, :20] = 0, 0
    narrow = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    give(host, "/r.tif", make_raster(tmp_path / "r.tif", values=bands[:1], nodata=0))
    give(host, "/g.tif", make_raster(tmp_path / "g.tif", values=bands[1:, :, :40], transform=narrow, nodata=0))
    give(host, "/i", item("s", r=asset("r.tif"), g=asset("g.tif")))
    (image,) = opened(f"{host.url}/i#assets=r,g", host, tmp_path)
    expected = bands.copy()
    expected[1, :, 40:] = 0
    found, valid = cells(image)
    assert (valid == (expected != 0).any(axis=0)).all()
    assert (found == expected).all()


def test_stacks_that_cannot_be(host: ToldHost, tmp_path: Path) -> None:
    give(host, "/p.tif", make_raster(tmp_path / "p.tif", bands=1, colormap={1: (1, 2, 3, 255)}))
    give(host, "/n.tif", make_raster(tmp_path / "n.tif", crs=None, width=8, height=8))
    give(host, "/t.tif", item("no image"))
    give(host, "/i", item("s", a=asset("data/a.tif"), p=asset("p.tif"), n=asset("n.tif"), t=asset("t.tif")))
    assert "'p' holds colours of a palette" in fault(f"{host.url}/i#assets=a,p", host, tmp_path).detail
    assert "no CRS tells how they lie" in fault(f"{host.url}/i#assets=a,n", host, tmp_path).detail
    assert "cannot be opened" in fault(f"{host.url}/i#assets=a,t", host, tmp_path).detail


def test_a_stack_travels_with_its_plan(host: ToldHost, tmp_path: Path) -> None:
    give(host, "/i", item("s", a=asset("data/a.tif"), b=asset("data/b.tif")))
    (image,) = opened(f"{host.url}/i#assets=a,b", host, tmp_path)
    kept: dict[str, Path] = {}
    saved = image.source.save(image.source.paths[0].parent, kept.__setitem__)
    assert len(kept) == 2
    saved_image = structs.replace(image, source=saved)
    content = msgspec.msgpack.encode(saved_image, enc_hook=to_plain_value)
    back = msgspec.msgpack.decode(content, type=Image, dec_hook=from_plain_value).source
    assert back == saved
    assert back.locate(kept.__getitem__, None) == image.source
    with gdal_settings(), back.locate(kept.__getitem__, None).open() as dataset:
        assert dataset.count == 6
        assert dataset.read(4, window=Window(0, 0, 1, 1)).shape == (1, 1)


def test_a_stack_of_many_blocks(host: ToldHost, tmp_path: Path) -> None:
    """It has no list of blocks of its own, as a file has."""
    bands = random_values((2, 1280, 1024), seed=2)
    for number, name in enumerate("rg"):
        give(
            host, f"/{name}.tif", make_raster(tmp_path / f"{name}.tif", values=bands[number : number + 1], tiled=False)
        )
    give(host, "/i", item("s", r=asset("r.tif"), g=asset("g.tif")))
    (image,) = opened(f"{host.url}/i#assets=r,g", host, tmp_path)
    tiled = structs.replace(image, tile=(256, 256))
    found, valid = cells(tiled)
    assert valid.all()
    assert (found == bands).all()
