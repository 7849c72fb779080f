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

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may ask for. Each is named in the error that it causes."""

    max_body_mb: int = 64
    max_image_pixels: int = 40_000_000_000
    max_images: int = 10_000
    max_model_mb: int = 4096
    max_objects: int = 50_000_000
    max_download_mb: int = 4096
    """Of one linked file."""
    sync_max_objects: int = 20_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment decides about the processes."""

    models: tuple[Path, ...]
    """Folders with model packages."""
    imagery: tuple[Path, ...]
    """Folders below which `file:` links may point."""
    hosts: tuple[str, ...]
    """Hosts that `http:` and `https:` links may name; `*.example.org` for subdomains."""
    state: Path
    """Folder for what is kept between requests."""
    limits: Limits

    @classmethod
    def from_plugin(cls, definition: Mapping[str, Any], base: Path | None = None) -> Settings:
        """Read the settings of a pygeoapi process plugin.

        Args:
            definition: the plugin's entry in the configuration.
            base: folder that relative paths start from; the working folder by default.

        Raises:
            ValueError: a limit is unknown or not a whole number above 0.
        """
        base = base or Path.cwd()
        return cls(
            models=_folders(definition.get("models"), base),
            imagery=_folders(definition.get("imagery"), base),
            hosts=tuple(host.strip().lower() for host in str(definition.get("hosts") or "").split(",") if host.strip()),
            state=base / str(definition.get("state") or "state"),
            limits=_limits(definition.get("limits") or {}),
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


def load_settings(path: Path) -> Settings:
    """Read the settings of the process `classify-objects` from the configuration."""
    plugin = load_configuration(path)["resources"]["classify-objects"]["processor"]
    return Settings.from_plugin(plugin, path.resolve().parent)


def _folders(value: Any, base: Path) -> tuple[Path, ...]:
    return tuple(base / part for part in str(value or "").split(":") if part)


def _limits(values: Mapping[str, Any]) -> Limits:
    known = {item.name for item in fields(Limits)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no limit {name!r}; the limits are {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"the limit {name} is {value!r}, not a whole number above 0")
    return Limits(**values)
