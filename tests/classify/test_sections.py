"""Work in sections gives what work at once gives: the plan goes through files, the labels too, and nothing is lost."""

from __future__ import annotations

import base64
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from affine import Affine
from msgspec import structs
from msgspec.structs import replace
from numpy.typing import NDArray

from conftest import MakePackage
from gpu_doubles import SmallGpu
from processes.classify.pipeline import classify_rows, useful_threads
from processes.classify.process import ClassifyObjects
from processes.classify.sections import PLAN, decode_plan, encode_plan
from processes.errors import RequestError, ServiceError
from processes.imagery.image import open_image
from processes.imagery.source import FileSource
from processes.jobs.files import FolderStorage
from processes.model.catalog import Catalog
from processes.model.function_session import FunctionSession
from processes.model.runtime import runtimes
from processes.model.runtime.onnx_runtime import OnnxRuntime
from processes.model.runtime.runtime import Chips
from processes.model.session import Session, open_session
from processes.ogc.execution import Execution
from processes.ogc.process import Output, Sections
from processes.settings import Settings
from rasters import make_raster
from service import link, models_checked_here

X, Y = 500_000, 5_000_000
CRS = {"type": "name", "properties": {"name": "EPSG:32633"}}


def feature(number: int, geometry: Any, identifier: Any) -> dict[str, Any]:
    shape = None if geometry is None else shapely.geometry.mapping(geometry)
    own = {} if identifier is None else {"id": identifier}
    properties = {"n": number, "deep": {"a": [number]}, **({"some": "é"} if number % 2 else {})}
    return {"type": "Feature", **own, "properties": properties, "geometry": shape}


def collection(ids: Callable[[int], Any] = lambda number: number * 3) -> dict[str, Any]:
    """Return objects of every kind: in two images, in none, empty, without geometry, with a hole, many at one place."""
    rng = np.random.default_rng(1)
    places = rng.uniform((X + 3, Y - 60), (X + 120, Y - 3), (40, 2))
    shapes: list[Any] = [
        shapely.Point(place).buffer(radius) for place, radius in zip(places, itertools.cycle((1, 2, 5)))
    ]
    shapes[3] = shapely.Point(places[3])
    shapes[7] = None
    shapes[11] = shapely.from_wkt("POLYGON EMPTY")
    shapes[13] = shapely.box(X + 9000, Y, X + 9010, Y + 10)
    shapes[17] = shapes[2].difference(shapes[2].centroid.buffer(1))
    shapes[19] = shapely.MultiPolygon(
        [shapely.box(X + 5, Y - 9, X + 9, Y - 5), shapely.box(X + 20, Y - 9, X + 22, Y - 5)]
    )
    features = [feature(number, shape, ids(number)) for number, shape in enumerate(shapes)]
    return {"type": "FeatureCollection", "crs": CRS, "features": features}


@pytest.fixture
def imagery(settings: Settings) -> Path:
    folder = settings.imagery[0]
    for number, column in enumerate((0, 60)):
        transform = Affine(1, 0, X + column, 0, -1, Y)
        make_raster(folder / f"{number}.tif", width=70, height=64, transform=transform, blocksize=16, seed=number)
        make_raster(folder / f"plain-{number}.png", crs=None, driver="PNG", seed=number)
    return folder


@pytest.fixture
def process(settings: Settings, make_package: MakePackage) -> Iterator[ClassifyObjects]:
    make_package("fixed")
    make_package("variable", CropSizeFixed=0)
    make_package("black", BlackenAroundFeature=1)
    make_package("several", MetaDataMode="MultiLabeled_Tiles", Activation="sigmoid")
    with models_checked_here():
        yield ClassifyObjects(settings, Catalog.from_settings(settings), 1)


