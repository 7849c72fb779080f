"""Model packages on disk: a `.dlpk` (a zip) or a folder, with exactly one `.emd` at the root.

Nothing in a package is executed, and nothing of it is written outside its own folder. Its network is ONNX, or a file of
PyTorch, of which the check makes an ONNX file.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath

import msgspec

from processes.errors import ForeignNetworkError, InputError, PackageError
from processes.model.definition import ModelDefinition, parse_definition
from processes.model.digests import file_digests, joined_digest
from processes.model.raster_functions import RasterFunction
from processes.sources.zips import BROKEN_ZIP, MAX_MEMBERS, extract, require_few, require_sane_size, safe_name

MAX_DEFINITION_BYTES = 16 * 2**20
_CONVERSION_VERSION = 1
"""A new number makes the networks of all files of PyTorch anew."""
_ONNX, _PYTORCH = ".onnx", ".pth"
_ARCHIVE = "the .dlpk"
_SCRATCH = ".unpack-"


class Package(msgspec.Struct, frozen=True):
    """A model package, its files read but its network not yet tried."""

    id: str
    """File name without ending."""
    definition: ModelDefinition | None
    """None = the .emd cannot be read."""
    network: Path | None
    """The ONNX file, which the check makes where `weights` is stated; None = the package has none that can be used."""
    sha256: str | None
    """Digest of what the labels depend on, as `processes.model.digests` makes it; None = it cannot be read."""
    problem: str | None
    """Why the package cannot be used, in words for the client; None = it can."""
    warnings: tuple[str, ...] = ()
    """Sentences about what may make its labels wrong."""
    folder: Path | None = None
    """Where its contents lie; None = it cannot be unpacked."""
    is_final: bool = True
    """False: the problem may go away though the package stays as it is."""
    weights: Path | None = None
    """The file of PyTorch that the ONNX file is made of; None = the ONNX file is a part of the package."""
    digests: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Of the files that `sha256` is made of: the .emd and the network. The check adds those of weights beside it."""
    function: RasterFunction | None = None
    """Its raster function, as the check found it; None = it has none, or was not checked."""


def read_package(path: Path, unpack_folder: Path, max_bytes: int) -> Package:
    """Read a `.dlpk` file or a package folder; a broken package has a problem and raises nothing.

    Args:
        path: the file or the folder.
        unpack_folder: folder for the contents of `.dlpk` files, a subfolder for each, and for networks that are made.
        max_bytes: limit of the unpacked size.
    """
    definition = folder = None
    try:
        folder = contents_folder(path, unpack_folder, max_bytes)
        definition = read_definition(folder)
        _require_known_kind(definition)
        network = model_file(folder, definition)
        _require_size(folder, max_bytes)
        digests = file_digests(folder, [*definition_files(folder), network])
        sha256 = joined_digest(digests)
        package = Package(package_id(path), definition, network, sha256, None, folder=folder, digests=digests)
        if _ending(network) != _PYTORCH:
            return package
        digest = digests[network.relative_to(folder).as_posix()]
        return _with_weights(package, definition, digest, unpack_folder / "pytorch" / _short_hash_of(path))
    except ForeignNetworkError as err:
        return Package(package_id(path), definition, None, None, with_advice(err, path), folder=folder)
    except InputError as err:
        return Package(package_id(path), definition, None, None, err.detail, folder=folder)
    except OSError as err:
        problem = f"the package cannot be read: {err.strerror or 'its files are damaged'}"
        return Package(package_id(path), definition, None, None, problem, folder=folder, is_final=False)


def _with_weights(package: Package, definition: ModelDefinition, digest: str, folder: Path) -> Package:
    """Return a package whose network is to be made of its file of PyTorch, once for each content. It gives logits.

    Args:
        package: whose network is the file of PyTorch.
        definition: of the package.
        digest: of that file.
        folder: for the networks that are made of this package.
    """
    content = short_hash(f"{_CONVERSION_VERSION}:{digest}:{definition.backbone}".encode())
    if definition.activation is None:
        definition = msgspec.structs.replace(definition, activation="sigmoid" if definition.multi_label else "softmax")
    return msgspec.structs.replace(
        package, definition=definition, network=folder / f"{content}{_ONNX}", weights=package.network
    )


def package_id(path: Path) -> str:
    """Return the model id of a package file or folder."""
    return path.stem if path.suffix.lower() == ".dlpk" else path.name


def contents_folder(path: Path, unpack_folder: Path, max_bytes: int) -> Path:
    """Return the folder with the contents of a package; those of a `.dlpk` are unpacked the first time.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: folder for the contents of `.dlpk` files, a subfolder for each.
        max_bytes: limit of the unpacked size.

    Raises:
        InputError: the archive is broken, or too large.
        OSError: it cannot be read.
    """
    return path if path.is_dir() else _unpacked(path, unpack_folder, max_bytes)


def with_advice(error: ForeignNetworkError, path: Path) -> str:
    """Return the message of an error with the command that makes a package one that can be used.

    Args:
        error: what is wrong with its network.
        path: the `.dlpk` file or the package folder.
    """
    return f"{error.detail}; convert it: classify-objects convert {path.name} OUT.dlpk"


def definition_files(folder: Path) -> list[Path]:
    """Return the .emd files at the root of a package; `._…` are what macOS writes beside files on foreign disks."""
    return sorted(
        item
        for item in folder.iterdir()
        if item.suffix.lower() == ".emd" and not item.name.startswith("._") and item.is_file()
    )


