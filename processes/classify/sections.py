"""A plan in files: what other processes, on other machines, need to classify a part of its rows or to publish them all.

    plan.msgpack     images, model, what the client asked for
    sections.arrow   a record batch for each section but the first: its rows in reading order, and where their chips lie
    rows.arrow       all rows in the order of the result
    layer.arrow      the objects, in the order of the input

The files are Arrow's and MessagePack: read where they lie, and with nothing in them that could be executed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any, get_origin

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.classify.planning.bands import model_for
from processes.classify.planning.feature_rows import footprints_of
from processes.classify.planning.options import Options
from processes.classify.planning.sources import Plan, PlannedRows, Sources
from processes.confinement.confinement import require_network
from processes.crs import crs_from_text
from processes.errors import at_pointer
from processes.features.layer import Layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.remote_source import RemoteAccess, RemoteImageSource
from processes.imagery.separate import ObjectImagePairs
from processes.imagery.services.any_source import AnySource
from processes.imagery.source import ImageSource
from processes.imagery.tiles import BandSelection
from processes.model.arguments import ModelArguments
from processes.model.catalog import Catalog
from processes.model.runtime.runtimes import require_processor
from processes.ogc.process import LostFilesError
from processes.sources.stamps import FileStamp

PLAN, SECTIONS, ROWS, LAYER = "plan.msgpack", "sections.arrow", "rows.arrow", "layer.arrow"

_PLACED_IMAGE, _WINDOW = "image", "window"
"""Columns of the file `ROWS` that say where the chips lie."""
_ROWS_IN_BATCH = 2**16
"""Rows of a record batch in the files `ROWS` and `LAYER`."""


class OutputOptions(msgspec.Struct, frozen=True):
    """The form of the result."""

    media_type: str
    crs: str | None
    """As PROJJSON; None = that of the features or images, CRS84 in GeoJSON."""
    result_name: str


class SavedPlan(msgspec.Struct, frozen=True):
    """What a plan's rows have in common."""

    images: list[Image]
    """Their sources as other machines find them."""
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
    model_digest: str
    """Of the package when the work began."""
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
    rows, chips = plan.rows, plan.chips
    _write(folder / LAYER, _layer_table(rows.layer))
    _write(folder / ROWS, _rows_table(rows, chips.placement))
    fields = [pa.field("row", pa.int64()), pa.field("image", pa.int32()), pa.field("window", pa.list_(pa.int32(), 4))]
    geometry = rows.layer.geometry if chips.footprints is not None else None
    if geometry is not None:
        fields.append(pa.field("geometry", geometry.type))
    schema = pa.schema(fields)
    with pa.OSFile(str(folder / SECTIONS), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for section_rows in sections:
            windows = pa.array(chips.placement.windows[section_rows].reshape(-1))
            columns = [
                pa.array(section_rows),
                pa.array(chips.placement.image[section_rows]),
                pa.FixedSizeListArray.from_arrays(windows, 4),
            ]
            if geometry is not None:
                columns.append(geometry.take(pa.array(rows.objects[section_rows])).combine_chunks())
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
        images: its images, their sources as other machines find them.
        sections: how many there are, the first one too.
        file_stamps: its images as they were when the request was accepted.
        output: the form of the result.
    """
    rows, chips = plan.rows, plan.chips
    return SavedPlan(
        images=list(images),
        selections=list(chips.selections),
        rule=chips.rule,
        is_mosaic=chips.mosaic is not None,
        blackens=chips.footprints is not None,
        has_features=rows.sources.layer is not None,
        layer_name=rows.layer.name,
        layer_crs=None if rows.layer.crs is None else rows.layer.crs.to_json(),
        has_geometry=rows.layer.geometry is not None,
        geometry_type=rows.layer.geometry_type,
        warnings=rows.warnings,
        sections=sections,
        file_stamps=tuple(file_stamps),
        model=rows.sources.model.id,
        model_digest=rows.sources.model.sha256,
        arguments=rows.sources.arguments,
        options=msgspec.structs.replace(rows.sources.options, extent=None),
        output=output,
    )


def encode_plan(saved: SavedPlan) -> bytes:
    """Return the content of the file `PLAN`."""
    return msgspec.msgpack.encode(saved, enc_hook=to_plain_value)


def decode_plan(content: bytes) -> SavedPlan:
    """Read the content of the file `PLAN`."""
    return msgspec.msgpack.decode(content, type=SavedPlan, dec_hook=from_plain_value)


def to_plain_value(value: object) -> object:
    """Return what MessagePack holds of a value of an `Image` that it has no type for."""
    match value:
        case Path():
            return str(value)
        case np.dtype():
            return value.str
        case np.ndarray():
            return value.tobytes()
        case _:
            raise NotImplementedError(f"a plan cannot hold a {type(value).__name__}")


def from_plain_value(kind: Any, value: Any) -> object:
    """Return a value of an `Image` from what MessagePack holds of it; the only array is its palette."""
    kind = get_origin(kind) or kind
    if kind is ImageSource:
        return msgspec.convert(value, AnySource, dec_hook=from_plain_value)
    if kind is np.ndarray:
        return np.frombuffer(value, np.uint8).reshape(-1, 4)
    if kind in (Path, np.dtype):
        return kind(value)
    raise NotImplementedError(f"a plan holds no {kind}")


def save_images(images: Sequence[Image], folder: Path, keep: Callable[[str, Path], None]) -> list[Image]:
    """Return images with their sources as other machines find them.

    Args:
        images: the images.
        folder: where the images lie that this run alone has: those of the request itself, and fetched ones.
        keep: keeps a file under a name together with the plan.
    """
    return [msgspec.structs.replace(image, source=image.source.save(folder, keep)) for image in images]


def load_images(saved: SavedPlan, fetch: Callable[[str], Path], access: RemoteAccess) -> list[Image]:
    """Return the images of a plan as this machine reaches them; arguments as `ImageSource.locate` has them.

    Raises NetworkNeededError where one lies on a host, and this process may not ask it.
    """
    require_network(any(isinstance(image.source, RemoteImageSource) for image in saved.images))
    return [msgspec.structs.replace(image, source=image.source.locate(fetch, access)) for image in saved.images]


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
        model = catalog.unchanged_model(saved.model, saved.model_digest)
    return Sources(images, [], None, model_for(model, images), saved.arguments, saved.options)


def load_section(
    saved: SavedPlan, images: Sequence[Image], source: Any, index: int
) -> tuple[ChipPlan, NDArray[np.int64]]:
    """Return the chips of a section's rows, and which rows of the plan they are, `(n,)`.

    Args:
        saved: the plan.
        images: its images.
        source: the file `SECTIONS`, opened; only the section is read.
        index: of the section in the file, from 0.
    """
    batch = pa.ipc.open_file(source).get_batch(index)
    windows = batch.column("window").flatten().to_numpy().reshape(-1, 4)
    placement = Placement(batch.column("image").to_numpy(), windows)
    footprints = None
    if saved.blackens:
        objects = np.arange(batch.num_rows)
        geometry = pa.chunked_array([batch.column("geometry")])
        footprints = footprints_of(_layer(saved, pa.table({}), geometry), images, ObjectImagePairs(objects, placement))
    mosaic = Mosaic(images) if saved.is_mosaic else None
    chips = ChipPlan(images, saved.selections, saved.rule, placement, mosaic, footprints)
    return chips, batch.column("row").to_numpy()


def load_rows(saved: SavedPlan, sources: Sources, rows_path: Path, layer_path: Path) -> PlannedRows:
    """Return all rows of a plan, in the order of the result; their columns stay in the files until they are read.

    Args:
        saved: the plan.
        sources: images, model, arguments and options; the layer is the plan's.
        rows_path: the file `ROWS`.
        layer_path: the file `LAYER`.
    """
    rows, layer = _read(rows_path), _loaded_layer(saved, _read(layer_path))
    columns = set(rows.schema.names)
    image_ids = rows.column("image_id") if "image_id" in columns else None
    return PlannedRows(
        sources=msgspec.structs.replace(sources, layer=layer if saved.has_features else None),
        layer=layer,
        objects=rows.column("object").to_numpy(),
        empty=rows.column("empty").to_numpy(),
        ids=rows.column("id") if "id" in columns else None,
        image_ids=image_ids.combine_chunks() if image_ids is not None else None,
        warnings=saved.warnings,
    )


def load_placement(path: Path) -> Placement | None:
    """Return where the chips of all rows lie; None = the plan is of an earlier version, which did not keep that.

    Args:
        path: the file `ROWS`.
    """
    rows = _read(path)
    if _WINDOW not in rows.schema.names:
        return None
    windows = rows.column(_WINDOW).combine_chunks()
    flat = windows.flatten() if isinstance(windows, pa.Array) else pa.concat_arrays(windows.chunks).flatten()
    return Placement(rows.column(_PLACED_IMAGE).to_numpy(), flat.to_numpy().reshape(-1, 4))


def _layer_table(layer: Layer) -> pa.Table:
    """Return a layer as one table, its geometry before its attributes; the ids are the rows'."""
    if layer.geometry is None:
        return layer.attributes
    fields = [pa.field("geometry", layer.geometry.type), *layer.attributes.schema]
    return pa.Table.from_arrays([layer.geometry, *layer.attributes.columns], schema=pa.schema(fields))


def _loaded_layer(saved: SavedPlan, table: pa.Table) -> Layer:
    if not saved.has_geometry:
        return _layer(saved, table, None)
    return _layer(saved, table.select(range(1, table.num_columns)), table.column(0))


def _layer(saved: SavedPlan, attributes: pa.Table, geometry: pa.ChunkedArray | None) -> Layer:
    crs = None if saved.layer_crs is None else crs_from_text(saved.layer_crs)
    return Layer(saved.layer_name, crs, geometry, saved.geometry_type, attributes, None)


def _rows_table(rows: PlannedRows, placement: Placement) -> pa.Table:
    columns = {"object": pa.array(rows.objects), "empty": pa.array(rows.empty)}
    columns[_PLACED_IMAGE] = pa.array(placement.image)
    columns[_WINDOW] = pa.FixedSizeListArray.from_arrays(pa.array(placement.windows.reshape(-1)), 4)
    if rows.ids is not None:
        columns["id"] = rows.ids
    if rows.image_ids is not None:
        columns["image_id"] = rows.image_ids
    return pa.table(columns)


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_IN_BATCH)


def _read(path: Path) -> pa.Table:
    """Return a table whose columns lie in the file: those that are not read use no memory.

    The copy in memory can be changed without a change of the file: GDAL writes into the geometries that it reads.
    """
    with path.open("rb") as file:
        content = mmap(file.fileno(), 0, access=ACCESS_COPY)
    return pa.ipc.open_file(pa.py_buffer(content)).read_all()


@contextlib.contextmanager
def plan_kept() -> Iterator[None]:
    """Raise LostFilesError where files of the plan are gone or damaged."""
    try:
        yield
    except (FileNotFoundError, msgspec.DecodeError, pa.ArrowInvalid) as err:
        raise LostFilesError from err
