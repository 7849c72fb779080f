"""The contract's chips, cut slowly and plainly: what the service's chips are compared with.

One rasterio read per object and image, exact fractions where the contract rounds, nothing shared with the package.
Coordinates called "grid coordinates" are cells of an image, (column, row), its upper left corner at (0, 0).
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pyproj import CRS, Transformer
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

MICRO: Final = 10**6
"""Grid coordinates are whole multiples of 1 / MICRO cells."""

EXIF_ORIENTATION: Final = 0x0112

type Dataset = Any
"""An open rasterio dataset (rasterio ships no types)."""


@dataclass(frozen=True)
class ChipRule:
    """How a model wants its chips."""

    width: int
    """The chip's columns, after resampling."""
    height: int
    """The chip's rows, after resampling."""
    fixed: bool = True
    """Whether the window is `width` x `height` cells around the centre (`CropSizeFixed`), else the feature's box."""
    blacken: bool = False
    """Whether cells outside the polygon become 0 (`BlackenAroundFeature`)."""
    bands: tuple[int, ...] | None = None
    """The bands taken, in order, counted from 0; None = all but alpha (`ExtractBands`)."""
    band_names: tuple[str, ...] | None = None
    """The bands taken, in order, by their descriptions without case, instead (`ExtractBands`)."""
    cell_size: float | None = None
    """Side of a fixed-size chip's cells, in units of the image's CRS; None = the image's own (`cellSize`)."""
    data_range: tuple[float, float] | None = None
    """What each band's own range is mapped to, before zeroing; None = values stay (`DataRange`)."""
    is_skimage: bool = False
    """Whether chips are resampled as scikit-image does it (`Resampling`)."""
    square: int | None = None
    """Side of the square that a chip of variable size becomes (KerasClassifier); None = it becomes `width` x `height`."""


def chip(
    paths: Sequence[Path], geometry: BaseGeometry | None, rule: ChipRule, geometry_crs: str | None = None
) -> tuple[NDArray[np.float32] | None, str]:
    """Cut one object's chip from a mosaic of images (of one image: from that image).

    Args:
        paths: the images, in input order, all of one CRS and band count.
        geometry: the object; None or empty has no chip.
        rule: how the model wants its chips.
        geometry_crs: the geometry's CRS; None = the images' CRS.

    Returns:
        The chip, `(bands, height, width)`, after zeroing and resampling and before normalisation; None if not ok.
        The status: `ok`, `outside-image`, `nodata` or `empty-geometry`.
    """
    if geometry is None or geometry.is_empty:
        return None, "empty-geometry"
    if shapely.get_type_id(geometry) == shapely.GeometryType.GEOMETRYCOLLECTION:
        raise ValueError("a GeometryCollection has no chip")
    with ExitStack() as stack:
        images = [stack.enter_context(_opened(path)) for path in paths]
        _require_alike(images)
        return _cut(images, _in_crs(geometry, geometry_crs, images[0]), rule)


def whole_image(path: Path, rule: ChipRule) -> NDArray[np.float32]:
    """Return the chip of an image that is itself the object, `(bands, height, width)`, cells without data 0."""
    place = place_of(path)
    values, status = image_chip(path, rule, Window(0, 0, place.width, place.height))
    if values is None:
        raise ValueError(f"an image without a chip: {status}")
    return values


def image_chip(path: Path, rule: ChipRule, window: Window) -> tuple[NDArray[np.float32] | None, str]:
    """Return the chip of an image's part that is itself the object, as `chip` does."""
    with _opened(path) as image:
        values, valid = _read(image, window, rule)
        if not valid.any():
            return None, "nodata"
        upright = _upright(np.where(valid, values, np.float32(0)), path, image)
    return _resized(upright, rule), "ok"


@dataclass(frozen=True)
class Place:
    """Where an image lies."""

    crs: str | None
    """As WKT; None = without a spatial reference."""
    transform: Affine
    width: int
    height: int

    def in_grid(self, geometry: BaseGeometry, geometry_crs: str | None) -> BaseGeometry:
        """Return a geometry in grid coordinates, rounded to 1e-6 cells."""
        return _shape_in_grid(self, _in_crs(geometry, geometry_crs, self))

    def touches(self, geometry: BaseGeometry, geometry_crs: str | None) -> bool:
        """Say whether the geometry intersects the image's extent, edges included."""
        whole = shapely.box(0, 0, self.width, self.height)
        shapes = [_shape_in_grid(self, moved) for moved in _moved(self, _in_crs(geometry, geometry_crs, self))]
        return any(np.isfinite(shapely.get_coordinates(shape)).all() and shape.intersects(whole) for shape in shapes)

    def outline(self, window: Window) -> shapely.Polygon:
        """Return a window's outline in the image's CRS."""
        left, upper = window.col_off, window.row_off
        right, lower = left + window.width, upper + window.height
        corners = np.array([(left, upper), (right, upper), (right, lower), (left, lower)], np.float64)
        return shapely.Polygon(_to_map(self, corners))


