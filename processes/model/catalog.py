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
from typing import Self

import msgspec

from processes.errors import InputError, PackageError
from processes.model.check import CheckOutcome, check_package
from processes.model.definition import Activation, ModelDefinition
from processes.model.package import Package, package_id, read_package
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_TRY_AGAIN_S = 600
"""Seconds after which a check that was not conclusive is repeated."""
_CHECK_VERSION = 6
"""A new number invalidates all recorded outcomes."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be used."""

    id: str
    """As requests name it."""
    network: Path
    """The ONNX file."""
    sha256: str
    """Digest of the ONNX file, in hex."""
    definition: ModelDefinition
    activation: Activation
    """What turns the network's outputs into probabilities: the definition's, else what the check found."""
    bands: int | None
    """Number of bands that the network takes; None = any number."""
    size: tuple[int | None, int | None]
    """Height and width of the chips that the network takes, in cells; None = any."""
    output_name: str | None
    """The network's output that holds the scores; None = the only one that can."""
    cuts_cells: bool = False
    """True = the network takes bytes as they are: cells beyond 0..255 are cut off."""
    warnings: tuple[str, ...] = ()
    """Sentences about what may make labels wrong, for the summary and `describe-model`."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The packages of some folders. Every call reads the folders again: packages come and go while the service runs."""

    folders: tuple[Path, ...]
    state: Path
    """Folder for unpacked packages and the outcomes of checks."""
    max_bytes: int
    """Limit of a package's unpacked size."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the catalog of a deployment's models."""
        return cls(settings.models, settings.state, settings.limits.max_model_mb * 2**20)

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
        """Return the ids of the models that can be used."""
        return [package.id for package in self.check_packages() if package.problem is None]

    def check_packages(self) -> list[Package]:
        """Return every package, with its problem if it has one; new packages are checked at the same time."""
        paths = list(self.package_paths().values())
        with ThreadPoolExecutor(max_workers=max(1, min(len(paths), os.cpu_count() or 1))) as pool:
            return list(pool.map(lambda path: self._check(path)[0], paths))

    def model(self, model_id: str) -> Model:
        """Return the model of an id.

        Raises:
            InputError: there is no such model; the message lists the usable ones.
            PackageError: the package is broken; the message has the reason.
        """
        path = self.package_paths().get(model_id)
        if path is None:
            raise InputError(f"there is no model {model_id!r}; installed are: {_listed(self.usable_ids())}")
        return self.model_at(path)

    def model_at(self, path: Path) -> Model:
        """Return the model of a package, which may lie outside the folders.

        Raises:
            PackageError: the package is broken; the message has the reason.
        """
        package, outcome = self._check(path)
        if (
            package.problem is not None
            or package.network is None
            or package.sha256 is None
            or package.definition is None
        ):
            raise PackageError(f"the model {package.id!r} cannot be used: {package.problem}")
        return Model(
            id=package.id,
            network=package.network,
            sha256=package.sha256,
            definition=package.definition,
            activation=outcome.activation,
            bands=outcome.bands,
            size=outcome.size,
            output_name=outcome.output_name,
            cuts_cells=outcome.cuts_cells,
            warnings=package.warnings,
        )

    def _check(self, path: Path) -> tuple[Package, CheckOutcome]:
        """Read a package and the outcome of its check; without a recorded outcome the package is checked now."""
        package = read_package(path, self.state / "packages", self.max_bytes)
        if package.problem is not None:
            return package, CheckOutcome(package.problem)
        record = self.state / "checks" / f"{_key(package)}.json"
        outcome = _read_record(record)
        if outcome is None:
            outcome = check_package(path, self.state / "packages", self.max_bytes)
            _write_record(record, outcome)
            _logger.info("model %s checked: %s", package.id, outcome.problem or "sound")
        return dataclasses.replace(package, problem=outcome.problem, warnings=outcome.warnings), outcome


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
    """Return a hash of what an outcome depends on: network, definition, files beside it, version of the check."""
    weights = hashlib.sha256()
    if package.network is not None:
        for path in sorted(package.network.parent.rglob("*")):
            try:
                status = path.stat()
            except OSError:  # a broken link, or a file that was removed just now
                continue
            weights.update(os.fsencode(path) + f":{status.st_size}:{status.st_mtime_ns};".encode())
    dependencies = msgspec.json.encode([_CHECK_VERSION, package.sha256, package.definition, weights.hexdigest()])
    return hashlib.sha256(dependencies).hexdigest()


def _read_record(record: Path) -> CheckOutcome | None:
    """Return a recorded outcome; None = there is none, or one that was not conclusive and is too old."""
    try:
        outcome = msgspec.json.decode(record.read_bytes(), type=CheckOutcome)
        is_fresh = time.time() - record.stat().st_mtime < _TRY_AGAIN_S
    except (OSError, msgspec.DecodeError):
        return None
    return outcome if outcome.conclusive or is_fresh else None


def _write_record(record: Path, outcome: CheckOutcome) -> None:
    """Write an outcome; where that fails, the next call checks again."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=record.parent, delete=False) as file:
            file.write(msgspec.json.encode(outcome))
        os.replace(file.name, record)
    except OSError as err:
        _logger.warning("the outcome of a model's check cannot be kept: %s", err.strerror)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
