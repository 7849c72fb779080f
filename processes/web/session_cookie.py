"""The cookie that names a browser's session, and addresses within the service that a sign-in may lead back to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec
from flask import Response, request

_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
_MAX_PATH = 2000


class CookiePlace(msgspec.Struct, frozen=True):
    """Where cookies of the service hold: its own path, and only by TLS where that is how it is reached."""

    root: str
    """Path of the service's URL, without a slash at its end."""
    is_secure: bool
    """Whether the service is reached by https."""

    @classmethod
    def of(cls, url: str) -> CookiePlace:
        """Return the place of a service with a public URL."""
        parts = urlsplit(url)
        return cls(parts.path.rstrip("/"), parts.scheme == "https")

    @property
    def session(self) -> str:
        """Name of the cookie of sessions."""
        return self._named("classify-session")

    @property
    def sign_in(self) -> str:
        """Name of the cookie that a browser keeps while somebody signs in at an issuer."""
        return self._named("classify-sign-in")

    def _named(self, name: str) -> str:
        """Return the name of a cookie. The prefix makes browsers refuse one that another host of the domain sets."""
        return f"__Host-{name}" if self.is_secure and not self.root else name

    def set(self, response: Response, name: str, value: str, lasts_s: int) -> None:
        """Let a browser keep a cookie that no script reads, and that no page of another site sends with a POST.

        Args:
            response: that sets it.
            name: of the cookie.
            value: what it holds.
            lasts_s: seconds for which the browser keeps it.
        """
        path = self.root or "/"
        response.set_cookie(name, value, lasts_s, path=path, secure=self.is_secure, httponly=True, samesite="Lax")

    def remove(self, response: Response, name: str) -> None:
        """Let a browser forget a cookie."""
        response.delete_cookie(name, self.root or "/", secure=self.is_secure, httponly=True, samesite="Lax")


def own_path(text: str | None) -> str:
    """Return a path within the service that somebody is led back to, `/` for whatever leads elsewhere."""
    return text if text is not None and len(text) <= _MAX_PATH and _OWN_PATH.fullmatch(text) else "/"


def asked_path() -> str:
    """Return the path of the request with its parameters, as `own_path` takes it."""
    return request.full_path.removesuffix("?")
