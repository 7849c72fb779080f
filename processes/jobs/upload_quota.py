"""How much of what clients have sent is kept of one client. It is counted where a limit says so."""

from __future__ import annotations

import sqlalchemy as sa

from processes.errors import LimitError
from processes.jobs.database import Database, serialise
from processes.jobs.tables import upload

_MIB = 2**20
_DAY_S = 86_400


class UploadQuota:
    """The space that the files of a client may take together.

    Args:
        database: where they are counted.
        max_mb: the space, in MiB; 0 = as much as they need, and nothing is counted.
        retention_days: days that a file is kept.
    """

    def __init__(self, database: Database, max_mb: int, retention_days: int) -> None:
        self._database = database
        self._max_mb = max_mb
        self._kept_s = retention_days * _DAY_S

    def reserve(self, upload_id: str, client: str, size_bytes: int) -> None:
        """Count a file before it is kept: no two that are sent at once get the same space.

        Args:
            upload_id: of the file.
            client: whose it is.
            size_bytes: its size.

        Raises:
            LimitError: the client's files would take too much.
        """
        if not self._max_mb:
            return
        with self._database.write() as connection:
            serialise(connection)
            now = self._database.now(connection)
            own = (upload.c.client == client, upload.c.expires > now)
            used = int(connection.scalar(sa.select(sa.func.sum(upload.c.size_bytes)).where(*own)) or 0)
            if used + size_bytes > self._max_mb * _MIB:
                raise LimitError(
                    "max_uploads_mb_per_client",
                    self._max_mb,
                    f"with the {used} bytes of this client's files that are kept a file of {size_bytes} bytes is",
                )
            values = {"id": upload_id, "client": client, "size_bytes": size_bytes, "expires": now + self._kept_s}
            connection.execute(upload.insert().values(values))

    def release(self, upload_id: str) -> None:
        """Count a file no more."""
        if self._max_mb:
            with self._database.write() as connection:
                connection.execute(upload.delete().where(upload.c.id == upload_id))
