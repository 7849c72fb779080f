"""The WSGI application: pygeoapi's, with our views and our form of errors.

pygeoapi reads its configuration when it is imported, from the files that `PYGEOAPI_CONFIG` and `PYGEOAPI_OPENAPI` name.
"""

from __future__ import annotations

import logging
import uuid

from flask import Flask, Response, request
from pygeoapi.flask_app import APP, api_
from werkzeug.exceptions import HTTPException

from processes.errors import ServiceError
from processes.web.problem import (
    NO_SUCH_JOB,
    NO_SUCH_PROCESS,
    RESULT_NOT_READY,
    HttpError,
    Problem,
    from_http,
    from_view,
    problem,
)
from processes.web.views import describe_view, execute_view

_logger = logging.getLogger(__name__)

_EXECUTE = "pygeoapi.execute_process_jobs"
_DESCRIBE = "pygeoapi.get_processes"
_JOB_VIEWS = ("pygeoapi.get_jobs", "pygeoapi.get_job_result")


def _fault_of_ours(error: Exception) -> Problem:
    """Log an error that nobody foresaw, and tell the client nothing but where to find it in the log."""
    reference = uuid.uuid4()
    _logger.error("request %s: %s %s failed", reference, request.method, request.path, exc_info=error)
    return problem(HttpError(500, f"the server failed at this request; the log has it as {reference}"))


def _in_form(response: Response) -> Response:
    """Give an error of pygeoapi's views the form of the contract."""
    if response.status_code < 400 or isinstance(response, Problem):
        return response
    arguments = request.view_args or {}
    if response.status_code == 404 and request.endpoint == _DESCRIBE:
        return from_view(response, NO_SUCH_PROCESS, f"there is no process {arguments.get('process_id')!r}")
    if response.status_code == 404 and request.endpoint in _JOB_VIEWS:
        if b"ResultNotReady" in response.get_data():
            return from_view(response, RESULT_NOT_READY, f"the result of job {arguments.get('job_id')!r} is not ready")
        return from_view(response, NO_SUCH_JOB, f"there is no job {arguments.get('job_id')!r}")
    return from_view(response, None, None)


def _prepare(app: Flask) -> Flask:
    logging.getLogger("pygeoapi.l10n").setLevel(logging.ERROR)  # it takes every word of a schema for a language
    app.view_functions[_EXECUTE] = execute_view(api_, app.view_functions[_EXECUTE])
    app.view_functions[_DESCRIBE] = describe_view(api_, app.view_functions[_DESCRIBE])
    app.register_error_handler(ServiceError, problem)
    app.register_error_handler(HTTPException, from_http)
    app.register_error_handler(Exception, _fault_of_ours)
    app.after_request(_in_form)
    return app


application = _prepare(APP)
