"""A plan in files: what other processes, on other machines, need to classify a part of its rows or to publish them all.

    plan.msgpack     images, model, what the client asked for
    sections.arrow   a record batch for each section but the first: its rows in reading order, and where their chips lie
    rows.arrow       all rows in the order of the result
    layer.arrow      the objects, in the order of the input

The files are Arrow's and MessagePack: read where they lie, and with nothing in them that could be executed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from affine import Affine
from numpy.typing import NDArray

from processes.classify.inference import ChipPlan
from processes.classify.planning.feature_rows import footprints_of
from processes.classify.planning.sources import Options, Plan, PlannedRows, Sources
from processes.crs import crs_from_text
from processes.errors import PackageError, at_pointer
from processes.features.layer import Layer
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, Grid
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.separate import ObjectImagePairs
from processes.imagery.tiles import BandSelection
from processes.model.arguments import ModelArguments
from processes.model.catalog import Catalog
from processes.model.runtime.runtimes import require_processor
from processes.sources.stamps import FileStamp

PLAN, SECTIONS, ROWS, LAYER = "plan.msgpack", "sections.arrow", "rows.arrow", "layer.arrow"

_ROWS_AT_ONCE = 2**16


class SavedImage(msgspec.Struct, frozen=True):
    """An `Image`, in plain values."""

    name: str
    path: str
    transform: tuple[float, ...]
    width: int
    height: int
    crs_wkt: str | None
    dtype: str
    bands: int
    data_bands: tuple[int, ...]
    band_names: tuple[str, ...]
    ranges: tuple[tuple[float, float] | None, ...]
    palette: bytes | None
    orientation: int
    has_mask: bool
    tile: tuple[int, int]


class OutputOptions(msgspec.Struct, frozen=True):
    """The form of the result."""

    media_type: str
    crs: str | None
    """As PROJJSON; None = that of the features or images, CRS84 in GeoJSON."""
    result_name: str


class SavedPlan(msgspec.Struct, frozen=True):
    """What a plan's rows have in common."""

    images: list[SavedImage]
    selections: list[BandSelection]
    rule: ChipRule
    is_mosaic: bool
    blackens: bool
    has_features: bool
    """False: the rows are images, and the layer is their outlines."""
    layer_name: str
    layer_crs: str | None
    """As PROJJSON, which loses nothing; None = the layer is a table."""
    has_geometry: bool
    geometry_type: str
    warnings: tuple[str, ...]
    sections: int
    """How many there are, the first one too."""
    file_stamps: tuple[FileStamp, ...]
    """The images as they were when the request was accepted."""
    model: str
    """Its id."""
    model_sha256: str
    arguments: ModelArguments
    options: Options
    """Without the extent, which the rows follow already."""
    output: OutputOptions