def place_of(path: Path) -> Place:
    """Read where an image lies."""
    with _opened(path) as image:
        is_referenced = image.crs is not None and not image.transform.is_identity
        return Place(image.crs.to_wkt() if is_referenced else None, image.transform, image.width, image.height)


class _WithCrs:
    """An open dataset whose CRS is not in the file: GDAL reads world files, but not the `.prj` beside them."""

    def __init__(self, image: Dataset, crs: rasterio.CRS) -> None:
        self._image = image
        self.crs = crs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)


class _KeptOpen(ExitStack):
    """The images that are open, by their paths."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[Path, Dataset] = {}


_kept_open = ContextVar[_KeptOpen | None]("_kept_open", default=None)


@contextmanager
def each_image_opened_once() -> Iterator[None]:
    """Keep images open to the end of the block, which must not change them: opening costs more than a read."""
    with _KeptOpen() as kept:
        token = _kept_open.set(kept)
        try:
            yield
        finally:
            _kept_open.reset(token)


@contextmanager
def _opened(path: Path) -> Iterator[Dataset]:
    kept = _kept_open.get()
    if kept is None:
        with _open(path) as image:
            yield image
        return
    if path not in kept.images:
        kept.images[path] = kept.enter_context(_open(path))
    yield kept.images[path]


@contextmanager
def _open(path: Path) -> Iterator[Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        image = rasterio.open(path)
    with image:
        sidecar = path.with_suffix(".prj")
        if image.crs is None and not image.transform.is_identity and sidecar.exists():
            yield _WithCrs(image, rasterio.CRS.from_wkt(CRS.from_wkt(sidecar.read_text()).to_wkt()))
        else:
            yield image


def _require_alike(images: Sequence[Dataset]) -> None:
    kinds = {(image.crs.to_wkt() if image.crs else None, image.count) for image in images}
    if len(kinds) > 1:
        raise ValueError(f"images of different CRS or band count: {kinds}")


def _read(image: Dataset, window: Window, rule: ChipRule) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read a window that lies within the image.

    Returns:
        values: `(bands, height, width)`, after `DataRange`; 0 where not valid.
        valid: `(height, width)`, True = the image has data there.
    """
    values = _expanded(image, window) if _has_palette(image) else image.read(window=window)
    bands = _taken_bands(image, len(values), rule)
    valid = _valid(image, window, () if _has_palette(image) else bands)
    if values.dtype.kind == "f":
        valid &= np.isfinite(values[bands]).all(axis=0)
    # Zero before the cast: a nodata value of float64 need not fit into float32.
    values = np.where(valid, values[bands], values.dtype.type(0))
    if rule.data_range is not None:
        ranges = [_own_range(image, band) for band in bands]
        values = np.stack([_ranged(v, own, rule.data_range) for v, own in zip(values, ranges, strict=True)])
    with np.errstate(over="ignore"):
        return np.where(valid, values, 0).astype(np.float32), valid


def _valid(image: Dataset, window: Window, taken: Sequence[int]) -> NDArray[np.bool_]:
    """Return which cells the file says are there, `(height, width)`, by nodata, mask, palette and alpha.

    Args:
        image: the image.
        window: within the image.
        taken: the bands that the model takes, counted from 0; as data they mask nothing.
    """
    flags = {flag for of_band in image.mask_flag_enums for flag in of_band}
    valid = np.ones((window.height, window.width), np.bool_)
    if MaskFlags.nodata in flags and MaskFlags.per_dataset not in flags:
        of_data = [i + 1 for i, color in enumerate(image.colorinterp) if color != ColorInterp.alpha or i in taken]
        valid = np.any([image.read_masks(index, window=window) != 0 for index in of_data], axis=0)
    elif MaskFlags.alpha not in flags:
        valid = image.dataset_mask(window=window) != 0
    for band, color in enumerate(image.colorinterp):
        if color == ColorInterp.alpha and band not in taken:
            valid &= image.read(band + 1, window=window) != 0
    if _has_palette(image):
        transparent = [index for index, colour in image.colormap(1).items() if colour[3] == 0]
        valid &= ~np.isin(image.read(1, window=window), transparent)
    return valid


