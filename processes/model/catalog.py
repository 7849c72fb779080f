"""The installed models: packages of the configured folders, each checked once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from processes.errors import InputError, PackageError, UnavailableError
from processes.model.check import TIMEOUT_S, CheckedPackage, NetworkInput, check_package
from processes.model.checker import wake_checker
from processes.model.definition import Activation, ModelDefinition
from processes.model.function_configuration import with_configuration
from processes.model.package import Package, package_id, read_definition
from processes.model.raster_functions import FunctionSettings, RasterFunction
from processes.model.records import CheckRecord, read_record, write_record
from processes.model.stamps import stamp_package
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_ARCHIVE = ".dlpk"
_PATIENCE_S, _POLL_S = 5, 0.1
"""Seconds that a request waits for the check of its model, which takes a second or two as a rule."""
_NONE_TRUSTED = FunctionSettings()
_PATIENT = threading.BoundedSemaphore(8)
"""For the requests of a process that wait so at the same time: others must find threads."""


class Model(msgspec.Struct, frozen=True):
    """A model that can be used."""

    id: str
    """As requests name it."""
    package: Path
    """The `.dlpk` file or the package folder."""
    network: Path
    """The file that labels come from: the ONNX file, or that of the raster function."""
    sha256: str
    """Digest of all files that the labels depend on, in hex, as `processes.model.digests` makes it; of the whole
    package where labels are those of the raster function."""
    definition: ModelDefinition
    activation: Activation
    """What turns the network's outputs into probabilities: the definition's, else what the check found."""
    bands: int | None
    """Number of bands that the network takes; None = any number."""
    size: tuple[int | None, int | None]
    """Height and width of the chips that the network takes, in cells; None = any."""
    output_name: str | None
    """The network's output that holds the scores; None = the only one that can."""
    folder: Path = Path()
    """Where the contents of the package lie."""
    input: NetworkInput = msgspec.field(default_factory=NetworkInput)
    cuts_cells: bool = False
    """True = the network takes bytes as they are: cells beyond 0..255 are cut off."""
    warnings: tuple[str, ...] = ()
    """Sentences about what may make labels wrong, for the summary and `describe-model`."""
    function: RasterFunction | None = None
    """Its raster function; None = it has none."""

    @property
    def own_function(self) -> RasterFunction | None:
        """Return the raster function that labels are of; None = they are the network's."""
        return self.function if self.function is not None and self.function.is_trusted else None


