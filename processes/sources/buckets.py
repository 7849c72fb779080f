"""Objects in buckets: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Credentials, endpoint and region are the operator's: the store's client takes them from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.bucket_links import ObjectLink, allowed_object
from processes.sources.deadlines import Deadline
from processes.sources.download_budget import DownloadBudget
from processes.sources.folder_budget import FolderBudget
from processes.sources.host_links import display_link
from processes.sources.pacing import HostPace, PassingError, Tries
from processes.sources.remote_files import RemoteFile

_STORES: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CONNECT_S = 10
_RETRIES = 7
_COPY_BYTES = 2**23
_TOO_MUCH = re.compile("status code: (429|503)")
"""In the message of an error of the client, which has no status."""
_SHARE_OF_SECTION = 0.5
"""Of the time of a section, for one part with all its tries."""


class BucketRanges:
    """Reads parts of an object.

    Args:
        file: what is known of it.
        settings: name the allowed buckets, and the limits.
        patience_s: seconds for one part with all its tries; None = a share of the limit of sections.
    """

    def __init__(self, file: RemoteFile, settings: Settings, patience_s: float | None = None) -> None:
        self._file = file
        self._object = allowed_object(file.href, settings)
        self._patience_s = patience_s or settings.limits.section_timeout_s * _SHARE_OF_SECTION
        self._store = _open_store(self._object, settings, patience_s, retries=0)
        self._pace = HostPace(settings.limits.max_requests)

    def read(self, start: int, end: int) -> bytes:
        """Return a part. Tries are counted here, as the client's own are not slower where a store is asked too much."""
        tries = Tries(self._object.href, Deadline.after(self._patience_s), self._pace)
        while True:
            try:
                with self._pace.turn(tries.deadline), _answers(self._object):
                    return self._part(start, end)
            except PassingError as err:
                tries.failed(err)

    def _part(self, start: int, end: int) -> bytes:
        try:
            answer = obstore.get(self._store, self._object.key, options={"range": (start, end)})
            self._file.require_same(*_state(answer.meta))
            content = bytes(answer.bytes())
        except (exceptions.GenericError, TimeoutError) as err:
            is_too_much = _TOO_MUCH.search(str(err)) is not None
            raise PassingError("the object store does not answer as it should", is_too_much=is_too_much) from err
        if len(content) != end - start:
            raise InputError(f"{display_link(self._object.href)}: the object store answers with another part")
        return content

    def close(self) -> None:
        """Do nothing: connections are the client's."""


def download_object(href: str, settings: Settings, path: Path, budget: DownloadBudget) -> None:
    """Download an object to a new file.

    Args:
        href: the link.
        settings: name the allowed buckets.
        path: of the file.
        budget: of the request that the link belongs to.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such object, or the store does not answer.
        LimitError: the budget is spent.
    """
    place = allowed_object(href, settings)
    with budget.spending_time(href) as deadline, _answers(place):
        answer = obstore.get(_open_store(place, settings, deadline.remaining_s()), place.key)
        with path.open("xb") as file:
            for block in answer.stream(min_chunk_size=_COPY_BYTES):
                budget.spend(len(block), href)
                file.write(block)
                deadline.remaining_s()


def first_of_object(href: str, settings: Settings, path: Path, first_bytes: int, budget: DownloadBudget) -> RemoteFile:
    """Download the first bytes of an object to a new file, and return what is known of the object.

    Args:
        href: the link.
        settings: name the allowed buckets.
        path: of the file.
        first_bytes: how many.
        budget: of the request that the link belongs to.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such object, it is empty, or the store does not answer.
        LimitError: the budget is spent.
    """
    place = allowed_object(href, settings)
    with budget.spending_time(href) as deadline, _answers(place):
        store = _open_store(place, settings, deadline.remaining_s())
        answer = obstore.get(store, place.key, options={"range": (0, first_bytes)})
        content = bytes(answer.bytes())
        budget.spend(len(content), href)
        path.write_bytes(content)
        size_bytes, etag, modified = _state(answer.meta)
        return RemoteFile(place.href, size_bytes, etag, modified)


def list_objects(href: str, settings: Settings, endings: tuple[str, ...], budget: FolderBudget) -> list[str]:
    """Return links to the objects directly in a folder, ordered by code point of their names.

    Args:
        href: the link, with a slash at its end.
        settings: name the allowed buckets.
        endings: of the objects that are returned, in lower case, with the dot.
        budget: of the request that the link belongs to.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such object in it, or the store does not answer.
        LimitError: the budget is spent.
    """
    folder = allowed_object(href, settings)
    links = []
    with _answers(folder):
        store = _open_store(folder, settings, settings.limits.max_download_s)
        found = obstore.list_with_delimiter(store, folder.key.removesuffix("/") or None)
        for item in found["objects"]:
            budget.spend_entry(href)
            key = str(item["path"])
            name = key.removeprefix(folder.key)
            if name.lower().endswith(endings) and "/" not in name and item["size"]:  # else the mark of a folder
                budget.spend_file(href)
                links.append(ObjectLink(folder.scheme, folder.bucket, key))
    if not links:
        raise InputError(f"folder {display_link(href)} holds no images ({', '.join(endings)})")
    return [link.href for link in sorted(links, key=lambda link: link.key)]


def _open_store(place: ObjectLink, settings: Settings, patience_s: float | None, retries: int = _RETRIES) -> Any:
    limits = settings.limits
    patience_s = patience_s or limits.section_timeout_s * _SHARE_OF_SECTION
    seconds = min(limits.request_timeout_s, patience_s)
    with _answers(place):
        return _STORES[place.scheme](
            place.bucket,
            client_options={
                "allow_http": True,  # where the operator's endpoint is one
                "connect_timeout": timedelta(seconds=min(_CONNECT_S, patience_s)),
                "timeout": timedelta(seconds=seconds),
            },
            retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=patience_s)},
        )


def _state(meta: Any) -> tuple[int, str | None, str | None]:
    """Return size, ETag and time of the last change of an object."""
    return int(meta["size"]), meta["e_tag"], str(meta["last_modified"])


@contextmanager
def _answers(place: ObjectLink) -> Iterator[None]:
    """Tell failures of a store in the client's terms: what it says itself may hold addresses and names of keys."""
    link = display_link(place.href)
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as err:
        raise InputError(f"there is no {link}") from err
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as err:
        raise InputError(f"{link}: the object store does not let this server read it") from err
    except (exceptions.BaseError, TimeoutError) as err:
        raise InputError(f"{link}: the object store does not answer as it should") from err
