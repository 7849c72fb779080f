"""What a command may read: whatever is named in its call, as the caller is the operator of this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from processes.allowed_hosts import AllowedHost, normal_host
from processes.settings import Settings
from processes.sources.host_links import port_of, split_link


def allow_named(inputs: Mapping[str, Any], settings: Settings) -> Settings:
    """Return settings that allow every file of this machine, and the hosts that links of the inputs name.

    Args:
        inputs: of the process, as an execute request has them; images and features are links.
        settings: what the configuration says.
    """
    return dataclasses.replace(settings, imagery=(Path("/"),), hosts=(*settings.hosts, *_hosts(inputs)))


def _hosts(inputs: Mapping[str, Any]) -> Iterator[AllowedHost]:
    """Yield the hosts that links of the inputs name, each with its port."""
    links = [*inputs.get("image", ()), *([inputs["features"]] if "features" in inputs else [])]
    for link in links:
        parts = split_link(link["href"])
        if parts.scheme in ("http", "https") and parts.hostname:
            yield AllowedHost(normal_host(parts.hostname), port_of(parts))
