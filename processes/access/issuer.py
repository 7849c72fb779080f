"""The issuer of OpenID Connect: what it says of itself, and the keys that its tokens are signed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from processes.access.refreshed import Refreshed
from processes.allowed_hosts import OidcIssuer, normal_host, require_secure
from processes.errors import HostStatusError, ServiceError, UnauthorizedError, UnavailableError
from processes.settings import Settings
from processes.sources.hosts import ask_document

_LASTS_S = 600
"""Seconds after which documents of the issuer are fetched anew: so long a key counts that it has withdrawn."""
_TIMEOUT_S = 3
"""Seconds for a document of the issuer."""
_MAX_BYTES = 2**20
_DISCOVERY = "/.well-known/openid-configuration"
_SIGNING_KEYS = ("RSA", "EC", "OKP")
"""Kinds of keys with a public half. A secret that issuer and service share signs nothing here."""
NOBODY = "the token is not one of this service's issuer, is for another service, or has expired"
"""One message for all: who guesses learns nothing."""


class Endpoints(msgspec.Struct, frozen=True):
    """What an issuer says of itself."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    """Where people sign in; empty = they cannot."""
    token_endpoint: str = ""
    """Where a code is changed for tokens; empty = nowhere."""


class _KeySet(msgspec.Struct, frozen=True):
    """The keys of an issuer, as its document has them (RFC 7517)."""

    keys: list[Any]


class Issuer:
    """The issuer of a service. What it says is kept; while it is slow or gone, what is known of it is used on.

    Args:
        named: as the configuration names it.
        settings: name the hosts with private addresses that it may send to.
    """

    def __init__(self, named: OidcIssuer, settings: Settings) -> None:
        self.named = named
        self._settings = settings
        self._endpoints = Refreshed(f"what the issuer {named.url} says of itself", self._discover, _LASTS_S)
        self._keys = Refreshed(f"the keys of the issuer {named.url}", self._fetch_keys, _LASTS_S)

    def endpoints(self) -> Endpoints:
        """Return what the issuer says of itself; raise UnavailableError where that cannot be had."""
        return self._endpoints.value()

    def key(self, key_id: str | None) -> Key:
        """Return the key that a token is signed with.

        Args:
            key_id: as the token has it; None = the token names none, which is enough where the issuer has but one.

        Raises:
            UnauthorizedError: the issuer has no such key, also when it is asked anew.
            UnavailableError: its keys cannot be had.
        """
        found = _key_of(self._keys.value(), key_id) or _key_of(self._keys.renewed(), key_id)
        if found is None:
            raise UnauthorizedError(NOBODY)
        return found

    def change_code(self, form: bytes) -> Mapping[str, Any]:
        """Return the tokens that the issuer gives for a code.

        Args:
            form: what it is sent.

        Raises:
            UnauthorizedError: it gives none.
            UnavailableError: it does not answer.
        """
        try:
            return _json(self._ask(self.endpoints().token_endpoint, form), dict[str, Any])
        except HostStatusError as err:
            if err.status >= 500:
                raise UnavailableError(f"the issuer {self.named.url} does not answer; try again later") from err
            raise UnauthorizedError(f"the issuer {self.named.url} did not confirm the sign-in; try again") from err

    def _discover(self) -> Endpoints:
        found = self._document(self.named.url.rstrip("/") + _DISCOVERY, Endpoints)
        if found.issuer != self.named.url:
            raise UnavailableError(f"the issuer {self.named.url} calls itself {found.issuer!r}: configure that name")
        return found

    def _fetch_keys(self) -> Sequence[Key]:
        document = self._document(self.endpoints().jwks_uri, _KeySet)
        return [key for item in document.keys if (key := _signing_key(item)) is not None]

    def _document[T](self, href: str, kind: type[T]) -> T:
        try:
            return _json(self._ask(href), kind)
        except HostStatusError as err:
            raise UnavailableError(f"the issuer {self.named.url} answers with status {err.status}") from err

    def _ask(self, href: str, form: bytes | None = None) -> bytes:
        """Ask a host that the issuer names. Its own host may be private, as the operator named it; others as listed."""
        try:
            require_secure(href)
        except ValueError as err:
            raise UnavailableError(f"{err}: the issuer {self.named.url} names it") from err
        host, own = (normal_host(urlsplit(item).hostname or "") for item in (href, self.named.url))
        allows_private = host == own or any(item.name == host for item in self._settings.hosts)
        try:
            return ask_document(href, form, allows_private=allows_private, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
        except HostStatusError:
            raise
        except ServiceError as err:
            raise UnavailableError(f"the issuer {self.named.url} does not answer; try again later") from err


def _json[T](text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as err:
        raise UnavailableError("the issuer's answer is not what OpenID Connect says") from err


def _key_of(keys: Sequence[Key], key_id: str | None) -> Key | None:
    if key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.kid == key_id), None)


def _signing_key(item: Any) -> Key | None:
    """Return a key that signatures are checked with; None = it is for something else, or not known here."""
    if not isinstance(item, dict) or item.get("kty") not in _SIGNING_KEYS or item.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(item)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