class Sectioned:
    """A request that is worked off in sections, by as many instances of the process as there are steps."""

    def __init__(self, process: ClassifyObjects, execution: Execution, folder: Path) -> None:
        self.process, self.execution = process, execution
        self.storage = FolderStorage(folder / "results")
        self.storage.put_execution("job", b"")
        self.scratch = (folder / f"scratch-{number}" for number in itertools.count())

    def files(self) -> Any:
        scratch = next(self.scratch)
        scratch.mkdir()
        return self.storage.files("job", "plan", scratch)

    def begin(self) -> tuple[Sections, list[int]]:
        done: list[int] = []
        begun = self.process.begin(self.execution, self.files(), lambda _: None, done.append)
        assert isinstance(begun, Sections)
        return begun, done

    def finish(self) -> Output:
        return self.process.finish(self.files())


@pytest.fixture(autouse=True)
def _small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first section be over at once, and each other one hold one object, or some."""
    monkeypatch.setattr("processes.classify.process._FIRST_SECTION_S", 0)


def execution_of(process: ClassifyObjects, inputs: dict[str, Any], media_type: str | None = None) -> Execution:
    outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}} if media_type else None
    body = json.dumps({"inputs": inputs} | ({"outputs": outputs} if outputs else {})).encode()
    execution = Execution.read("classify-objects", body, process.describe(), result_name="trees")
    return replace(execution, file_stamps=process.validate(execution).file_stamps)


GEOJSON, GEOPACKAGE = "application/geo+json", "application/geopackage+sqlite3"
CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "fixed": ({"model": "fixed"}, None),
    "variable": ({"model": "variable"}, None),
    "blackened": ({"model": "black"}, None),
    "several labels": ({"model": "several"}, None),
    "scores": ({"model": "fixed", "modelArguments": {"class_scores": True, "batch_size": 3}}, "text/csv"),
    "threshold": ({"model": "fixed", "modelArguments": {"score_threshold": 0.51}}, None),
    "another cell size and field": ({"model": "fixed", "cellSize": 2.5, "classLabelField": "After"}, None),
    "each image by itself": ({"model": "black", "processingMode": "separate"}, None),
    "a part": ({"model": "fixed", "extent": {"bbox": [X, Y - 30, X + 60, Y], "crs": "EPSG:32633"}}, None),
    "another CRS": ({"model": "fixed", "outputCrs": "EPSG:3857"}, "application/vnd.flatgeobuf"),
    "Parquet": ({"model": "fixed"}, "application/vnd.apache.parquet"),
    "GeoPackage": ({"model": "fixed"}, GEOPACKAGE),
    "a sequence": ({"model": "fixed"}, "application/geo+json-seq"),
    "a table": ({"model": "fixed"}, "application/json"),
}


def content(answer: Output, folder: Path) -> Any:
    """Return what an answer holds, in a form in which equal answers are equal."""
    assert isinstance(answer.content, Path)
    if answer.media_type != GEOPACKAGE:  # which holds the time of its making
        return answer.content.read_bytes()
    return pyogrio.raw.read(answer.content, return_fids=True)[1].tolist(), str(pyogrio.read_arrow(answer.content)[1])


IDS: dict[str, Callable[[int], Any]] = {
    "numbers": lambda number: number * 3,
    "texts": "tree-{}".format,
    "none": lambda _: None,
    "mixed": lambda number: number if number % 2 else f"t{number}",
}
PAIRS = list(zip(CASES, itertools.cycle(IDS), strict=False))
PAIRS += [("each image by itself", "none"), ("GeoPackage", "numbers")]  # where ids are made of ids, or are the fids


@pytest.mark.parametrize(("case", "ids"), PAIRS)
def test_sections_give_what_work_at_once_gives(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, case: str, ids: str
) -> None:
    inputs, media_type = CASES[case]
    inputs = {"image": link(imagery), "features": collection(IDS[ids]), **inputs}
    inputs["image"] = [link(imagery / name) for name in ("0.tif", "1.tif")]
    order = execution_of(process, inputs, media_type)
    (tmp_path / "at-once").mkdir()
    expected = process.execute(order, tmp_path / "at-once")
    work = Sectioned(process, order, tmp_path)
    begun, done = work.begin()
    assert len(begun.objects) > 5
    assert sum(done) == begun.without_chip + begun.objects[0]
    found_so_far = np.array([item["count"] for item in begun.classes])
    for section in np.random.default_rng(0).permutation(range(1, len(begun.objects))).tolist():
        counted: list[int] = []
        found_so_far += work.process.run_section(work.files(), section, counted.append).counts
        assert sum(counted) == begun.objects[section]
    found = work.finish()
    assert found.summary is not None
    assert found.summary["classes"] == [
        {**item, "count": count} for item, count in zip(begun.classes, found_so_far.tolist(), strict=True)
    ]
    assert (found.media_type, found.summary) == (expected.media_type, expected.summary)
    assert content(found, tmp_path) == content(expected, tmp_path)
    assert expected.stored == {}
    placement = process.plan(order, tmp_path / "at-once").chips.placement
    chips = pa.ipc.open_file(found.stored["chips"].read_bytes()).read_all()
    assert chips.column("image").to_pylist() == placement.image.tolist()
    assert chips.column("window").to_pylist() == placement.windows.tolist()


@pytest.mark.parametrize("name", ["plain-{}.png", "{}.tif"])
def test_images_are_sectioned_too(process: ClassifyObjects, imagery: Path, tmp_path: Path, name: str) -> None:
    order = execution_of(
        process, {"image": [link(imagery / name.format(number)) for number in (0, 1)], "model": "fixed"}
    )
    (tmp_path / "at-once").mkdir()
    expected = process.execute(order, tmp_path / "at-once")
    work = Sectioned(process, order, tmp_path)
    begun, _ = work.begin()
    for section in range(1, len(begun.objects)):
        work.process.run_section(work.files(), section, lambda _: None)
    assert content(work.finish(), tmp_path) == content(expected, tmp_path)


@pytest.mark.parametrize("media_type", [None, "text/csv"])
def test_a_section_that_takes_long_goes_on_where_it_stopped(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, media_type: str | None
) -> None:
    """Chips as large as an image, and small ones, are read in as many steps as they have parts."""
    monkeypatch.setattr("processes.classify.process._STEP_S", -1)
    monkeypatch.setattr("processes.imagery.large_chips._PART_PX", 256)
    path = make_raster(
        imagery / "large.tif", width=700, height=520, blocksize=256, transform=Affine(1, 0, X, 0, -1, Y), nodata=7
    )
    boxes = [shapely.box(X + 5 + n, Y - 510, X + 690 - 9 * n, Y - 3 - n) for n in range(3)]
    boxes += [shapely.Point(X + 30 * n, Y - 20 * n).buffer(7) for n in range(9)]
    features = [feature(number, shape, number) for number, shape in enumerate(boxes)]
    layer = {"type": "FeatureCollection", "crs": CRS, "features": features}
    arguments = {"class_scores": media_type is not None, "batch_size": 4}
    inputs = {"image": link(path), "features": layer, "model": "variable", "modelArguments": arguments}
    order = execution_of(process, inputs, media_type)
    (tmp_path / "at-once").mkdir()
    expected = process.execute(order, tmp_path / "at-once")
    work = Sectioned(process, order, tmp_path)
    begun, _ = work.begin()
    steps = []
    for section in range(1, len(begun.objects)):
        shares = [0.0]
        while shares[-1] < 1:
            shares.append(work.process.run_section(work.files(), section, lambda _: None).share)
            assert shares[-1] > shares[-2]
        steps.append(len(shares) - 1)
    assert sum(steps) > 3 * 6
    assert content(work.finish(), tmp_path) == content(expected, tmp_path)


def test_a_whole_image_is_begun_in_the_first_section_and_goes_on_from_there(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.classify.process._FIRST_SECTION_S", 60)
    monkeypatch.setattr("processes.classify.process._STEP_S", -1)
    monkeypatch.setattr("processes.imagery.large_chips._PART_PX", 256)
    path = make_raster(imagery / "large.tif", width=700, height=520, blocksize=256, transform=Affine(1, 0, X, 0, -1, Y))
    order = execution_of(process, {"image": link(path), "model": "fixed"})
    (tmp_path / "at-once").mkdir()
    expected = process.execute(order, tmp_path / "at-once")
    work = Sectioned(process, order, tmp_path)
    begun, done = work.begin()
    assert (begun.objects, sum(done)) == ((0, 1), 0)
    kept = [path.name for path in sorted((work.storage.folder / "job" / "plan").glob("paused-*"))]
    assert kept == ["paused-000001-0000.msgpack"]
    steps = 1
    while work.process.run_section(work.files(), 1, lambda _: None).share < 1:
        steps += 1
    assert steps == 8  # the ninth part, of 3 x 3, was the first one
    assert content(work.finish(), tmp_path) == content(expected, tmp_path)


def test_inline_images_are_kept_with_the_plan(process: ClassifyObjects, imagery: Path, tmp_path: Path) -> None:
    data = [base64.b64encode((imagery / f"{number}.tif").read_bytes()).decode() for number in (0, 1)]
    images = [{"value": text, "encoding": "base64", "mediaType": "image/tiff"} for text in data]
    order = execution_of(process, {"image": images, "features": collection(), "model": "black"})
    (tmp_path / "at-once").mkdir()
    expected = process.execute(order, tmp_path / "at-once")
    work = Sectioned(process, order, tmp_path)
    begun, _ = work.begin()
    for folder in tmp_path.glob("scratch-*"):
        for path in folder.rglob("*"):
            assert not path.is_file() or path.stat().st_size == 0, path
    for section in range(1, len(begun.objects)):
        work.process.run_section(work.files(), section, lambda _: None)
    assert content(work.finish(), tmp_path) == content(expected, tmp_path)


@pytest.fixture
def begun(process: ClassifyObjects, imagery: Path, tmp_path: Path) -> Sectioned:
    images = [link(imagery / name) for name in ("0.tif", "1.tif")]
    work = Sectioned(
        process, execution_of(process, {"image": images, "features": collection(), "model": "fixed"}), tmp_path
    )
    work.begin()
    return work


def test_an_image_that_changes_under_the_job_is_named(begun: Sectioned, imagery: Path) -> None:
    stat = (imagery / "0.tif").stat()
    os.utime(imagery / "0.tif", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    failures = []
    for section in range(1, 30):
        try:
            begun.process.run_section(begun.files(), section, lambda _: None)
        except ServiceError as err:
            failures.append(err.detail)
    assert set(failures) == {"'0.tif' was changed after the request was accepted"}


def test_an_image_that_only_fills_edges_of_others_is_pinned_too(begun: Sectioned, imagery: Path) -> None:
    begun.process.run_section(begun.files(), 1, lambda _: None)
    stat = (imagery / "1.tif").stat()
    os.utime(imagery / "1.tif", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    for section in range(2, 5):  # objects whose chips lie on the first image
        with pytest.raises(ServiceError, match=r"'1\.tif' was changed after the request was accepted"):
            begun.process.run_section(begun.files(), section, lambda _: None)


def test_an_image_that_changes_while_it_is_read_is_noticed_after(begun: Sectioned, imagery: Path) -> None:
    def change(_: int) -> None:
        for name in ("0.tif", "1.tif"):
            os.utime(imagery / name)

    with pytest.raises(ServiceError, match="was changed after the request was accepted"):
        begun.process.run_section(begun.files(), 1, change)
    assert not list((begun.storage.folder / "job" / "plan").glob("labels-000001*"))


def test_files_that_change_before_the_work_begins_are_named(
    process: ClassifyObjects, imagery: Path, tmp_path: Path
) -> None:
    features = imagery / "trees.geojson"
    features.write_text(json.dumps(collection()))
    order = execution_of(process, {"image": link(imagery / "0.tif"), "features": link(features), "model": "fixed"})
    features.write_text(json.dumps(collection()) + " ")
    with pytest.raises(ServiceError, match=r"'trees\.geojson' was changed after the request was accepted"):
        Sectioned(process, order, tmp_path).begin()


def test_an_image_that_joins_a_folder_is_noticed(process: ClassifyObjects, imagery: Path, tmp_path: Path) -> None:
    (imagery / "sheets").mkdir()
    make_raster(imagery / "sheets" / "a.tif")
    order = execution_of(process, {"image": link(imagery / "sheets"), "model": "fixed"})
    make_raster(imagery / "sheets" / "b.tif")
    with pytest.raises(ServiceError, match=r"'b\.tif' was changed after"):
        Sectioned(process, order, tmp_path).begin()


def test_a_model_that_changes_under_the_job_is_noticed(begun: Sectioned, settings: Settings) -> None:
    network = settings.models[0] / "fixed" / "net.onnx"
    network.write_bytes((settings.models[0] / "fixed" / "net.onnx").read_bytes().replace(b"mean", b"main"))
    with pytest.raises(ServiceError, match="the model 'fixed' was changed after the request was accepted"):
        begun.process.run_section(begun.files(), 1, lambda _: None)


def test_a_section_that_was_done_is_not_done_again(begun: Sectioned, imagery: Path) -> None:
    begun.process.run_section(begun.files(), 1, lambda _: None)
    (imagery / "0.tif").unlink()
    (imagery / "1.tif").unlink()

    def fail(_: int) -> None:
        raise AssertionError("it works")

    begun.process.run_section(begun.files(), 1, fail)


def no_numbers(_: Session, chips: Chips, batch_size: int | None = None) -> NDArray[np.float32]:
    """Return what a network gives that has no finite number for any chip."""
    return np.full((len(chips), 2), np.nan, np.float32)


def test_objects_without_finite_scores_cost_no_job_though_whole_sections_are_so(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = execution_of(
        process, {"image": link(imagery / "0.tif"), "features": collection("tree-{}".format), "model": "fixed"}
    )
    work = Sectioned(process, order, tmp_path)
    begun, _ = work.begin()
    monkeypatch.setattr("processes.model.session.Session.outputs", no_numbers)
    for section in range(1, len(begun.objects)):
        work.process.run_section(work.files(), section, lambda _: None)
    found = work.finish()
    assert found.summary is not None
    broken = sum(begun.objects[1:])
    assert found.summary["status"]["not-finite"] == broken > 5
    assert found.summary["status"]["ok"] == begun.objects[0]
    assert isinstance(found.content, Path)
    rows = [(item["id"], item["properties"]) for item in json.loads(found.content.read_bytes())["features"]]
    named = [identifier for identifier, row in rows if row["ClassStatus"] == "not-finite"]
    assert {(row["ClassLabel"], row["ClassValue"], row["Confidence"]) for name, row in rows if name in named} == {
        (None, None, None)
    }
    assert found.summary["warnings"] == [
        f"{broken} of {len(rows)} objects have the status not-finite: the network gave something that is no finite number; "
        f"the first is object {named[0]}"
    ]


def test_batches_that_were_halved_for_want_of_memory_are_told_once(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each section has a process of its own, which comes to a size of its own, and tells the first one."""
    monkeypatch.setattr("processes.classify.process._STEP_S", -1)  # a section takes several steps
    arguments = {"batch_size": 8, "class_scores": True}
    inputs = {"image": link(imagery / "0.tif"), "features": collection(), "model": "fixed", "modelArguments": arguments}
    plain = process.execute(execution_of(process, inputs), _folder(tmp_path / "plain"))
    assert plain.summary is not None
    monkeypatch.setattr(runtimes, "RUNTIMES", (SmallGpu(5),))
    order = execution_of(process, {**inputs, "processorType": "GPU"})
    at_once = process.execute(order, _folder(tmp_path / "at-once"))
    words = "the memory was not enough for the batches: they were halved, down to {}; the argument batch_size sets their size"
    assert at_once.summary == {**plain.summary, "warnings": [*plain.summary["warnings"], words.format("4 chips")]}
    work = Sectioned(process, order, tmp_path)
    open_session.cache_clear()
    begun, _ = work.begin()
    for section in range(1, len(begun.objects)):
        open_session.cache_clear()
        monkeypatch.setattr(runtimes, "RUNTIMES", (SmallGpu(1 if section == 2 else 5),))
        while work.process.run_section(work.files(), section, lambda _: None).share < 1:
            pass
    found = work.finish()
    assert found.summary is not None
    assert found.summary["warnings"] == [*plain.summary["warnings"], words.format("1 chip")]
    assert isinstance(found.content, Path)
    assert isinstance(at_once.content, Path)
    one, other = (json.loads(path.read_bytes())["features"] for path in (found.content, at_once.content))
    assert one == other


