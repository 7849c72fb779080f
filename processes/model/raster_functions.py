"""What is known of a package's raster function, and what the operator decided about it."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import msgspec

from processes.errors import PackageError
from processes.model.declared_argument import DeclaredArgument
from processes.model.package_digest import package_digest
from processes.model.raster_function.process import Surroundings
from processes.settings import Settings

SETTING = "CLASSIFY_RASTER_FUNCTION_PYTHON"
_SYSTEM = "[functions]"
"""How Esri writes the folder of the raster functions that ArcGIS itself has."""

FieldKind = Literal["text", "integer", "number"]


class FunctionSettings(msgspec.Struct, frozen=True):
    """What the operator decided about raster functions."""

    trusted: tuple[str, ...] = ()
    """Digests of the packages whose functions may run, in hex."""
    python: str | None = None
    """The Python that runs them; None = none does."""
    scratch: str = ""
    """Folder for their scratch folders."""
    hidden: tuple[str, ...] = ()
    """Folders that they must not see."""
    max_mb: int = 8192
    """Memory that each of their processes may use, in MiB."""
    timeout_s: float = 600
    """Seconds that a call of one may take; a configured limit."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what a deployment decided."""
        results = () if "://" in settings.results else (settings.results,)
        return cls(
            trusted=settings.trusted,
            python=None if settings.raster_function_python is None else str(settings.raster_function_python),
            scratch=str(settings.state.absolute() / "raster-functions"),
            hidden=(str(settings.state.absolute()), *results),
            max_mb=settings.limits.max_raster_function_mb,
            timeout_s=settings.limits.section_timeout_s,
        )

    def surroundings(self) -> Surroundings:
        """Return what functions run in.

        Raises:
            PackageError: there is no Python for them.
        """
        if self.python is None:
            raise PackageError(f"its raster function is trusted, but {SETTING} names no Python to run it")
        if not os.access(self.python, os.X_OK) or os.path.isdir(self.python):
            raise PackageError(f"its raster function is trusted, but {SETTING} names no program")
        return Surroundings(self.python, self.scratch, self.hidden, self.max_mb)


class FunctionField(msgspec.Struct, frozen=True):
    """A field that a raster function gives each object beside label and confidence."""

    name: str
    kind: FieldKind


class RasterFunction(msgspec.Struct, frozen=True):
    """The raster function of a package."""

    file: str
    """Its Python file in the package, with forward slashes."""
    sha256: str | None
    """Digest of the whole package, by which it is trusted; None = nobody can trust it."""
    problem: str | None = None
    """Why nobody can trust it, in words for the operator; None = one can."""
    is_trusted: bool = False
    """True = labels are the function's. False = it is never imported, and labels are the network's."""
    python: str | None = None
    """The Python that it was checked with; None = there was none, or it is not trusted."""
    definition: str = ""
    """The .emd's name in the package."""
    arguments: tuple[DeclaredArgument, ...] = ()
    """Those of `getParameterInfo` but for raster, rasters, model and device."""
    fields: tuple[FunctionField, ...] = ()
    """Those of `getFields` that are added to each row."""
    configuration: str = "{}"
    """What `getConfiguration` says of chips, as JSON."""
    batch_size: int | None = None
    """Chips of a call, as `getConfiguration` says; None = it does not."""

    def is_decided_by(self, settings: FunctionSettings) -> bool:
        """Return whether the operator's decision about it is the one that it was checked under."""
        is_trusted = self.sha256 in settings.trusted
        return is_trusted == self.is_trusted and (not is_trusted or self.python == settings.python)

    def argument(self, name: str) -> DeclaredArgument | None:
        """Return the argument of a name; None = it has no such argument."""
        return next((item for item in self.arguments if item.name == name), None)

    def to_run_it(self) -> str:
        """Return what the operator has to do so that it runs."""
        if self.sha256 is None:
            return f"it cannot be trusted: {self.problem}"
        return f"add {self.sha256} to trusted, and name a Python with what it imports in {SETTING}"


def function_file(inference_function: str | None) -> str | None:
    """Return the file that `InferenceFunction` names, with forward slashes; None = it names none of the package."""
    name = (inference_function or "").strip().replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.lower().startswith(_SYSTEM) or name.startswith("/") or ".." in parts or ":" in name or "\0" in name:
        return None
    return "/".join(parts) if name.lower().endswith(".py") else None


def find_function(
    folder: Path, definition: str, inference_function: str | None, settings: FunctionSettings
) -> RasterFunction | None:
    """Return the raster function of a package, of which nothing is run; None = it has none.

    Args:
        folder: where its contents lie.
        definition: name of the .emd.
        inference_function: what the .emd says.
        settings: what the operator decided.

    Raises:
        OSError: the package cannot be read.
    """
    file = function_file(inference_function)
    try:
        if file is None or not (folder / file).is_file():
            return None
    except OSError:  # a name that is too long
        return None
    try:
        digest = package_digest(folder)
    except PackageError as err:
        return RasterFunction(file, None, err.detail, definition=definition)
    is_trusted = digest in settings.trusted
    return RasterFunction(file, digest, None, is_trusted, settings.python if is_trusted else None, definition)


def configuration_of_chips(configuration: dict[str, Any]) -> str:
    """Return what a `getConfiguration` says of chips, as JSON."""
    names = ("tx", "ty", "CropSizeFixed", "BlackenAroundFeature", "extractBands", "dataRange")
    return json.dumps({name: configuration[name] for name in names if configuration.get(name) not in (None, [], "")})
