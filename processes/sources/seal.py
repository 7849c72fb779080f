"""Links with credentials, as they lie on disks and in the job store while a job needs them: encrypted.

The user, the password and the query of a link may let whoever has it read what it names: signatures, tokens. What holds
such links is encrypted before it is stored. The key is in a file of the operator's (`CLASSIFY_LINK_KEY`); in a cluster
without one it is made of the key that all machines share, and on one machine it lies in the state folder.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from processes.errors import FailureError
from processes.settings import Settings
from processes.sources.host_links import display_link

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "link-key"
"""In the state folder."""
_PURPOSE = b"classify-objects links"
_SEALED = b"sealed-1:"
_FRAGMENT = "#sealed-1:"
_MAY_HOLD = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\"\\]*?[?@]")
"""A link with a user or a query, in text or in MessagePack."""
_MAX_LINK_BYTES = 2**16
"""A longer value of an input is inline data."""


class Seal:
    """Encrypts what is stored of links with credentials, and decrypts it.

    Args:
        make_key: returns the key of Fernet, each time that it is needed; None = nothing that holds credentials can be
            stored.
    """

    def __init__(self, make_key: Callable[[], bytes] | None) -> None:
        self._make_key = make_key

    def close(self, content: bytes) -> bytes:
        """Return content encrypted."""
        return _SEALED + self._fernet().encrypt(content)

    def close_if_needed(self, content: bytes) -> bytes:
        """Return content, encrypted where it may hold credentials; it is plain text or MessagePack."""
        return self.close(content) if _MAY_HOLD.search(content) else content

    def open(self, content: bytes) -> bytes:
        """Return what was encrypted, or what was stored without that.

        Raises:
            FailureError: it was encrypted with another key.
        """
        return self._opened(content.removeprefix(_SEALED)) if content.startswith(_SEALED) else content

    def close_link(self, href: str) -> str:
        """Return a link that tells host and path, with all of it encrypted in its fragment where it may hold more."""
        if not may_hold_credentials(href):
            return href
        return f"{display_link(href)}{_FRAGMENT}{self._fernet().encrypt(href.encode()).decode()}"

    def open_link(self, href: str) -> str:
        """Return the link that `close_link` has had; errors as `open` has them."""
        _, mark, token = href.partition(_FRAGMENT)
        return self._opened(token.encode()).decode() if mark else href

    def _opened(self, token: bytes) -> bytes:
        from cryptography.fernet import InvalidToken  # slow to import, and a run of files seals nothing

        try:
            return self._fernet().decrypt(token)
        except InvalidToken as err:
            raise FailureError(
                "the server failed: links of this job were encrypted with another key; all machines of a service "
                "need the same file CLASSIFY_LINK_KEY"
            ) from err

    def _fernet(self) -> Fernet:
        if self._make_key is None:
            raise ValueError("there is no key for links with credentials")
        from cryptography.fernet import Fernet

        return Fernet(self._make_key())


def seal_of(settings: Settings) -> Seal:
    """Return the seal of a deployment; where it has no key yet, one is made.

    Raises:
        OSError: the file of the key cannot be read, or not be made.
    """
    if settings.link_key is not None:
        return _seal_at(settings.link_key, False)
    return _seal_at(settings.state / KEY_FILE, True) if settings.tls is None else _seal_at(settings.tls.key, False)


def may_hold_credentials(text: str) -> bool:
    """Return whether a text is a link with a user or a query."""
    return bool(_MAY_HOLD.match(text.strip().encode("utf-8", "surrogatepass")))


def values_may_hold_credentials(values: Iterable[bytes]) -> bool:
    """Return whether one of some JSON texts has a link with a user or a query, however it is written."""
    return any(_has_link(value) for value in values if len(value) <= _MAX_LINK_BYTES)


def _has_link(text: bytes) -> bool:
    try:
        return _any_link(msgspec.json.decode(text))
    except (msgspec.DecodeError, ValueError):  # such as a number of too many digits, which the request is refused for
        return True


def _any_link(value: Any) -> bool:
    match value:
        case str():
            return may_hold_credentials(value)
        case dict():
            return any(map(_any_link, value.values()))
        case list():
            return any(map(_any_link, value))
        case _:
            return False


@lru_cache
def _seal_at(path: Path, is_own: bool) -> Seal:
    try:
        if is_own:
            _make_key(path)
    except OSError as err:
        if err.errno not in (errno.EACCES, errno.EROFS):
            raise
        secret = os.urandom(48)  # a run of the command line beside a state folder that is not its own: it keeps nothing
    else:
        secret = path.read_bytes()
    return Seal(cache(partial(_derived_key, secret)))


def _derived_key(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return base64.urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(secret))


def _make_key(path: Path) -> None:
    """Make a key that nobody else can read, unless there is one; of several that do so at once the first one wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{KEY_FILE}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(48)))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
    finally:
        os.unlink(scratch)