def test_precision_that_is_not_computed_in_is_told_once(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, make_package: MakePackage
) -> None:
    make_package("halves", Precision="fp16", ImageHeight=6, ImageWidth=6)
    inputs = {"image": link(imagery / "0.tif"), "features": collection(), "model": "halves", "processorType": "CPU"}
    work = Sectioned(process, execution_of(process, inputs), tmp_path)
    begun, _ = work.begin()
    for section in range(1, len(begun.objects)):
        while work.process.run_section(work.files(), section, lambda _: None).share < 1:
            pass
    found = work.finish()
    assert found.summary is not None
    told = [warning for warning in found.summary["warnings"] if warning.startswith("Precision")]
    assert len(told) == 1
    assert told[0].startswith("Precision is fp16, but ONNX Runtime has no fp16 on CPUs, and OpenVINO is ")
    assert told[0].endswith(": the network runs in fp32")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("others", [0, 1])
def test_job_fails_where_the_network_gives_no_finite_number_for_any_object(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """An object outside the image is not one of them: then the layer is written."""
    monkeypatch.setattr("processes.model.session.Session.outputs", no_numbers)
    places = [(X + 20, Y - 20), (X + 40, Y - 30), *[(X + 9000, Y)] * others]
    features = [feature(number, shapely.Point(place), f"tree-{number}") for number, place in enumerate(places)]
    layer = {"type": "FeatureCollection", "crs": CRS, "features": features}
    order = execution_of(process, {"image": link(imagery / "0.tif"), "features": layer, "model": "fixed"})
    work = Sectioned(process, order, tmp_path)
    begun, _ = work.begin()
    for section in range(1, len(begun.objects)):
        work.process.run_section(work.files(), section, lambda _: None)
    if others:
        assert (work.finish().summary or {})["status"] == {"ok": 0, "outside-image": 1, "not-finite": 2}
        return
    (tmp_path / "at-once").mkdir()
    for do in (work.finish, lambda: process.execute(order, tmp_path / "at-once")):
        with pytest.raises(RequestError, match="not a finite number for any object, from object tree-0 on") as caught:
            do()
        assert [fault.pointer for fault in caught.value.faults] == ["/inputs/model"]


def test_a_plan_is_small_and_readable(begun: Sectioned) -> None:
    plan = decode_plan((begun.storage.folder / "job" / "plan" / PLAN).read_bytes())
    assert [image.name for image in plan.images] == ["0.tif", "1.tif"]
    assert (plan.model, plan.options.mode) == ("fixed", "mosaic")
    assert (plan.output.media_type, plan.output.result_name) == (GEOJSON, "trees")
    assert {stamp.name for stamp in plan.file_stamps} == {"0.tif", "1.tif"}


def test_an_image_s_palette_alpha_and_warnings_travel_with_a_plan(begun: Sectioned, tmp_path: Path) -> None:
    plan = decode_plan((begun.storage.folder / "job" / "plan" / PLAN).read_bytes())
    colors = {place: (place, 2, 3, 0 if place == 4 else 255) for place in range(256)}
    places = make_raster(tmp_path / "a.png", driver="PNG", bands=1, tiled=False, colormap=colors)
    alpha = make_raster(tmp_path / "b.tif", bands=4, dtype="uint16", alpha=True)
    images = [open_image(FileSource(path, path.name), 10**9) for path in (places, alpha)]
    images[1] = structs.replace(images[1], warnings=("scale and offset are not applied",))
    plan = decode_plan(encode_plan(msgspec.structs.replace(plan, images=images)))
    for sent, found in zip(images, plan.images, strict=True):
        assert structs.replace(found, palette=None) == structs.replace(sent, palette=None)
    assert images[0].palette is not None
    np.testing.assert_array_equal(plan.images[0].palette, images[0].palette)
    assert plan.images[0].palette[4].tolist() == [4, 2, 3, 0]  # type: ignore[index]
    assert (plan.images[1].palette, plan.images[1].alpha_bands) == (None, (4,))


def test_work_that_is_done_in_time_has_no_sections(
    process: ClassifyObjects, imagery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.classify.process._FIRST_SECTION_S", 60)
    order = execution_of(process, {"image": link(imagery / "0.tif"), "features": collection(), "model": "fixed"})
    work = Sectioned(process, order, tmp_path)
    planned: list[int] = []
    assert isinstance(work.process.begin(order, work.files(), planned.append, lambda _: None), Output)
    assert planned == [40]
    assert not (work.storage.folder / "job" / "plan").exists()


@pytest.mark.parametrize(("times", "expected"), [(2, Sections), (1e9, Output)])
def test_work_that_will_soon_be_done_is_not_cut(
    times: float,
    expected: type,
    process: ClassifyObjects,
    imagery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("processes.classify.process._FIRST_SECTION_S", 0.05)
    monkeypatch.setattr("processes.classify.process._WHOLE", times)
    inputs = {"image": link(imagery / "0.tif"), "features": collection(), "model": "fixed"}
    order = execution_of(process, inputs | {"modelArguments": {"batch_size": 2}})
    done: list[int] = []

    def progress(objects: int) -> None:
        done.append(objects)
        time.sleep(0.1 if objects == 2 else 0)

    begun = process.begin(order, Sectioned(process, order, tmp_path).files(), lambda _: None, progress)
    assert isinstance(begun, expected)
    assert 2 in done


@pytest.mark.parametrize(("takes_more", "expected"), [(True, [1, 3]), (False, [1, 1])])
def test_the_first_section_uses_as_many_cores_as_help_it(
    takes_more: bool,
    expected: list[int],
    process: ClassifyObjects,
    imagery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OnnxRuntime, "takes_more_callers", takes_more)
    inputs = {"image": link(imagery / "0.tif"), "features": collection(), "model": "fixed"}
    order, used = execution_of(process, inputs), list[int]()

    def note(*arguments: Any) -> Any:
        used.append(arguments[5])
        return classify_rows(*arguments)

    monkeypatch.setattr("processes.classify.process.classify_rows", note)
    for cores in (None, 3):
        work = Sectioned(process, order, tmp_path / f"{cores}")
        process.begin(order, work.files(), lambda _: None, lambda _: None, cores)
    assert used == expected


def test_a_raster_function_is_not_called_by_more_threads() -> None:
    assert useful_threads(object.__new__(FunctionSession), 2, 8) == 2