class Catalog(msgspec.Struct, frozen=True):
    """The packages of some folders. Every call reads the folders again: packages come and go while the service runs."""

    folders: tuple[Path, ...]
    state: Path
    """Folder for unpacked packages and the outcomes of checks."""
    max_bytes: int
    """Limit of a package's unpacked size."""
    check_timeout_s: float = TIMEOUT_S
    """Seconds that the trial run of a network may take."""
    waits: bool = True
    """True = a package without an outcome is checked at once. False = that is left to the checker, which is woken."""
    functions: FunctionSettings = _NONE_TRUSTED
    """What the operator decided about raster functions."""

    @classmethod
    def from_settings(cls, settings: Settings, waits: bool = True) -> Self:
        """Return the catalog of a deployment's models; `waits` as the field of that name."""
        limits, functions = settings.limits, FunctionSettings.of(settings)
        max_bytes = limits.max_model_mb * 2**20
        return cls(settings.models, settings.state, max_bytes, limits.check_timeout_s, waits, functions)

    def package_paths(self) -> dict[str, Path]:
        """Return the path of every package, by id.

        Where two packages have the same id, the first folder wins; within a folder a `.dlpk` wins.
        """
        paths: dict[str, Path] = {}
        for folder in self.folders:
            for path in _packages_in(folder):
                paths.setdefault(package_id(path), path)
        return dict(sorted(paths.items()))

    def usable_ids(self) -> list[str]:
        """Return the ids of the models that can be used; where this catalog does not wait, those known by now."""
        found = self._checked_packages()
        return [model_id for model_id, checked in found.items() if checked.outcome.problem is None]

    def check_packages(self) -> list[Package]:
        """Return every package, with its problem if it has one; those that are being checked are left out."""
        return [_package(model_id, checked) for model_id, checked in self._checked_packages().items()]

    def model(self, model_id: str, sha256: str | None = None) -> Model:
        """Return the model of an id.

        Args:
            model_id: as requests name it.
            sha256: digest of the version that is preferred, as far as it is still there; None = the current one.

        Raises:
            InputError: there is no such model; the message lists the usable ones.
            PackageError: the package is broken; the message has the reason.
            UnavailableError: the package is being checked.
        """
        packages = (item for folder in self.folders for item in _packages_in(folder, model_id))
        path = next(packages, None)
        if path is None and sha256 is not None:
            removed = [folder / f"{model_id}{_ARCHIVE}" for folder in self.folders]
            path = next((item for item in removed if self._version(item, sha256) is not None), None)
        if path is None:
            raise InputError(f"there is no model {model_id!r}; installed are: {_listed(self.usable_ids())}")
        return self.model_at(path, sha256)

    def unchanged_model(self, model_id: str, sha256: str, package: Path | None = None) -> Model:
        """Return a model as it was when it had a digest.

        Args:
            model_id: as requests name it.
            sha256: its digest.
            package: where it lies; None = wherever its id is found.

        Raises:
            InputError: there is no model of that id any more.
            PackageError: it is another one by now.
        """
        try:
            model = self.model(model_id, sha256) if package is None else self.model_at(package, sha256)
            if model.sha256 == sha256:
                return model
            broken = None
        except PackageError as err:  # as where only a part of it has been replaced
            broken = err
        raise PackageError(f"the model {model_id!r} was changed after the request was accepted") from broken

    def model_at(self, path: Path, sha256: str | None = None) -> Model:
        """Return the model of a package, wherever it lies; arguments and errors as `model` has them."""
        model_id = package_id(path)
        checked = self._version(path, sha256) or self._checked(path) or self._checked_soon(path)
        if checked is None:
            raise UnavailableError(f"the model {model_id!r} is being checked; try again in some seconds")
        package, outcome = _package(model_id, checked), checked.outcome
        function = checked.function
        network = package.network
        if function is not None and function.is_trusted:
            network = Path(checked.folder, function.file)
        if package.problem is not None or network is None or package.sha256 is None or package.definition is None:
            raise PackageError(f"the model {model_id!r} cannot be used: {package.problem}")
        return Model(
            id=model_id,
            package=path,
            network=network,
            sha256=package.sha256,
            definition=_with_function(package.definition, function),
            activation=outcome.activation,
            bands=outcome.bands,
            size=outcome.size,
            output_name=outcome.output_name,
            folder=Path(checked.folder),
            input=outcome.input,
            cuts_cells=outcome.cuts_cells,
            warnings=package.warnings,
            function=function,
        )

    def record(self, path: Path) -> CheckRecord | None:
        """Return the record of a package, if it holds for the package as it is now; None = it is to be checked."""
        record = read_record(self.state, path)
        if record is None or not record.holds(stamp_package(path)):
            return None
        return record if self._is_decided(record.checked) else None

    def _is_decided(self, checked: CheckedPackage) -> bool:
        """Return whether a package was checked under what the operator decides about its raster function now."""
        return checked.function is None or checked.function.is_decided_by(self.functions)

    def wake_checker(self) -> None:
        """Let the packages be checked that need it, by a process that is started where there is none."""
        wake_checker(self.folders, self.state, self.max_bytes, self.check_timeout_s, self.functions)

    def _checked_packages(self) -> dict[str, CheckedPackage]:
        """Return the packages with the outcomes of their checks, by id, as far as they are known."""
        paths = self.package_paths()
        if self.waits:
            with ThreadPoolExecutor(max_workers=max(1, min(len(paths), os.cpu_count() or 1))) as pool:
                found = pool.map(self._checked, paths.values())
                return {model_id: checked for model_id, checked in zip(paths, found, strict=True) if checked}
        records = {model_id: self.record(path) for model_id, path in paths.items()}
        if any(record is None or record.is_due() for record in records.values()):
            self.wake_checker()
        return {model_id: record.checked for model_id, record in records.items() if record is not None}

    def _checked(self, path: Path) -> CheckedPackage | None:
        """Return a package with the outcome of its check; None = the checker has not come to it yet."""
        record = self.record(path)
        if record is not None and not record.is_due():
            return record.checked
        if self.waits:
            return self._check(path)
        self.wake_checker()
        return None if record is None else record.checked

    def _checked_soon(self, path: Path) -> CheckedPackage | None:
        """Return a package as soon as the checker has come to it; None = that takes long."""
        if not _PATIENT.acquire(blocking=False):
            return None
        try:
            deadline_s = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
                record = self.record(path)
                if record is not None:
                    return record.checked
            return None
        finally:
            _PATIENT.release()

    def _check(self, path: Path) -> CheckedPackage:
        stamp = stamp_package(path)
        packages = self.state / "packages"
        checked = check_package(path, packages, self.max_bytes, self.check_timeout_s, self.functions)
        if stamp is not None and stamp == stamp_package(path):  # else it was changed meanwhile
            write_record(self.state, path, stamp, checked)
        _logger.info("model %s checked: %s", package_id(path), checked.outcome.problem or "sound")
        return checked

    def _version(self, path: Path, sha256: str | None) -> CheckedPackage | None:
        """Return a package as it was when it had a digest; None = that is no more."""
        record = None if sha256 is None else read_record(self.state, path)
        if record is None:
            return None
        for checked in (record.checked, record.former):
            if checked is None or not self._is_decided(checked):
                continue
            if checked.sha256 == sha256 and checked.is_sound():
                # what was unpacked stays as it is; a folder holds what it holds now
                is_unpacked = os.path.abspath(checked.folder) != os.path.abspath(path)
                if is_unpacked or record.holds(stamp_package(path)):
                    return checked
        return None


