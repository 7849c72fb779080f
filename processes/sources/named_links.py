"""What a command may read: whatever is named in its call, as the caller is the operator of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from processes.allowed_hosts import AllowedBucket, AllowedHost, normal_host
from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.host_links import port_of, split_link


def allow_named(inputs: Mapping[str, Any], settings: Settings) -> Settings:
    """Return settings that allow every file of this machine, and the hosts and buckets that links of the inputs name.

    Args:
        inputs: of the process, as an execute request has them; images and features are links.
        settings: what the configuration says.
    """
    return msgspec.structs.replace(
        settings,
        imagery=(Path("/"),),
        hosts=(*settings.hosts, *_hosts(inputs)),
        buckets=(*settings.buckets, *_buckets(inputs)),
    )


def _links(inputs: Mapping[str, Any]) -> Iterator[str]:
    links = [*inputs.get("image", ()), *([inputs["features"]] if "features" in inputs else [])]
    yield from (link["href"] for link in links)


def _buckets(inputs: Mapping[str, Any]) -> Iterator[AllowedBucket]:
    """Yield the buckets that links of the inputs name."""
    for href in filter(is_bucket_link, _links(inputs)):
        parts = split_link(href)
        yield AllowedBucket(parts.scheme, parts.netloc, "")


def _hosts(inputs: Mapping[str, Any]) -> Iterator[AllowedHost]:
    """Yield the hosts that links of the inputs name, each with its port."""
    for href in _links(inputs):
        parts = split_link(href)
        if parts.scheme in ("http", "https") and parts.hostname:
            yield AllowedHost(normal_host(parts.hostname), port_of(parts))
