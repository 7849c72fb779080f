"""The settings of the processes, from `pygeoapi-config.yml`. No setting is read from anywhere else.

A limit is added by one field of `Limits`, and its line in `pygeoapi-config.yml` and in the README's table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without its library: ten times as slow
    from yaml import SafeLoader  # type: ignore[assignment]

from processes.allowed_hosts import AllowedBucket, AllowedHost, OidcIssuer

CONFIGURATION = "pygeoapi-config.yml"
OPEN, TOKENS, OIDC = "open", "tokens", "oidc"
"""Access: whoever reaches the service may use it; who has a token of it; whom an issuer of OpenID Connect knows."""
ANY = "*"
"""In a list of names or origins: all of them."""
SHIPPED = Path(__file__).resolve().with_name("shipped")
"""Where a wheel has what stands at the root of a checkout: the configuration, the models and the demonstration."""
_WEB_WORKERS, _WEB_THREADS = 2, 64
_MAX_PAUSE_S = 60
_MAY_BE_0 = ("max_upload_mb", "max_uploads_mb_per_client", "max_objects_per_day", "max_kept_tiles_mb", "max_slot_mb")
"""Limits that are switched off by a 0."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Limits(msgspec.Struct, frozen=True):
    """The limits of requests and jobs, whole numbers above 0. An error that a limit causes names it."""

    max_body_mb: int = 64
    """Size of a request's body, in MiB."""
    max_upload_mb: int = 4096
    """Size of a file that a client sends for `image` and `features`, in MiB; 0 = none is taken."""
    max_uploads_mb_per_client: int = 0
    """Size of all such files of one client that are kept, in MiB; 0 = as much as there is room for."""
    max_image_pixels: int = 40_000_000_000
    """Width times height of one image, in cells."""
    max_read_gb: int = 10_000
    """Imagery that is read for one request, its cells as they are decoded, in 10^9 bytes."""
    max_images: int = 10_000
    """Images of one request."""
    max_model_mb: int = 4096
    """Unpacked size of a model package, in MiB."""
    max_objects: int = 50_000_000
    """Objects of one request, and rows of its result."""
    max_download_mb: int = 4096
    """Size of all that is downloaded for one request, images and features together, in MiB."""
    max_download_s: int = 600
    """Seconds that all downloads of one request may take together, from the lookup of a host to the last byte."""
    max_requests: int = 16
    """Requests to hosts and object stores at the same time, of each section and each step that downloads."""
    request_timeout_s: int = 60
    """Seconds that one request for a part of an image may take; then it is tried again."""
    max_cache_mb: int = 512
    """Parts of remote images that a job keeps on each machine while it goes on, in MiB."""
    max_kept_tiles_mb: int = 1024
    """Decoded tiles of files that all slots of a machine keep for a minute, in MiB; 0 = none."""
    sync_max_objects: int = 20_000
    """Objects of one synchronous request."""
    max_waiting_jobs: int = 1000
    """Jobs that wait, of all clients."""
    max_waiting_jobs_per_client: int = 100
    """Jobs that wait, of one client."""
    max_objects_per_day: int = 0
    """Objects that the jobs of one client may have in 24 hours; 0 = as many as it wants."""
    max_running_jobs: int = 16
    """Jobs that one runner works on at the same time; as many again are synchronous requests."""
    min_free_mb: int = 200
    """Space that must be left for new jobs to be accepted, on the disks of the state folder and of results, in MiB."""
    section_timeout_s: int = 600
    """Seconds after which a section is stopped."""
    check_timeout_s: int = 60
    """Seconds that the trial run of a new model's network may take."""
    max_slot_mb: int = 0
    """Memory that each process may use which does the work of jobs, in MiB; 0 = three quarters of the machine's."""
    max_file_mb: int = 65_536
    """Size of each file that such a process writes, in MiB."""
    max_raster_function_mb: int = 8192
    """Memory that each process of a package's raster function may use, in MiB."""
    retention_days: int = 30
    """Days that results are kept after the end of their job; its record is kept twice as long."""


class Tls(msgspec.Struct, frozen=True):
    """PEM files that identify the machines of a cluster to each other."""

    ca: Path
    """Certificate of the authority that signed the others."""
    cert: Path
    """Certificate of this machine."""
    key: Path
    """Private key of this machine."""


