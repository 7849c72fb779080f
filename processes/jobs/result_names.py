"""Names of results: each is taken once among those of one maker."""

from __future__ import annotations

import sqlalchemy as sa

from processes.errors import NameTakenError
from processes.jobs.tables import job, name_count

_MAX_NAME = 64


def require_free(connection: sa.Connection, name: str, maker: str | None) -> None:
    """Raise NameTakenError where a job of a maker has a result name.

    Args:
        connection: a transaction.
        name: of the result.
        maker: name of who wants it; None = nobody has to say who they are.
    """
    if _is_taken(connection, name, maker):
        raise NameTakenError(f"there is a result {name!r} already; choose another resultName")


def free_name(connection: sa.Connection, stem: str | None, maker: str | None) -> str | None:
    """Return a name that no result of a maker has: the stem, with a number behind it if need be.

    Args:
        connection: a transaction that writes.
        stem: of the name; None = there is none, and then there is no name.
        maker: as `require_free` has it.
    """
    if stem is None or not _is_taken(connection, stem, maker):
        return stem
    row = (name_count.c.maker == (maker or ""), name_count.c.stem == stem)
    last = connection.scalar(sa.select(name_count.c.last).where(*row))
    number = 1 if last is None else last
    while True:
        number += 1
        ending = f"-{number}"
        name = stem[: _MAX_NAME - len(ending)] + ending
        if not _is_taken(connection, name, maker):
            break
    if last is None:
        connection.execute(name_count.insert().values(maker=maker or "", stem=stem, last=number))
    else:
        connection.execute(name_count.update().where(*row).values(last=number))
    return name


def _is_taken(connection: sa.Connection, name: str, maker: str | None) -> bool:
    query = sa.select(job.c.id).where(job.c.maker == (maker or ""), job.c.result_name == name)
    return connection.scalar(query) is not None
