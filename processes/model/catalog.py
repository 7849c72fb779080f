"""The installed models: packages of the configured folders, each checked once."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from processes.errors import InputError, PackageError
from processes.model.check import CheckOutcome, check_package
from processes.model.definition import Activation, ModelDefinition
from processes.model.package import Package, package_id, read_package

_logger = logging.getLogger(__name__)

_TRY_AGAIN_S = 600
_CHECK_VERSION = 2  # another number makes every package be checked again


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be used."""

    id: str
    network: Path
    sha256: str
    definition: ModelDefinition
    activation: Activation
    bands: int | None
    """Bands that the network takes; None = any number."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The packages of some folders, looked up anew at every call: a package can come and go while the service runs."""

    folders: tuple[Path, ...]
    state: Path
    """Where unpacked packages and the outcomes of checks are kept."""
    max_bytes: int
    """Limit of a package's unpacked size."""

    def packages(self) -> dict[str, Path]:
        """Return the path of every package, by id.

        Of the same id in two folders the first folder wins, in one folder a `.dlpk` before a folder.
        """
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in _packages_in(folder):
                found.setdefault(package_id(path), path)
        return dict(sorted(found.items()))

    def usable(self) -> list[str]:
        """Return the ids of the models that can be used."""
        return [package.id for package in self.checked() if package.problem is None]

    def checked(self) -> list[Package]:
        """Return every package with what is wrong with it; new ones are checked side by side."""
        paths = list(self.packages().values())
        with ThreadPoolExecutor(max_workers=max(1, min(len(paths), os.cpu_count() or 1))) as pool:
            return list(pool.map(lambda path: self.look(path)[0], paths))

    def model(self, model_id: str) -> Model:
        """Return the model of that id.

        Raises:
            InputError: there is none; names those there are.
            PackageError: the package is broken; says why.
        """
        path = self.packages().get(model_id)
        if path is None:
            raise InputError(f"there is no model {model_id!r}; installed are: {_listed(self.usable())}")
        return self.model_at(path)

    def model_at(self, path: Path) -> Model:
        """Return the model of a package outside the folders, or of one of them.

        Raises:
            PackageError: the package is broken; says why.
        """
        package, outcome = self.look(path)
        if (
            package.problem is not None
            or package.network is None
            or package.sha256 is None
            or package.definition is None
        ):
            raise PackageError(f"the model {package.id!r} cannot be used: {package.problem}")
        return Model(package.id, package.network, package.sha256, package.definition, outcome.activation, outcome.bands)

    def look(self, path: Path) -> tuple[Package, CheckOutcome]:
        """Read a package and the outcome of its check, which is made where there is none yet."""
        package = read_package(path, self.state / "packages", self.max_bytes)
        if package.problem is not None:
            return package, CheckOutcome(package.problem)
        record = self.state / "checks" / f"{_key(package)}.json"
        outcome = _recorded(record)
        if outcome is None:
            outcome = check_package(path, self.state / "packages", self.max_bytes)
            _record(record, outcome)
            _logger.info("model %s checked: %s", package.id, outcome.problem or "sound")
        return dataclasses.replace(package, problem=outcome.problem), outcome


def _packages_in(folder: Path) -> Iterable[Path]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if _has_text_name(entry))
        archives = [entry for entry in entries if entry.suffix.lower() == ".dlpk" and entry.is_file()]
        folders = [entry for entry in entries if entry.is_dir() and _has_definition(entry)]
    except OSError as err:
        _logger.warning("models folder %s cannot be read: %s", folder, err.strerror)
        return []
    return [*archives, *folders]


def _has_text_name(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        _logger.warning("a model package has a name that is not UTF-8: %a", path.name)
        return False
    return True


def _has_definition(folder: Path) -> bool:
    try:
        return any(entry.suffix.lower() == ".emd" for entry in folder.iterdir())
    except OSError:
        return False


def _key(package: Package) -> str:
    """What an outcome depends on: network, definition, files with weights beside it, and how the check is made."""
    beside = hashlib.sha256()
    if package.network is not None:
        for path in sorted(package.network.parent.rglob("*")):
            try:
                status = path.stat()
            except OSError:  # a link that leads nowhere, or gone since
                continue
            beside.update(os.fsencode(path) + f":{status.st_size}:{status.st_mtime_ns};".encode())
    said = msgspec.json.encode([_CHECK_VERSION, package.sha256, package.definition, beside.hexdigest()])
    return hashlib.sha256(said).hexdigest()


def _recorded(record: Path) -> CheckOutcome | None:
    """Return a former outcome; one that was not conclusive counts for some minutes only."""
    try:
        outcome = msgspec.json.decode(record.read_bytes(), type=CheckOutcome)
        is_fresh = time.time() - record.stat().st_mtime < _TRY_AGAIN_S
    except (OSError, msgspec.DecodeError):
        return None
    return outcome if outcome.conclusive or is_fresh else None


def _record(record: Path, outcome: CheckOutcome) -> None:
    """Keep an outcome; where the state folder cannot be written the check is made again next time."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=record.parent, delete=False) as file:
            file.write(msgspec.json.encode(outcome))
        os.replace(file.name, record)
    except OSError as err:
        _logger.warning("the outcome of a model's check cannot be kept: %s", err.strerror)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
