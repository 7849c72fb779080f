"""The views of uploads: files that clients send for `image` and `features`, and take back."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast

from flask import Response, request
from pygeoapi.api import API
from werkzeug.http import parse_options_header

from processes.access.audit import AuditEvent
from processes.errors import DiskFullError, InputError, LimitError
from processes.jobs.disk import require_space
from processes.jobs.manager import JobManager
from processes.jobs.upload_quota import UploadQuota
from processes.ogc.problem import NotFoundError, UnsupportedMediaTypeError
from processes.settings import Settings
from processes.sources.uploads import (
    Upload,
    find_upload,
    keep_upload,
    new_upload_id,
    remove_upload,
    require_uploads,
)
from processes.web.views import UPLOADS, View, json_response
from processes.web.visible import ANOTHERS
from processes.web.who import audit_refusal, audit_request, current_client, current_person

_ENDINGS = {
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/jp2": ".jp2",
    "application/geo+json": ".geojson",
    "application/geopackage+sqlite3": ".gpkg",
    "application/vnd.flatgeobuf": ".fgb",
    "application/vnd.apache.parquet": ".parquet",
    "application/zip": ".zip",
    "text/csv": ".csv",
}
"""Endings of the names that files without a name get."""


def uploads_view(api: API, settings: Settings) -> View:
    """Return the view that keeps a file, and that tells of one and removes it."""

    def uploads(upload_id: str | None = None) -> Response:
        limits, database = settings.limits, cast(JobManager, api.manager).intake.database
        quota = UploadQuota(database, limits.max_uploads_mb_per_client, limits.retention_days)
        if upload_id is None:
            upload = _keep(settings, quota)
            audit_request(AuditEvent.UPLOAD, upload=upload.id, bytes=upload.size_bytes)
            response = json_response(_document(upload), HTTPStatus.CREATED)
            response.headers["Location"] = f"{api.base_url}{UPLOADS}/{upload.id}"
            return response
        if request.method == "DELETE":
            _find(settings, upload_id)
            if not remove_upload(settings, upload_id):
                raise _missing(upload_id)
            quota.release(upload_id)
            audit_request(AuditEvent.UPLOAD_REMOVED, upload=upload_id)
            return Response(status=HTTPStatus.NO_CONTENT)
        return json_response(_document(_find(settings, upload_id)))

    return uploads


def _keep(settings: Settings, quota: UploadQuota) -> Upload:
    """Keep the file that is the request's body, where the client has room for it.

    Raises:
        ForbiddenError: the service takes no files.
        UnsupportedMediaTypeError: the body is no file, but holds one.
        InputError: the body is empty.
        LimitError: it is too large.
        DiskFullError: there is no room for it.
    """
    require_uploads(settings)
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if request.mimetype.startswith("multipart/") or request.mimetype == "application/x-www-form-urlencoded":
        raise UnsupportedMediaTypeError(
            f"the body is {request.mimetype}; send the file itself as the body, as `curl --data-binary @FILE "
            "-H 'Content-Type: application/octet-stream'` does"
        )
    if coding != "identity":
        raise UnsupportedMediaTypeError(f"the body is encoded as {coding}; send the file as it is")
    size_bytes, max_mb = request.content_length or 0, settings.limits.max_upload_mb
    if size_bytes > max_mb * 2**20:
        raise LimitError("max_upload_mb", max_mb, f"the file has more than {max_mb * 2**20} bytes")
    if not size_bytes:
        raise InputError("the body is empty; it is the file itself")
    require_space(settings)
    upload_id = new_upload_id()
    quota.reserve(upload_id, current_client(), size_bytes)
    try:
        maker = current_person().name or None
        return keep_upload(settings, _name(), request.environ["wsgi.input"], maker, upload_id)
    except OSError as err:
        quota.release(upload_id)
        raise DiskFullError("there is no room for the file where the service keeps its files; try again later") from err


def _name() -> str:
    """Return the file name that the request states, else one that says what the file is."""
    header = request.headers.get("Content-Disposition", "")
    with contextlib.suppress(UnicodeError):
        header = header.encode("latin-1").decode()  # plain UTF-8, as many clients send it
    name = parse_options_header(header)[1].get("filename")
    return name or f"upload{_ENDINGS.get(request.mimetype, '')}"


def _document(upload: Upload) -> dict[str, Any]:
    expires = datetime.fromtimestamp(upload.expires, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "href": upload.href,
        "name": upload.name,
        "size": upload.size_bytes,
        "sha256": upload.sha256,
        "expires": expires,
    }


def _find(settings: Settings, upload_id: str) -> Upload:
    """Return an upload that this request may see.

    Raises:
        NotFoundError: there is none of that id, or it is another's.
    """
    upload = find_upload(settings, upload_id)
    if upload is None:
        raise _missing(upload_id)
    if not current_person().may_see(upload.maker):
        audit_refusal(ANOTHERS, HTTPStatus.NOT_FOUND)
        raise _missing(upload_id)
    return upload


def _missing(upload_id: str) -> NotFoundError:
    return NotFoundError(f"there is no upload {upload_id!r}: it was removed, or its time is over")