def _has_palette(image: Dataset) -> bool:
    return bool(image.colorinterp[0] == ColorInterp.palette)


def _expanded(image: Dataset, window: Window) -> NDArray[np.uint8]:
    """Return a palette image's red, green and blue."""
    colours = image.colormap(1)
    table = np.array([colours.get(index, (0, 0, 0, 0))[:3] for index in range(max(colours) + 1)], np.uint8)
    return np.moveaxis(table[image.read(1, window=window)], -1, 0)


def _taken_bands(image: Dataset, count: int, rule: ChipRule) -> list[int]:
    """Return the bands to take, counted from 0, of the `count` that were read."""
    if rule.band_names is not None:
        named = [str(description or "").casefold() for description in image.descriptions]
        return [named.index(name.casefold()) for name in rule.band_names]
    if rule.bands is None:
        alpha = set() if _has_palette(image) else {b for b in range(count) if image.colorinterp[b] == ColorInterp.alpha}
        return [band for band in range(count) if band not in alpha]
    if max(rule.bands) >= count:
        raise ValueError(f"bands {rule.bands} of an image with {count}")
    return list(rule.bands)


def _own_range(image: Dataset, band: int) -> tuple[float, float]:
    """Return the band's range: its recorded statistics, else what its integers can hold."""
    if _has_palette(image):
        return 0.0, 255.0
    tags = image.tags(band + 1)
    if "STATISTICS_MINIMUM" in tags and "STATISTICS_MAXIMUM" in tags:
        return float(tags["STATISTICS_MINIMUM"]), float(tags["STATISTICS_MAXIMUM"])
    dtype = np.dtype(image.dtypes[band])
    if dtype.kind not in "iu":
        raise ValueError(f"{dtype} band without statistics has no range")
    bits = image.tags(band + 1, ns="IMAGE_STRUCTURE").get("NBITS")
    if bits is not None:
        return (
            (0.0, 2.0 ** int(bits) - 1)
            if dtype.kind == "u"
            else (-(2.0 ** (int(bits) - 1)), 2.0 ** (int(bits) - 1) - 1)
        )
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _ranged(values: NDArray[Any], own: tuple[float, float], wanted: tuple[float, float]) -> NDArray[np.float64]:
    share = (values.astype(np.float64) - own[0]) / (own[1] - own[0])
    ranged: NDArray[np.float64] = share * (wanted[1] - wanted[0]) + wanted[0]
    return ranged


def _upright(values: NDArray[np.float32], path: Path, image: Dataset) -> NDArray[np.float32]:
    """Turn `(bands, height, width)` as the orientation of a JPEG, PNG or TIFF without a reference says."""
    if image.driver not in ("JPEG", "PNG", "GTiff") or (image.crs is not None and not image.transform.is_identity):
        return values
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(EXIF_ORIENTATION, 1)
    except UnidentifiedImageError:  # a TIFF of bands that are no picture, which no test here turns
        orientation = 1
    if orientation in (5, 6, 7, 8):
        values = values.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[:, ::-1, :]
    return values


def _resized(values: NDArray[np.float32], rule: ChipRule) -> NDArray[np.float32]:
    if rule.square is not None and not rule.fixed:
        return _squared(values, rule.square)
    if values.shape[1:] == (rule.height, rule.width):
        return values
    if rule.is_skimage:
        return as_scikit_image(values, (rule.height, rule.width))
    return as_pillow(values, (rule.height, rule.width))