def save_rows(plan: Plan, sections: Sequence[NDArray[np.int64]], folder: Path) -> None:
    """Write a plan's rows, and those of each section, into a folder.

    Args:
        plan: what to write.
        sections: the rows of each section but the first, in reading order.
        folder: for the files.
    """
    rows, work = plan.rows, plan.work
    _write(folder / LAYER, _layer_table(rows.layer))
    _write(folder / ROWS, _rows_table(rows))
    fields = [pa.field("row", pa.int64()), pa.field("image", pa.int32()), pa.field("window", pa.list_(pa.int32(), 4))]
    geometry = rows.layer.geometry if work.footprints is not None else None
    if geometry is not None:
        fields.append(pa.field("geometry", geometry.type))
    schema = pa.schema(fields)
    with pa.OSFile(str(folder / SECTIONS), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for wanted in sections:
            windows = pa.array(work.placement.windows[wanted].reshape(-1))
            columns = [
                pa.array(wanted),
                pa.array(work.placement.image[wanted]),
                pa.FixedSizeListArray.from_arrays(windows, 4),
            ]
            if geometry is not None:
                columns.append(geometry.take(pa.array(rows.objects[wanted])).combine_chunks())
            writer.write_batch(pa.record_batch(columns, schema=schema))


def describe_plan(
    plan: Plan,
    images: Sequence[Image],
    sections: int,
    file_stamps: Sequence[FileStamp],
    output: OutputOptions,
) -> SavedPlan:
    """Return what a plan's rows have in common.

    Args:
        plan: the plan.
        images: its images; a relative path is the name that a file is kept under beside the plan.
        sections: how many there are, the first one too.
        file_stamps: its images as they were when the request was accepted.
        output: the form of the result.
    """
    rows, work = plan.rows, plan.work
    return SavedPlan(
        images=[_frozen_image(image) for image in images],
        selections=list(work.selections),
        rule=work.rule,
        is_mosaic=work.mosaic is not None,
        blackens=work.footprints is not None,
        has_features=rows.sources.layer is not None,
        layer_name=rows.layer.name,
        layer_crs=None if rows.layer.crs is None else rows.layer.crs.to_json(),
        has_geometry=rows.layer.geometry is not None,
        geometry_type=rows.layer.geometry_type,
        warnings=rows.warnings,
        sections=sections,
        file_stamps=tuple(file_stamps),
        model=rows.sources.model.id,
        model_sha256=rows.sources.model.sha256,
        arguments=rows.sources.arguments,
        options=dataclasses.replace(rows.sources.options, extent=None),
        output=output,
    )


def encode_plan(saved: SavedPlan) -> bytes:
    """Return the content of the file `PLAN`."""
    return msgspec.msgpack.encode(saved)


def decode_plan(content: bytes) -> SavedPlan:
    """Read the content of the file `PLAN`."""
    return msgspec.msgpack.decode(content, type=SavedPlan)


def load_images(saved: SavedPlan, locate: Callable[[str], Path]) -> list[Image]:
    """Return the images of a plan; `locate` says where a file of the plan lies on this machine."""
    return [_thawed_image(image, locate(image.path)) for image in saved.images]


def load_sources(saved: SavedPlan, images: Sequence[Image], catalog: Catalog) -> Sources:
    """Return what a plan works on, with the model as it is installed on this machine, and without the layer.

    Args:
        saved: the plan.
        images: its images.
        catalog: the installed models.

    Raises:
        RequestError: the model is another one by now, or this machine lacks the processor that is asked for.
    """
    with at_pointer("/inputs/processorType"):
        require_processor(saved.options.processor)
    with at_pointer("/inputs/model"):
        model = catalog.model(saved.model)
        if model.sha256 != saved.model_sha256:
            raise PackageError(f"the model {model.id!r} was changed after the request was accepted")
    return Sources(images, [], None, model, saved.arguments, saved.options)


def load_section(
    saved: SavedPlan, images: Sequence[Image], source: Any, place: int
) -> tuple[ChipPlan, NDArray[np.int64]]:
    """Return what is to be done in a section, as a work of its rows alone, and which rows of the plan they are.

    Args:
        frozen: the plan.
        images: its images.
        source: the file `SECTIONS`, opened; no more than the section is read.
        place: of the section in the file, from 0.
    """
    batch = pa.ipc.open_file(source).get_batch(place)
    windows = batch.column("window").flatten().to_numpy().reshape(-1, 4)
    placement = Placement(batch.column("image").to_numpy(), windows)
    footprints = None
    if saved.blackens:
        objects = np.arange(batch.num_rows)
        geometry = pa.chunked_array([batch.column("geometry")])
        footprints = footprints_of(_layer(saved, pa.table({}), geometry), images, ObjectImagePairs(objects, placement))
    mosaic = Mosaic(images) if saved.is_mosaic else None
    work = ChipPlan(images, saved.selections, saved.rule, placement, mosaic, footprints)
    return work, batch.column("row").to_numpy()


def load_rows(saved: SavedPlan, sources: Sources, rows_path: Path, layer_path: Path) -> PlannedRows:
    """Return all rows of a plan, in the order of the result; their columns stay in the files until they are looked at.

    Args:
        frozen: the plan.
        material: images, model, arguments and options; the layer is taken from the plan.
        rows_path: the file `ROWS`.
        layer_path: the file `LAYER`.
    """
    rows, layer = _read(rows_path), _thawed_layer(saved, _read(layer_path))
    there = set(rows.schema.names)
    image_ids = rows.column("image_id") if "image_id" in there else None
    return PlannedRows(
        sources=dataclasses.replace(sources, layer=layer if saved.has_features else None),
        layer=layer,
        objects=rows.column("object").to_numpy(),
        empty=rows.column("empty").to_numpy(),
        ids=rows.column("id") if "id" in there else None,
        image_ids=image_ids.combine_chunks() if image_ids is not None else None,
        warnings=saved.warnings,
    )


def _layer_table(layer: Layer) -> pa.Table:
    """Return a layer as one table, its geometry before its attributes; the ids are the rows'."""
    if layer.geometry is None:
        return layer.attributes
    fields = [pa.field("geometry", layer.geometry.type), *layer.attributes.schema]
    return pa.Table.from_arrays([layer.geometry, *layer.attributes.columns], schema=pa.schema(fields))


def _thawed_layer(saved: SavedPlan, table: pa.Table) -> Layer:
    if not saved.has_geometry:
        return _layer(saved, table, None)
    return _layer(saved, table.select(range(1, table.num_columns)), table.column(0))


def _layer(saved: SavedPlan, attributes: pa.Table, geometry: pa.ChunkedArray | None) -> Layer:
    crs = None if saved.layer_crs is None else crs_from_text(saved.layer_crs)
    return Layer(saved.layer_name, crs, geometry, saved.geometry_type, attributes, None)


def _rows_table(rows: PlannedRows) -> pa.Table:
    columns = {"object": pa.array(rows.objects), "empty": pa.array(rows.empty)}
    if rows.ids is not None:
        columns["id"] = rows.ids
    if rows.image_ids is not None:
        columns["image_id"] = rows.image_ids
    return pa.table(columns)


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_AT_ONCE)