def _package(model_id: str, checked: CheckedPackage) -> Package:
    """Return a package that was checked, with its definition as far as it can be read."""
    definition, outcome = None, checked.outcome
    if checked.folder:
        with suppress(InputError, OSError):
            definition = read_definition(Path(checked.folder))
    problem = outcome.problem or (None if definition is not None else "its definition was changed or removed just now")
    found = Package(model_id, definition, checked.network_path, checked.sha256, problem, outcome.warnings)
    return msgspec.structs.replace(found, function=checked.function)


def _with_function(definition: ModelDefinition, function: RasterFunction | None) -> ModelDefinition:
    """Return a definition as the raster function that labels are of asks for chips."""
    if function is None or not function.is_trusted:
        return definition
    return with_configuration(definition, function.configuration)


def _packages_in(folder: Path, model_id: str | None = None) -> list[Path]:
    """Return the packages in a folder, archives first.

    Args:
        folder: where they are looked for.
        model_id: id of the only ones that are looked for; None = all.
    """
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if model_id is None or _may_have_id(entry.name, model_id)]
        named = sorted((entry for entry in named if _has_text_name(entry)), key=lambda entry: entry.name)
        archives = [entry for entry in named if _ending(entry.name) == _ARCHIVE and _holds(entry.is_file)]
        folders = [entry for entry in named if _holds(entry.is_dir) and _has_definition(entry.path)]
    except OSError as err:
        _logger.warning("models folder %s cannot be read: %s", folder, err.strerror)
        return []
    paths = [folder / entry.name for entry in (*archives, *folders)]
    return [path for path in paths if model_id is None or package_id(path) == model_id]


def _may_have_id(name: str, model_id: str) -> bool:
    return name == model_id or (name[: -len(_ARCHIVE)] == model_id and _ending(name) == _ARCHIVE)


def _holds(fact: Callable[[], bool]) -> bool:
    """Return whether something holds of a folder's entry; of a circle of links nothing does."""
    try:
        return fact()
    except OSError:
        return False


def _has_text_name(entry: os.DirEntry[str]) -> bool:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        _logger.warning("a model package has a name that is not UTF-8: %a", entry.name)
        return False
    return True


def _has_definition(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(_ending(entry.name) == ".emd" for entry in entries)
    except OSError:
        return False


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
