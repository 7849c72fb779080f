"""How large the body of a request may be. A file that is sent to the service may be larger than other bodies."""

from __future__ import annotations

from typing import Self

import msgspec

from processes.errors import LimitError
from processes.jobs.disk import require_space
from processes.settings import Settings
from processes.sources.uploads import require_uploads
from processes.web.http.request import HttpRequest
from processes.web.views import UPLOADS

_READ_FACTOR = 4
"""A body that is too large is read up to this multiple of the limit: a client that still sends reads no response."""
_LOOK_BYTES = 2**24
"""The space that is left is looked at whenever so much of a sent file has arrived."""


class BodyLimit(msgspec.Struct):
    """The limit of a request's body; a sent file has another one, and is refused before it arrives where it can be."""

    settings: Settings
    is_upload: bool = False
    looked_bytes: int = 0
    """Size of a sent file when the space was last looked at."""

    @classmethod
    def of(cls, request: HttpRequest, settings: Settings) -> Self:
        """Return the limit of a request's body.

        Raises:
            ForbiddenError, LimitError, DiskFullError: it is a file that the service does not take.
        """
        limit = cls(settings, request.method == "POST" and request.path == UPLOADS)
        if limit.is_upload:
            announced_bytes = request.content_length or 0
            require_uploads(settings)
            if announced_bytes > limit.max_bytes:
                raise limit.error()
            require_space(settings, announced_bytes)
        return limit

    @property
    def max_bytes(self) -> int:
        """Return the limit."""
        limits = self.settings.limits
        return (limits.max_upload_mb if self.is_upload else limits.max_body_mb) * 2**20

    def require_room(self, size_bytes: int) -> None:
        """Raise an error where a body need not be read any further.

        Args:
            size_bytes: what has arrived of it.
        """
        if size_bytes > self.max_bytes * (1 if self.is_upload else _READ_FACTOR):
            raise self.error()
        if self.is_upload and size_bytes - self.looked_bytes > _LOOK_BYTES:
            self.looked_bytes = size_bytes
            require_space(self.settings)

    def error(self) -> LimitError:
        """Return the error of a body that is too large."""
        name = "max_upload_mb" if self.is_upload else "max_body_mb"
        what = "the file" if self.is_upload else "the request's body"
        return LimitError(name, self.max_bytes // 2**20, f"{what} has more than {self.max_bytes} bytes")