class Settings(msgspec.Struct, frozen=True):
    """What a deployment decides about the processes and their jobs."""

    models: tuple[Path, ...]
    """Folders with model packages."""
    imagery: tuple[Path, ...]
    """Folders below which `file:` links may point."""
    hosts: tuple[AllowedHost, ...]
    """Hosts and ports that `http:` and `https:` links may name."""
    state: Path
    """Folder for what stays between requests."""
    limits: Limits
    job_store: str
    """SQLAlchemy URL of the database of jobs."""
    results: str
    """Folder for the files of jobs, or `s3://bucket/prefix`."""
    scheduler: str | None
    """Address of a Dask scheduler, `tls://host:port`; None = jobs run on this machine."""
    tls: Tls | None
    """None = Dask's own configuration decides."""
    slots: int | None
    """Sections that run at the same time on this machine; None = one per GPU, without a GPU one per core."""
    proxies: int
    """Trusted proxies in front of the service, which write `X-Forwarded-For`; 0 = the header is not read."""
    web_workers: int
    """Processes that answer requests."""
    web_threads: int
    """Requests that each web process answers at the same time."""
    host_names: tuple[str, ...]
    """Names that requests may be for, beside those of loopback; `*` = any, none = that of the service's URL."""
    origins: tuple[str, ...]
    """Origins of web pages that may call the service; `*` = any."""
    access: str | None
    """Who may use the service, where the deployment says so; None = it does not, and everybody may who reaches it."""
    max_pause_s: int
    """Longest pause that a client may ask `echo` for, in seconds."""
    anonymous: bool = False
    """Whether descriptions can be read by who does not say who they are, where the service asks for it."""
    oidc: OidcIssuer | None = None
    """Who says who somebody is; None = the access is another."""
    trusted: tuple[str, ...] = ()
    """Digests (SHA-256, in hex) of the packages whose raster functions may run."""
    buckets: tuple[AllowedBucket, ...] = ()
    """Buckets, or parts of them, that links to object stores may name."""
    raster_function_python: Path | None = None
    """The Python that runs raster functions; None = none does."""
    uploads_of: str | None = None
    """Whose uploads links may name, which the request decides; None = everybody's, as an operator makes it."""
    link_key: Path | None = None
    """File whose content is the key of stored links with credentials; None = the cluster's, or one that is made."""

    @classmethod
    def from_plugin(cls, definition: Mapping[str, Any], base: Path | None = None) -> Settings:
        """Read the settings of a pygeoapi process plugin.

        Args:
            definition: the plugin's entry in the configuration.
            base: folder that relative paths start at; None = the working folder.

        Raises:
            ValueError: a limit is unknown or not a whole number above 0, or a setting cannot be used.
        """
        base = base or Path.cwd()
        state = base / str(definition.get("state") or "state")
        return cls(
            models=_folders(definition.get("models"), base),
            imagery=_folders(definition.get("imagery"), base),
            hosts=tuple(map(AllowedHost.parse, _names(definition.get("hosts")))),
            state=state,
            limits=_limits(definition.get("limits") or {}),
            job_store=str(definition.get("job_store") or f"sqlite:///{state.absolute() / 'jobs.sqlite3'}"),
            results=_results(definition.get("results"), base, state),
            scheduler=_scheduler(definition.get("scheduler")),
            tls=_tls(definition.get("tls") or {}, base),
            slots=_count("slots", definition.get("slots")),
            proxies=_proxies(definition.get("proxies")),
            web_workers=_count("web_workers", definition.get("web_workers")) or _WEB_WORKERS,
            web_threads=_count("web_threads", definition.get("web_threads")) or _WEB_THREADS,
            host_names=_names(definition.get("host_names")),
            origins=_names(definition.get("origins")),
            access=_access(definition.get("access")),
            anonymous=_flag("anonymous", definition.get("anonymous")),
            oidc=OidcIssuer.parse(definition.get("oidc") or {}) if definition.get("access") == OIDC else None,
            max_pause_s=_count("max_pause_s", definition.get("max_pause_s")) or _MAX_PAUSE_S,
            buckets=tuple(map(AllowedBucket.parse, _names(definition.get("buckets")))),
            trusted=_digests(definition.get("trusted")),
            raster_function_python=_program(definition.get("raster_function_python"), base),
            link_key=base / str(definition["link_key"]) if definition.get("link_key") else None,
        )


class _Loader(SafeLoader):
    """A YAML loader with `${NAME:-default}` in scalars, as pygeoapi's, which takes a second to import."""


def _replace_variables(loader: _Loader, node: yaml.ScalarNode) -> str | int:
    scalar = str(loader.construct_scalar(node))
    text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[2] or ""), scalar)
    return int(text) if text.isdecimal() else text


_Loader.add_implicit_resolver("!env", re.compile(rf".*?{_VARIABLE.pattern}"), None)
_Loader.add_constructor("!env", _replace_variables)


