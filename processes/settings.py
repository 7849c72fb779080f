"""The configuration: `pygeoapi-config.yml`, where it concerns the processes.

A process stands there as a plugin with settings of its own, and nothing else is read from anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

CONFIGURATION = "pygeoapi-config.yml"
_WEB_WORKERS, _WEB_THREADS = 2, 64
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for. Each is named in the error that it causes."""

    max_body_mb: int = 64
    max_image_pixels: int = 40_000_000_000
    max_images: int = 10_000
    max_model_mb: int = 4096
    max_objects: int = 50_000_000
    max_download_mb: int = 4096
    """Of one linked file."""
    sync_max_objects: int = 20_000
    max_waiting_jobs: int = 1000
    max_waiting_jobs_per_client: int = 100
    max_running_jobs: int = 16
    """Of one runner; as many again that a client waits for."""
    section_timeout_s: int = 600
    retention_days: int = 30
    """So long results are kept after the end of their job, and its record as long again."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form by which the machines of a cluster know each other."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment decides about the processes and their jobs."""

    models: tuple[Path, ...]
    """Folders with model packages."""
    imagery: tuple[Path, ...]
    """Folders below which `file:` links may point."""
    hosts: tuple[str, ...]
    """Hosts that `http:` and `https:` links may name; `*.example.org` for subdomains."""
    state: Path
    """Folder for what is kept between requests."""
    limits: Limits
    job_store: str
    """SQLAlchemy URL of the database that jobs are kept in."""
    results: str
    """Folder for the files of jobs, or `s3://bucket/prefix`."""
    scheduler: str | None
    """Address of a Dask scheduler, `tls://host:port`; None = jobs are done on this machine."""
    tls: Tls | None
    """None = as Dask's own configuration has it."""
    slots: int | None
    """Sections that are done at the same time on this machine; None = as many as GPUs, without one as cores."""
    proxies: tuple[str, ...]
    """Addresses of proxies that are believed whom they forward."""
    web_workers: int
    """Processes that answer requests."""
    web_threads: int
    """Requests that each of them answers at the same time."""
    origins: tuple[str, ...]
    """Whose web pages may call the service; `*` = anybody's."""

    @classmethod
    def from_plugin(cls, definition: Mapping[str, Any], base: Path | None = None) -> Settings:
        """Read the settings of a pygeoapi process plugin.

        Args:
            definition: the plugin's entry in the configuration.
            base: folder that relative paths start from; the working folder by default.

        Raises:
            ValueError: a limit is unknown or not a whole number above 0, or a setting cannot be used.
        """
        base = base or Path.cwd()
        state = base / str(definition.get("state") or "state")
        return cls(
            models=_folders(definition.get("models"), base),
            imagery=_folders(definition.get("imagery"), base),
            hosts=tuple(host.lower() for host in _listed(definition.get("hosts"))),
            state=state,
            limits=_limits(definition.get("limits") or {}),
            job_store=str(definition.get("job_store") or f"sqlite:///{state.absolute() / 'jobs.sqlite3'}"),
            results=_results(definition.get("results"), base, state),
            scheduler=_scheduler(definition.get("scheduler")),
            tls=_tls(definition.get("tls") or {}, base),
            slots=_count("slots", definition.get("slots")),
            proxies=_listed(definition.get("proxies")),
            web_workers=_count("web_workers", definition.get("web_workers")) or _WEB_WORKERS,
            web_threads=_count("web_threads", definition.get("web_threads")) or _WEB_THREADS,
            origins=_listed(definition.get("origins", "*")),
        )


class _Loader(yaml.SafeLoader):
    """YAML with `${NAME:-default}` in scalars, as pygeoapi has it; pygeoapi's own takes a second to import."""


def _substituted(loader: _Loader, node: yaml.ScalarNode) -> str | int:
    scalar = str(loader.construct_scalar(node))
    text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[2] or ""), scalar)
    return int(text) if text.isdecimal() else text


_Loader.add_implicit_resolver("!env", re.compile(rf".*?{_VARIABLE.pattern}"), None)
_Loader.add_constructor("!env", _substituted)


def load_configuration(path: Path) -> dict[str, Any]:
    """Read the configuration, with variables replaced."""
    loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    return loaded if isinstance(loaded, dict) else {}


def find_configuration() -> Path:
    """Return the configuration that this program goes by where none is named.

    It is the one that the variable `PYGEOAPI_CONFIG` names, else that of the working folder, else the program's own.

    Raises:
        FileNotFoundError: there is none.
    """
    named = os.environ.get("PYGEOAPI_CONFIG")
    own = Path(__file__).resolve().parents[1]
    for path in [Path(named)] if named else [folder / CONFIGURATION for folder in (Path.cwd(), own)]:
        if path.is_file():
            return path.resolve()
    raise FileNotFoundError(f"there is no {named or CONFIGURATION}")


def load_settings(path: Path) -> Settings:
    """Read the settings of the process `classify-objects` from the configuration."""
    plugin = load_configuration(path)["resources"]["classify-objects"]["processor"]
    return Settings.from_plugin(plugin, path.resolve().parent)


def _folders(value: Any, base: Path) -> tuple[Path, ...]:
    return tuple(base / part for part in str(value or "").split(":") if part)


def _listed(value: Any) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(value or "").split(",") if part.strip())


def _results(value: Any, base: Path, state: Path) -> str:
    if not value:
        return str(state.absolute() / "results")
    return str(value) if "://" in str(value) else str((base / str(value)).absolute())


def _scheduler(value: Any) -> str | None:
    if value and not str(value).startswith("tls://"):
        raise ValueError(f"the scheduler is {value!r}; only tls:// is spoken with one")
    return str(value) if value else None


def _tls(given: Mapping[str, Any], base: Path) -> Tls | None:
    files = {name: given.get(name) for name in ("ca", "cert", "key")}
    missing = [name for name, path in files.items() if not path]
    if len(missing) == len(files):
        return None
    if missing:
        raise ValueError(f"tls lacks {', '.join(missing)}; it takes ca, cert and key")
    return Tls(*(base / str(path) for path in files.values()))


def _count(name: str, value: Any) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}, not a whole number above 0")
    return value


def _limits(values: Mapping[str, Any]) -> Limits:
    known = {item.name for item in fields(Limits)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no limit {name!r}; the limits are {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"the limit {name} is {value!r}, not a whole number above 0")
    return Limits(**values)
