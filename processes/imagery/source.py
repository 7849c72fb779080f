"""Where an image comes from: how a thread opens it, how its change is noticed, and how it travels with a saved plan.

A new kind of source is a class beside, a member of `processes.imagery.services.any_source.AnySource`, and a branch in
`processes.classify.images`.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, Protocol, Self, runtime_checkable

import msgspec
import rasterio
from rasterio._err import CPLE_BaseError  # some of GDAL's errors come out as they are
from rasterio.crs import CRS
from rasterio.errors import CRSError, NodataShadowWarning, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from processes.errors import ImageError, InputError
from processes.imagery.headers import tiff_compression
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.sidecars import listing_of, refuse_overview_file
from processes.sources.stamps import FileStamp, require_same_files, stamp_file

_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",  # BigTIFF
    b"MM\0+": "GTiff",
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
"""First bytes of the formats that are read, and GDAL's drivers for them. GDAL never guesses a driver: a file that looks
like an image to it may be a VRT, which can point anywhere."""

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
_MAX_PRJ_BYTES = 2**16
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_COMPRESSIONS_OF_VARIANTS = {"old-style JPEG", "LERC", "SGI LogLuv", "ThunderScan", "NeXT"}
"""Compressions of TIFF that GDAL may open, and then fail to decode although the file is sound."""
_MISSING_CODEC = re.compile("missing codec|Unsupported JPEG process|Unsupported marker type 0xf7")
"""Of a TIFF; of a hierarchical JPEG; of JPEG-LS, which begins as JPEG does."""
_SIGNS_OF_DAMAGE = re.compile(
    "Corrupt JPEG data(?!: \\d+ extraneous bytes before marker 0xd9)|Premature end of JPEG|Inconsistent progression|"
    "PackBitsDecode|Fax[34]|does not end with EOC"
)
"""Words of decoders that warn and go on where cells are lost: libjpeg in a TIFF, PackBits, CCITT, JPEG 2000. Bytes
before the end of a JPEG come after its cells."""
_GDAL_OPTIONS = {
    # `TileReader` keeps what it read: this has to hold the tile of each thread between the masks and the cells
    "GDAL_CACHEMAX": 16 * 2**20 * min(os.cpu_count() or 1, 4),
    "GDAL_NUM_THREADS": "1",  # our own threads fill the cores, and what a thread of GDAL's fails at is not heard here
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is an error, not a grey area
}

_damage: ContextVar[list[str]] = ContextVar("damage")
"""What decoders warn of while `readable` reads, in this thread."""


def _note_damage(record: logging.LogRecord) -> bool:
    """Keep what a decoder warns of, and write nothing to the log. GDAL has no option that makes an error of it."""
    message = record.getMessage()
    if _SIGNS_OF_DAMAGE.search(message):
        _damage.get([]).append(message)
    return False


logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # failures are raised, with messages of our own
logging.getLogger("rasterio._err").setLevel(logging.WARNING)
logging.getLogger("rasterio._err").addFilter(_note_damage)
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
warnings.filterwarnings("ignore", category=NodataShadowWarning)  # of a nodata value and alpha both count


@runtime_checkable
class ImageSource(Protocol):
    """Where an image comes from. It holds no open handle and can be sent to another machine."""

    @property
    def name(self) -> str:
        """What the client calls the image."""

    @property
    def location(self) -> str:
        """Where the image lies, as `FileStamp.path` has it."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of this machine that hold it; in a saved plan a relative one is kept with that."""

    def open(self) -> DatasetReader:
        """Open the image for the calling thread, which does so under `gdal_settings`.

        Raises:
            ImageError: something beside the image is wrong.
            ValueError: it has no format that is read.
            OSError, RasterioError, CPLE_BaseError: it cannot be opened.
        """

    def open_bytes(self) -> BinaryIO:
        """Open the image's own bytes, for what GDAL does not tell of them.

        Raises:
            UnsupportedOperation: it is no single file.
            OSError: they cannot be opened.
        """

    def crs_beside(self) -> CRS | None:
        """Return the CRS that stands beside the image and that GDAL does not read; None = there is none.

        Raises:
            ImageError: what stands there names no CRS.
        """

    def approximation_beside(self) -> str | None:
        """Return the ending of a world file beside the image that ArcGIS calls an approximation; None = there is none.

        It stands for a transformation that is none of a grid.
        """

    def stamp(self, pointer: str) -> FileStamp | None:
        """Return what tells whether the image has changed, as it is now; None = it is not there."""

    def named(self, name: str) -> Self:
        """Return this source under another name."""

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        """Return this source as a saved plan holds it, for other machines.

        Args:
            folder: where the images lie that this run alone has: those of the request itself, and fetched ones.
            keep: keeps a file under a name together with the plan.
        """

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        """Return a source of a saved plan as this machine reaches it.

        Args:
            fetch: returns the path of a kept file.
            access: how what lies elsewhere is reached; None = it is not.
        """