def load_configuration(path: Path) -> dict[str, Any]:
    """Read the configuration and replace its variables; one that is no YAML raises ValueError."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as err:
        raise ValueError(f"{path} is no YAML: {' '.join(str(err).split())}") from err
    return loaded if isinstance(loaded, dict) else {}


def variables_of(path: Path) -> set[str]:
    """Return the names of the variables that a configuration reads."""
    return {name for name, _ in _VARIABLE.findall(path.read_text(encoding="utf-8"))}


def find_configuration() -> Path:
    """Return the path of the configuration where the caller names none.

    The variable `PYGEOAPI_CONFIG` decides; without it the working folder's file, then this program's own.

    Raises:
        FileNotFoundError: there is no such file.
    """
    variable = os.environ.get("PYGEOAPI_CONFIG")
    folders = (Path.cwd(), own_folder())
    for path in [Path(variable)] if variable else [folder / CONFIGURATION for folder in folders]:
        if path.is_file():
            return path.resolve()
    raise FileNotFoundError(f"there is no {variable or CONFIGURATION}")


def own_folder() -> Path:
    """Return the folder of this program's own configuration and models: the checkout, or a part of the wheel."""
    return SHIPPED if SHIPPED.is_dir() else SHIPPED.parents[1]


def is_built_in(configuration: Path) -> bool:
    """Return whether a configuration is the one of the installed wheel, which no deployment has written."""
    return configuration.resolve() == SHIPPED / CONFIGURATION


def base_folder(configuration: Path) -> Path:
    """Return the folder that relative paths start at: the configuration's, or the working folder for the built-in."""
    return Path.cwd() if is_built_in(configuration) else configuration.resolve().parent


def load_settings(path: Path) -> Settings:
    """Read the settings of `classify-objects`; a configuration that lacks it, or says it wrong, raises ValueError."""
    try:
        plugin = load_configuration(path)["resources"]["classify-objects"]["processor"]
    except (KeyError, TypeError) as err:
        raise ValueError(f"{path} has no resources/classify-objects/processor") from err
    return Settings.from_plugin(plugin, base_folder(path))


def _folders(value: Any, base: Path) -> tuple[Path, ...]:
    return tuple(base / part for part in str(value or "").split(":") if part)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(value or "").split(",") if part.strip())


def _digests(value: Any) -> tuple[str, ...]:
    """Read digests, a list, or a text that separates them by commas."""
    given = [str(item).strip() for item in value] if isinstance(value, list) else _names(value)
    for item in given:
        if not _SHA256.fullmatch(item):
            raise ValueError(f"trusted holds {item!r}, which is no SHA-256: it takes the digests of packages, in hex")
    return tuple(item.lower() for item in given)


def _program(value: Any, base: Path) -> Path | None:
    """Return the path of a program, which is kept as it is: links lead to the environment that it belongs to."""
    return Path(os.path.abspath(base / str(value))) if value else None


def _results(value: Any, base: Path, state: Path) -> str:
    if not value:
        return str(state.absolute() / "results")
    return str(value) if "://" in str(value) else str((base / str(value)).absolute())


def _scheduler(value: Any) -> str | None:
    if value and not str(value).startswith("tls://"):
        raise ValueError(f"the scheduler is {value!r}; only tls:// is spoken with one")
    return str(value) if value else None


def _tls(entries: Mapping[str, Any], base: Path) -> Tls | None:
    files = {name: entries.get(name) for name in ("ca", "cert", "key")}
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


def _access(value: Any) -> str | None:
    if value not in (None, "", OPEN, TOKENS, OIDC):
        raise ValueError(f"access is {value!r}; it can be {OPEN}, {TOKENS} or {OIDC}")
    return str(value) if value else None


def _flag(name: str, value: Any) -> bool:
    text = str(value or "false").lower()
    if text not in ("true", "1", "false", "0"):
        raise ValueError(f"{name} is {value!r}; it can be true or false")
    return text in ("true", "1")


def _proxies(value: Any) -> int:
    if value in (None, ""):
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"proxies is {value!r}, not a number: write how many trusted proxies stand in front of the service "
            "(CLASSIFY_PROXIES=1), not their addresses"
        )
    return value


def _limits(values: Mapping[str, Any]) -> Limits:
    names = set(Limits.__struct_fields__)
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"there is no limit {name!r}; the limits are {', '.join(sorted(names))}")
        if isinstance(value, bool) or not isinstance(value, int) or value < (0 if name in _MAY_BE_0 else 1):
            raise ValueError(f"the limit {name} is {value!r}, not a whole number above 0")
    return Limits(**values)