def _read(path: Path) -> pa.Table:
    """Return a table whose columns lie in the file: what is not looked at takes no memory.

    The file cannot be changed by that, but its image in memory can: GDAL writes into the geometries that it is given.
    """
    with path.open("rb") as file:
        image = mmap(file.fileno(), 0, access=ACCESS_COPY)
    return pa.ipc.open_file(pa.py_buffer(image)).read_all()


def _frozen_image(image: Image) -> SavedImage:
    return SavedImage(
        name=image.name,
        path=str(image.path),
        transform=tuple(image.grid.transform)[:6],
        width=image.grid.width,
        height=image.grid.height,
        crs_wkt=image.crs_wkt,
        dtype=image.dtype.str,
        bands=image.bands,
        data_bands=image.data_bands,
        band_names=image.band_names,
        ranges=image.ranges,
        palette=None if image.palette is None else image.palette.tobytes(),
        orientation=image.orientation,
        has_mask=image.has_mask,
        tile=image.tile,
    )


def _thawed_image(saved: SavedImage, path: Path) -> Image:
    return Image(
        name=saved.name,
        path=path,
        grid=Grid(Affine(*saved.transform), saved.width, saved.height),
        crs_wkt=saved.crs_wkt,
        dtype=np.dtype(saved.dtype),
        bands=saved.bands,
        data_bands=saved.data_bands,
        band_names=saved.band_names,
        ranges=saved.ranges,
        palette=None if saved.palette is None else np.frombuffer(saved.palette, np.uint8).reshape(-1, 3),
        orientation=saved.orientation,
        has_mask=saved.has_mask,
        tile=saved.tile,
    )