def as_pillow(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return cells `(bands, height, width)` at another size (height, width): bilinear, with antialiasing."""
    bands = [
        Image.fromarray(np.ascontiguousarray(band)).resize(size[::-1], Image.Resampling.BILINEAR) for band in values
    ]
    return np.stack([np.asarray(band, np.float32) for band in bands])


def as_scikit_image(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return cells `(bands, height, width)` at another size (height, width): order 1, no antialiasing, whole numbers.

    New cell by new cell: the four cells around its centre, those outside as 0, and no value beyond the chip's own.
    """
    _, rows, columns = values.shape
    made = np.zeros((len(values), *size))
    for row in range(size[0]):
        y = (row + 0.5) * (rows / size[0]) - 0.5
        for column in range(size[1]):
            x = (column + 0.5) * (columns / size[1]) - 0.5
            for r, across in ((math.floor(y), 1 - (y - math.floor(y))), (math.floor(y) + 1, y - math.floor(y))):
                for c, along in ((math.floor(x), 1 - (x - math.floor(x))), (math.floor(x) + 1, x - math.floor(x))):
                    if 0 <= r < rows and 0 <= c < columns:
                        made[:, row, column] += values[:, r, c].astype(np.float64) * across * along
    return np.trunc(np.clip(made, values.min(), values.max())).astype(np.float32)


def _squared(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return cells as Esri's KerasClassifier makes them: the longer side fits, zeros are put around the other."""
    height, width = values.shape[1:]
    longer = max(height, width)
    size = (max(1, round(height * (side / longer))), max(1, round(width * (side / longer))))
    fitted = values if size == (height, width) else as_scikit_image(values, size)
    square = np.zeros((len(values), side, side), np.float32)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    square[:, top : top + size[0], left : left + size[1]] = fitted
    return square


def _in_crs(geometry: BaseGeometry, geometry_crs: str | None, image: Dataset | Place) -> BaseGeometry:
    """Return the geometry in the image's CRS, transformed vertex by vertex, without heights."""
    if geometry_crs is None:
        return shapely.force_2d(geometry)
    crs: Any = image.crs
    return transformed(geometry, geometry_crs, crs if isinstance(crs, str) else crs.to_wkt())


def transformed(geometry: BaseGeometry, crs: str, target: str) -> BaseGeometry:
    """Return a geometry in another CRS, vertex by vertex, without heights; both CRS have x before y."""
    transformer = _transformer(crs, target)
    moved: BaseGeometry = shapely.transform(
        geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))
    )
    return moved


@lru_cache
def _transformer(crs: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(crs), CRS.from_user_input(target), always_xy=True)


