"""Tokens of the service: what they look like, and what is kept of them, which is not enough to make one.

    classify_<id>_<secret>    the id finds the token in the job store, the secret proves it

The secret has 256 bits of chance, so that one fast hash with a salt is as good as a slow one: nobody tries them all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Self

import msgspec

PREFIX = "classify"
"""What tokens begin with, so that programs that look for lost secrets recognise them."""
_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 6, 32, 16
_FORM = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[\w.@+-]{1,100}")


class BearerToken(msgspec.Struct, frozen=True):
    """A token as its owner has it."""

    id: str
    """Public part, which finds it."""
    secret: str

    @classmethod
    def make(cls) -> Self:
        """Return a new token."""
        return cls(secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the token of a text; None = it is none of this service."""
        match = _FORM.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{PREFIX}_{self.id}_{self.secret}"


class SaltedHash(msgspec.Struct, frozen=True):
    """What is kept of a secret. Both parts are in hex."""

    salt: str
    digest: str

    @classmethod
    def of(cls, secret: str) -> Self:
        """Return the hash of a secret, with a new salt."""
        salt = secrets.token_hex(_SALT_BYTES)
        return cls(salt, _digest(salt, secret))

    def fits(self, secret: str) -> bool:
        """Return whether it is the hash of a secret. That takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(self.digest, _digest(self.salt, secret))


def require_name(name: str) -> None:
    """Raise ValueError where a token cannot have a name: lists and logs show it."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} has to be of at most 100 letters, digits and . _ - + @")


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()