def read_definition(folder: Path) -> ModelDefinition:
    """Read the .emd of a package.

    Args:
        folder: where its contents lie.

    Raises:
        PackageError: there is not exactly one, or it is broken.
        OSError: it cannot be read.
    """
    definitions = definition_files(folder)
    if len(definitions) != 1:
        raise PackageError(f"the package has {len(definitions)} .emd files at its root, not exactly one")
    if definitions[0].stat().st_size > MAX_DEFINITION_BYTES:
        raise PackageError(f"the .emd is larger than {MAX_DEFINITION_BYTES} bytes")
    return parse_definition(definitions[0].read_bytes())


def _require_known_kind(definition: ModelDefinition) -> None:
    name = PurePosixPath(definition.network_file)
    if not definition.network_file:
        raise PackageError("the .emd has no ModelFile")
    if _ending(name) not in (_ONNX, _PYTORCH):
        raise ForeignNetworkError(f"ModelFile {name.name[:80]!r}: the network must be ONNX, or a .pth of arcgis.learn")


def model_file(folder: Path, definition: ModelDefinition) -> Path:
    """Return the file that `ModelFile` names.

    Args:
        folder: with the contents of the package.
        definition: of the package.

    Raises:
        PackageError: it lies outside the package, or is not there.
    """
    name = definition.network_file
    parts = PurePosixPath(name).parts
    network = folder.joinpath(*parts)
    if name.startswith("/") or ".." in parts or ":" in name or "\0" in name or not _lies_in(folder, network):
        raise PackageError(f"ModelFile {name[:80]!r} points out of the package")
    if not network.is_file():
        raise PackageError(f"ModelFile {name[:80]!r} is not in the package")
    return network


def _ending(file: PurePath) -> str:
    return file.suffix.lower()


def _require_size(folder: Path, max_bytes: int) -> None:
    files = list(islice((path for path in folder.rglob("*") if not path.is_dir()), MAX_MEMBERS + 1))
    if len(files) > MAX_MEMBERS:
        raise PackageError(f"the package has more than {MAX_MEMBERS} files")
    size = sum(path.lstat().st_size for path in files)
    if size > max_bytes:
        raise PackageError(_too_large("package holds", size, max_bytes))


def _too_large(subject: str, size: int, max_bytes: int) -> str:
    return f"the {subject} {size} bytes, more than the limit max_model_mb = {max_bytes >> 20} allows"


def _lies_in(folder: Path, file: Path) -> bool:
    """Return whether a file is in a folder, links followed. A circle of links is in no folder."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _unpacked(path: Path, unpack_folder: Path, max_bytes: int) -> Path:
    """Return the folder with the contents of a `.dlpk`, which is unpacked the first time."""
    status = path.stat()
    prefix = f"{path.stem}-{_short_hash_of(path)}-"
    content = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"  # a copy can have the time of its original
    target = unpack_folder / f"{prefix}{short_hash(content.encode())}"
    if target.is_dir():
        return target
    unpack_folder.mkdir(parents=True, exist_ok=True)
    with scratch_in(unpack_folder) as scratch:
        _unpack(path, scratch, max_bytes)
        move_into_place(scratch, target, prefix)
    return target


@contextmanager
def scratch_in(unpack_folder: Path) -> Iterator[Path]:
    """Yield an empty folder that is removed at the end; remove those of processes that were killed."""
    lock = os.open(unpack_folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # else somebody is unpacking
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in unpack_folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=unpack_folder))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(lock)


def move_into_place(scratch: Path, target: Path, prefix: str) -> None:
    """Give the contents of a package their place, unless another process was first; remove those of former versions.

    Args:
        scratch: folder of the contents.
        target: their place.
        prefix: with which the names of the folders of all versions begin; they lie beside the target.

    Raises:
        OSError: they cannot be moved.
    """
    try:
        os.replace(scratch, target)
        _remove_former(target, prefix)
    except OSError:
        if not target.is_dir():  # else another process was first
            raise


def _remove_former(target: Path, prefix: str) -> None:
    """Remove the contents of former versions of a package but the last, which jobs may be working with."""
    folders = [folder for folder in target.parent.glob(f"{glob.escape(prefix)}*") if folder != target]
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime_ns)[:-1]:
        shutil.rmtree(folder, ignore_errors=True)


def _short_hash_of(path: Path) -> str:
    return short_hash(os.fsencode(path.resolve()))


def short_hash(data: bytes) -> str:
    """Return the beginning of a digest, for the name of a file."""
    return hashlib.sha256(data).hexdigest()[:16]


def _unpack(path: Path, folder: Path, max_bytes: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            remaining_bytes = max_bytes
            for member, name in _checked_members(archive, max_bytes):
                remaining_bytes -= extract(archive, member, folder.joinpath(*name.parts), remaining_bytes, _ARCHIVE)
    except BROKEN_ZIP as err:
        raise PackageError(f"{_ARCHIVE} is not a sound zip archive") from err


def _checked_members(archive: zipfile.ZipFile, max_bytes: int) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    files = [member for member in archive.infolist() if not member.is_dir()]
    require_few(files, _ARCHIVE)
    unpacked = sum(member.file_size for member in files)
    if unpacked > max_bytes:
        raise PackageError(_too_large(".dlpk unpacks to", unpacked, max_bytes))
    require_sane_size(files, _ARCHIVE)
    members = [(member, safe_name(member, _ARCHIVE)) for member in files]
    if len({name for _, name in members}) != len(members):
        raise PackageError(f"{_ARCHIVE} holds two files of the same name")
    return members