def _to_grid(image: Dataset, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return map coordinates `(n, 2)` as grid coordinates, rounded to 1e-6."""
    a, b, c, d, e, f = image.transform[:6]
    x, y = xy[:, 0] - c, xy[:, 1] - f
    cells: NDArray[np.float64] = np.column_stack([e * x - b * y, a * y - d * x]) / (a * e - b * d)
    return np.round(cells, 6)


def _to_map(image: Dataset, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c, d, e, f = image.transform[:6]
    column, row = cells[:, 0], cells[:, 1]
    return np.column_stack([a * column + b * row + c, d * column + e * row + f])


def _shape_in_grid(image: Dataset, geometry: BaseGeometry) -> BaseGeometry:
    return shapely.transform(geometry, lambda xy: _to_grid(image, xy))


def _exact(value: float) -> Fraction:
    """Return the multiple of 1e-6 that a rounded grid coordinate stands for."""
    return Fraction(round(value * MICRO), MICRO)


def _rounded(value: Fraction) -> int:
    """Round to 1e-6, then to a whole number; both half-to-even."""
    return round(Fraction(round(value * MICRO), MICRO))


def _box(shape: BaseGeometry) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    minx, miny, maxx, maxy = (_exact(value) for value in shape.bounds)
    return minx, miny, maxx, maxy


def _window(image: Dataset, shape: BaseGeometry, rule: ChipRule) -> Window:
    """Return the window of whole cells that the chip of a shape in grid coordinates is cut from."""
    minx, miny, maxx, maxy = _box(shape)
    if not rule.fixed and (minx, miny) != (maxx, maxy):
        return _covering(minx, miny, maxx, maxy)
    width, height = _native_size(image, rule)
    return Window(_rounded((minx + maxx - width) / 2), _rounded((miny + maxy - height) / 2), width, height)


def _covering(minx: Fraction, miny: Fraction, maxx: Fraction, maxy: Fraction) -> Window:
    column, row = math.floor(minx), math.floor(miny)
    return Window(column, row, max(1, math.ceil(maxx) - column), max(1, math.ceil(maxy) - row))


def _native_size(image: Dataset, rule: ChipRule) -> tuple[int, int]:
    """Return (columns, rows) of the image that a fixed-size chip covers."""
    if rule.cell_size is None:
        return rule.width, rule.height
    a, b, _, d, e, _ = image.transform[:6]
    cell_size = Fraction(rule.cell_size)
    width = _rounded(rule.width * cell_size / Fraction(math.hypot(a, d)))
    height = _rounded(rule.height * cell_size / Fraction(math.hypot(b, e)))
    return max(1, width), max(1, height)


def _within(window: Window, width: int, height: int) -> Window | None:
    """Return the part of a window that a grid of this size has, None if there is no cell of it."""
    left, upper = max(0, window.col_off), max(0, window.row_off)
    right, lower = min(width, window.col_off + window.width), min(height, window.row_off + window.height)
    return Window(left, upper, right - left, lower - upper) if left < right and upper < lower else None


def _slices(part: Window, window: Window) -> tuple[slice, slice]:
    """Return where a part lies in the array of its window: (rows, columns)."""
    row, column = part.row_off - window.row_off, part.col_off - window.col_off
    return slice(row, row + part.height), slice(column, column + part.width)


def _cut(images: Sequence[Dataset], geometry: BaseGeometry, rule: ChipRule) -> tuple[NDArray[np.float32] | None, str]:
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None, "outside-image"
    found = _grid_image(images, geometry, rule)
    if found is None:
        return None, "outside-image"
    own, shape = found
    window = _window(own, shape, rule)
    values, valid, touched = _read_mosaic(own, images, window, rule)
    if not touched:
        return None, "outside-image"
    if rule.blacken:
        valid &= covered_cells(shape, window)
    if not valid.any():
        return None, "nodata"
    kept = np.where(valid, values, np.float32(0))
    return _resized(kept, rule), "ok"


def _grid_image(
    images: Sequence[Dataset], geometry: BaseGeometry, rule: ChipRule
) -> tuple[Dataset, BaseGeometry] | None:
    """Return the image whose grid a mosaic's chip uses, with the geometry in it; None if the chip reaches none."""
    shapes = [(image, _shape_in_grid(image, moved)) for image in images for moved in _moved(image, geometry)]
    for image, shape in shapes:
        minx, miny, maxx, maxy = _box(shape)
        if 0 <= (minx + maxx) / 2 <= image.width and 0 <= (miny + maxy) / 2 <= image.height:
            return image, shape
    for image, shape in shapes:
        if _within(_window(image, shape, rule), image.width, image.height) is not None:
            return image, shape
    return None


TURN: Final = 360.0


def _turns(image: Dataset | Place) -> tuple[int, ...]:
    """Return by how many turns a geometry may be moved in an image: none but where x is a longitude."""
    crs: Any = image.crs
    wkt = crs if isinstance(crs, str) or crs is None else crs.to_wkt()
    return (0, -1, 1, -2, 2) if wkt is not None and CRS.from_wkt(wkt).is_geographic else (0,)


def _moved(image: Dataset | Place, geometry: BaseGeometry) -> list[BaseGeometry]:
    """Return a geometry in the image's CRS in each place where it lies in it: longitudes are taken modulo 360."""
    turns = _turns(image)
    whole = one_piece(geometry) if len(turns) > 1 else geometry
    return [_shifted(whole, turn) for turn in turns]


def _shifted(geometry: BaseGeometry, turns: int) -> BaseGeometry:
    return shapely.transform(geometry, lambda xy: xy + np.array([TURN * turns, 0])) if turns else geometry


def one_piece(geometry: BaseGeometry) -> BaseGeometry:
    """Return an object that is split at the antimeridian as one, in degrees: its parts on the smallest arc.

    Each part in turn is tried as the westernmost one.
    """
    parts = list(shapely.get_parts(geometry))
    if geometry.is_empty or len(parts) == 1 or geometry.bounds[2] - geometry.bounds[0] <= TURN / 2:
        return geometry
    best, joined = geometry, cast(Callable[[Sequence[BaseGeometry]], BaseGeometry], type(geometry))
    for first in parts:
        west = first.bounds[0]
        moved: BaseGeometry = joined([_shifted(part, math.ceil((west - part.bounds[0]) / TURN)) for part in parts])
        if moved.bounds[2] - moved.bounds[0] < best.bounds[2] - best.bounds[0] - 1e-9:
            best = moved
    return best


def _read_mosaic(
    own: Dataset, images: Sequence[Dataset], window: Window, rule: ChipRule
) -> tuple[NDArray[np.float32], NDArray[np.bool_], bool]:
    """Read a window of the first image's grid, the cells that it lacks from the others in order.

    Returns:
        values: `(bands, height, width)`, 0 where not valid.
        valid: `(height, width)`, True = some image has data there.
        touched: whether some image has a cell there, with data or without.
    """
    part = _within(window, own.width, own.height)
    read, has_data = _read(own, part or Window(0, 0, 1, 1), rule)  # without a part only its number of bands counts
    values = np.zeros((len(read), window.height, window.width), np.float32)
    valid = np.zeros((window.height, window.width), np.bool_)
    if part is not None:
        rows, columns = _slices(part, window)
        values[:, rows, columns], valid[rows, columns] = read, has_data
    touched = part is not None
    rows_columns = np.indices((window.height, window.width)).reshape(2, -1).T
    in_grid = rows_columns[:, ::-1] + [window.col_off + 0.5, window.row_off + 0.5]
    centres = _to_map(own, in_grid).reshape(window.height, window.width, 2)
    for other in images:
        for turns in _turns(other):
            if other is not own or turns:
                touched |= _fill_from(other, centres + np.array([TURN * turns, 0]), rule, values, valid)
    return values, valid, touched


def _fill_from(
    other: Dataset, centres: NDArray[np.float64], rule: ChipRule, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> bool:
    """Fill the cells that are not yet valid, in place, and return whether the other image has a cell there at all.

    Args:
        other: the image to fill from.
        centres: the chip's cell centres in map coordinates, `(height, width, 2)`.
        rule: how the model wants its chips.
        values: the chip so far, `(bands, height, width)`.
        valid: `(height, width)`, True = filled.
    """
    rows, columns = np.nonzero(~valid)
    there = np.floor(_to_grid(other, centres[rows, columns])).astype(np.int64)
    inside = ((there >= 0) & (there < [other.width, other.height])).all(axis=1)
    if not inside.any():
        return False
    rows, columns, there = rows[inside], columns[inside], there[inside]
    left, upper = (int(value) for value in there.min(axis=0))
    right, lower = (int(value) + 1 for value in there.max(axis=0))
    read, has_data = _read(other, Window(left, upper, right - left, lower - upper), rule)
    values[:, rows, columns] = read[:, there[:, 1] - upper, there[:, 0] - left]
    valid[rows, columns] = has_data[there[:, 1] - upper, there[:, 0] - left]
    return True


def covered_cells(shape: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """Return which cells of a window, `(height, width)`, a shape in grid coordinates keeps.

    Points, lines and polygons without area keep all.
    """
    polygons = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon)]
    if sum(_area(part) for part in polygons) == 0:
        return np.ones((window.height, window.width), np.bool_)
    whole = _covering(*_box(shape))
    covered = np.zeros((whole.height, whole.width), np.bool_)
    for polygon in polygons:
        covered |= _filled_polygon(polygon, whole)
    if not covered.any():
        point = shape.representative_point()
        whole, covered = Window(math.floor(point.x), math.floor(point.y), 1, 1), np.ones((1, 1), np.bool_)
    kept = np.zeros((window.height, window.width), np.bool_)
    left, upper = max(window.col_off, whole.col_off), max(window.row_off, whole.row_off)
    right = min(window.col_off + window.width, whole.col_off + whole.width)
    lower = min(window.row_off + window.height, whole.row_off + whole.height)
    if left < right and upper < lower:
        both = Window(left, upper, right - left, lower - upper)
        kept[_slices(both, window)] = covered[_slices(both, whole)]
    return kept


def _area(polygon: shapely.Polygon) -> int:
    """Return twice the polygon's area in square millionths of a cell, exactly."""
    return _ring_area(polygon.exterior) - sum(_ring_area(hole) for hole in polygon.interiors)


def _ring_area(ring: shapely.LinearRing) -> int:
    corners = [(round(x * MICRO), round(y * MICRO)) for x, y in ring.coords]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(corners)))


def _filled_polygon(polygon: shapely.Polygon, whole: Window) -> NDArray[np.bool_]:
    """Return the cells of a polygon, `(height, width)`.

    Each ring is filled as a polygon of its own: `rasterize` would also burn the centres on a hole's horizontal edges.
    """
    covered = _filled_ring(polygon.exterior, whole)
    for hole in polygon.interiors:
        covered &= ~_filled_ring(hole, whole)
    return covered


def _filled_ring(ring: shapely.LinearRing, whole: Window) -> NDArray[np.bool_]:
    if ring.is_empty or _ring_area(ring) == 0:
        return np.zeros((whole.height, whole.width), np.bool_)
    # Rounded again: the subtraction's error could move an outline off a cell centre.
    corners = np.round(shapely.get_coordinates(ring) - [whole.col_off, whole.row_off], 6)
    polygon = {"type": "Polygon", "coordinates": [[tuple(corner) for corner in corners.tolist()]]}
    filled: NDArray[np.uint8] = rasterize([polygon], out_shape=(whole.height, whole.width), dtype=np.uint8)
    return filled.astype(np.bool_)
