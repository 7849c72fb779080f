"""Hosts, ports and buckets that links may name, and the issuer that says who somebody is, from the configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

WEB_PORTS = (80, 443)
"""Ports that an entry without a port stands for."""
_ENTRY = re.compile(
    r"(?:\[(?P<literal>[0-9a-f:.%\w-]+)\]|(?P<name>(?:\*\.)?[^\s:/?#@\[\]*]+))(?::(?P<port>[0-9]{1,5}))?",
)
ROLE_CLAIM = "roles"
"""The claim that holds roles where the configuration names none."""
BUCKET_SCHEMES = ("s3", "gs", "az")
"""Of links to objects: S3 and what speaks its protocol, Google Cloud Storage, Azure's containers."""
_BUCKET = re.compile(r"(s3|gs|az)://([a-zA-Z0-9][a-zA-Z0-9._-]{1,254})(?:/(.*))?")


class AllowedHost(msgspec.Struct, frozen=True):
    """An entry of the setting `hosts`."""

    name: str
    """In lower case: a host name, an address without brackets, or `*.example.org` for all subdomains."""
    port: int | None
    """None = the `WEB_PORTS`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the entry of a text: `host`, `host:port`, `*.host:port`, `[::1]:port`.

        Raises:
            ValueError: it is none of these.
        """
        plain = text.lower()
        match = _ENTRY.fullmatch(f"[{plain}]" if _is_ipv6(plain) else plain)
        port = None if match is None or match["port"] is None else int(match["port"])
        if match is None or port == 0 or (port or 0) > 65535 or (match["literal"] and not _is_ipv6(match["literal"])):
            raise ValueError(f"hosts has {text!r}; an entry is host, host:port, *.host, *.host:port or [address]:port")
        return cls(normal_host(match["literal"] or match["name"]), port)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for subdomains; then it allows no private address."""
        return self.name.startswith("*.")

    def names(self, host: str) -> bool:
        """Return whether it names a host, given as `normal_host` returns it."""
        return host == self.name or (self.is_wildcard and host.endswith(self.name[1:]) and host != self.name[1:])

    def allows(self, host: str, port: int) -> bool:
        """Return whether it names a host with a port."""
        return self.names(host) and (port in WEB_PORTS if self.port is None else port == self.port)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that it allows."""
        return WEB_PORTS if self.port is None else (self.port,)


class AllowedBucket(msgspec.Struct, frozen=True):
    """An entry of the setting `buckets`."""

    scheme: str
    bucket: str
    prefix: str
    """Without slashes at its ends; empty = all of the bucket."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the entry of a text: `s3://bucket`, `s3://bucket/prefix`.

        Raises:
            ValueError: it is none of these.
        """
        match = _BUCKET.fullmatch(text)
        if match is None:
            raise ValueError(f"buckets has {text!r}; an entry is s3://bucket or s3://bucket/prefix, or with gs or az")
        return cls(match[1], match[2], (match[3] or "").strip("/"))

    def allows(self, scheme: str, bucket: str, key: str) -> bool:
        """Return whether it names an object; a prefix stands for whole parts of a key, between slashes.

        Args:
            scheme: of the link.
            bucket: that it names.
            key: of the object.
        """
        within = not self.prefix or key == self.prefix or key.startswith(f"{self.prefix}/")
        return (scheme, bucket) == (self.scheme, self.bucket) and within


class OidcIssuer(msgspec.Struct, frozen=True):
    """The issuer of OpenID Connect that says who somebody is: the setting `oidc`."""

    url: str
    """As its tokens name it, without what stands behind it in other addresses."""
    audience: str
    """That tokens of programs have to be for."""
    role_claim: str
    """Name of the claim that holds roles; dots lead into objects."""
    client_id: str | None = None
    """Of this service, to let people sign in; None = only programs come, with tokens."""

    @classmethod
    def parse(cls, entries: Mapping[str, Any]) -> Self:
        """Return the issuer of the setting's entries.

        Raises:
            ValueError: one is missing, or the issuer is not asked by https; plain http is for loopback alone.
        """
        given = {name: str(entries.get(name) or "") for name in ("issuer", "audience", "role_claim", "client_id")}
        missing = [name for name in ("issuer", "audience") if not given[name]]
        if missing:
            names = ", ".join(f"oidc.{name} (CLASSIFY_OIDC_{name.upper()})" for name in missing)
            raise ValueError(f"access is 'oidc', which needs {names}")
        require_secure(given["issuer"])
        return cls(given["issuer"], given["audience"], given["role_claim"] or ROLE_CLAIM, given["client_id"] or None)


def require_secure(url: str) -> None:
    """Raise ValueError where an address of an issuer could be read or changed on its way."""
    parts = urlsplit(url)
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not is_secure or not parts.hostname or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"the issuer has the address {url!r}; it is https://…, or http:// on loopback")


def is_loopback(name: str) -> bool:
    """Return whether a name or an address, in lower case, is one of loopback's: only this machine reaches it."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def normal_host(host: str) -> str:
    """Return a host in lower case; of an IPv6 address the shortest form."""
    plain = host.lower()
    return str(ipaddress.IPv6Address(plain)) if _is_ipv6(plain) else plain


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