class FileSource(msgspec.Struct, frozen=True, tag="file"):
    """An image in a file that GDAL reads by its path, with its mask, world file and metadata beside it."""

    path: Path
    """In a saved plan a relative path is the name of a file that is kept with it."""
    name: str

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def open(self) -> DatasetReader:
        return self._open({})

    def open_cells(self) -> DatasetReader:
        """Open the image as `open` does, for its cells: of a TIFF GDAL does not look for the place that its tags state.

        Two thirds of the time of opening a small one go there.
        """
        return self._open({"GTiff": {"GEOREF_SOURCES": "PAM"}})  # without PAM it reads no .aux.xml at all

    def _open(self, options: Mapping[str, Mapping[str, str]]) -> DatasetReader:
        """Open the image with options of some drivers."""
        listing = listing_of(self.path.parent)
        for mask in map(self.path.with_name, listing.masks_of(self.path.name)):
            if mask.exists() and _driver(mask) != "GTiff":  # GDAL would open whatever it is
                raise ImageError(f"image {self.name!r}: the mask beside it is no GeoTIFF")
        driver = _driver(self.path)
        if driver is None:
            raise ValueError("not an image of a known format")
        with rasterio.Env(**listing.options):
            dataset = rasterio.open(self.path, driver=driver, **options.get(driver, {}))
        try:
            refuse_overview_file(dataset.tags(ns="OVERVIEWS"), self.name)
        except ImageError:
            dataset.close()
            raise
        return dataset

    def open_bytes(self) -> BinaryIO:
        return self.path.open("rb", buffering=0)  # its reader jumps from one header to the next

    def crs_beside(self) -> CRS | None:
        """Return the CRS of the `.prj` that goes with a world file; GDAL's raster drivers do not read it."""
        prj = self._beside(".prj")
        if prj is None:
            return None
        try:
            with prj.open("rb") as file:
                return CRS.from_wkt(_text(file.read(_MAX_PRJ_BYTES)), morph_from_esri_dialect=True)
        except CRSError as err:
            raise ImageError(f"image {self.name!r}: the .prj file beside it names no CRS") from err

    def approximation_beside(self) -> str | None:
        ending = self.path.suffix.lower()
        worlds = (f".{ending[1:2]}{ending[-1:]}wx", f"{ending}wx", ".wldx")
        return next((world for world in worlds if self._beside(world) is not None), None)

    def _beside(self, ending: str) -> Path | None:
        """Return the file with this ending in the place of the image's, or behind it, as `a.tif.prj`; None = none."""
        endings = (ending, ending.upper())
        names = [f"{stem}{written}" for stem in (self.path.name, self.path.stem) for written in endings]
        return next((path for path in map(self.path.with_name, names) if path.is_file()), None)

    def stamp(self, pointer: str) -> FileStamp | None:
        return stamp_file(pointer, self.path, self.name)

    def named(self, name: str) -> Self:
        return msgspec.structs.replace(self, name=name)

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        """Keep a file below `folder` with the plan; any other one lies at the same path on all machines."""
        if not self.path.is_relative_to(folder):
            return self
        kept_name = f"{folder.name}-{self.path.name}"
        keep(kept_name, self.path)
        return msgspec.structs.replace(self, path=Path(kept_name))

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        return self if self.path.is_absolute() else msgspec.structs.replace(self, path=fetch(str(self.path)))


@contextmanager
def gdal_settings() -> Iterator[None]:
    """Read with this project's GDAL options, in this thread."""
    with rasterio.Env(**_GDAL_OPTIONS):
        yield


@contextmanager
def readable(source: ImageSource) -> Iterator[None]:
    """Turn GDAL's failures to read an image's cells into an ImageError, and a decoder's warning that some are lost."""
    noticed: list[str] = []
    token = _damage.set(noticed)
    try:
        yield
    except (*GDAL_ERRORS, OSError, ValueError) as err:
        raise ImageError(f"image {source.name!r} cannot be read: {_broken(source)}") from err
    except InputError as err:
        raise err if isinstance(err, ImageError) else ImageError(f"image {source.name!r}: {err.detail}") from err
    finally:
        _damage.reset(token)
    if noticed:
        raise ImageError(f"image {source.name!r} cannot be read: it is truncated or broken")


def _broken(source: ImageSource) -> str:
    compression = stated_compression(source)
    if compression not in _COMPRESSIONS_OF_VARIANTS:
        return "it is truncated or broken"
    return f"it is truncated or broken, or of a variant of {compression} that this server cannot decode: convert it"


def stated_compression(source: ImageSource) -> str | None:
    """Return the name of the compression that a TIFF states; None = it is none, or states none."""
    try:
        with source.open_bytes() as file:
            return tiff_compression(file)
    except OSError:
        return None


def lacks_codec(err: BaseException) -> bool:
    """Say whether GDAL failed to open an image because it has no decoder of its compression, as its message says."""
    return _MISSING_CODEC.search(str(err)) is not None


def require_unchanged(sources: Iterable[ImageSource], stamps: Iterable[FileStamp]) -> None:
    """Raise RequestError where sources are not as their stamps have them; names each."""
    by_location = {source.location: source for source in sources}
    before = [stamp for stamp in stamps if stamp.path in by_location]
    require_same_files(before, (by_location[item.path].named(item.name).stamp(item.pointer) for item in before))


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names with a number behind those that occur before: `a.tif`, `a.tif-2`."""
    counts: dict[str, int] = {}
    unique: dict[str, None] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        candidate = name if counts[name] == 1 else f"{name}-{counts[name]}"
        while candidate in unique:
            counts[name] += 1
            candidate = f"{name}-{counts[name]}"
        unique[candidate] = None
    return list(unique)


def driver_of(head: bytes) -> str | None:
    """Return the driver that the first bytes of a file call for, at least 12 where it has them; None = none."""
    return next((driver for magic, driver in _DRIVERS.items() if head.startswith(magic)), None)


def _driver(path: Path) -> str | None:
    with path.open("rb") as file:
        return driver_of(file.read(max(map(len, _DRIVERS))))


def _text(content: bytes) -> str:
    """Return a text in the encoding that its byte order mark states; without one UTF-8.

    Bytes of another encoding can only be letters of a name: the keywords of a CRS are ASCII.
    """
    marked = (encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if content.startswith(mark))
    return content.decode(next(marked, "utf-8"), errors="replace")
