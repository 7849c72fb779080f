"""The processes as pygeoapi plugins: by dotted path they work in any pygeoapi.

pygeoapi builds a processor at every description and every execution, and changes the metadata that it gets. So
constructors only store, and each access to `metadata` returns a fresh copy.

pygeoapi's own managers catch every error of a process and output 400. Under Flask, which pygeoapi runs by default, a
plugin sets the right status in the response itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from flask import Response, after_this_request, has_request_context
from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError

from processes.errors import ServiceError
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.ogc.problem import is_error, status_of, type_of
from processes.ogc.request import Description
from processes.registry import PLUGINS
from processes.settings import Settings
from processes.sources.media_types import JSON

WAITS = "waits_for_checks"
"""Key by which a manager says whether a request waits for the check of a new model; without it, it does."""


class Plugin(BaseProcessor):  # type: ignore[misc] # pygeoapi is not typed
    """A process in pygeoapi's form."""

    registered: str
    """Name of the plugin in `processes.registry`."""

    def __init__(self, processor_def: Mapping[str, Any]) -> None:
        self.settings = Settings.from_plugin(processor_def)
        catalog = Catalog.from_settings(self.settings, waits=processor_def.get(WAITS, True))
        self.process = PLUGINS[self.registered](self.settings, catalog, None)
        super().__init__(processor_def, {})
        self.supports_outputs = True

    @cached_property
    def _description(self) -> Description:
        """Return the description. pygeoapi asks for it several times in a request, which has a plugin of its own."""
        return self.process.describe()

    @property
    def metadata(self) -> dict[str, Any]:
        return deepcopy(dict(self._description))

    @metadata.setter
    def metadata(self, value: object) -> None:
        """Ignore the value: pygeoapi's constructor sets it, and nobody reads it."""

    def execute(self, data: dict[str, Any], outputs: dict[str, Any] | None = None) -> tuple[str, Any]:
        """Execute the process for the manager of any pygeoapi.

        Raises:
            ProcessorExecuteError: what is wrong with the request, with its status.
        """
        body = msgspec.json.encode({"inputs": data} | ({"outputs": outputs} if outputs else {}))
        try:
            execution = Execution.read(self.name, body, self.process.frame())
            with work_folder(self.settings) as folder:
                output = self.process.execute(execution, Path(folder))
                content = output.content.read_bytes() if isinstance(output.content, Path) else output.content
                return output.media_type, pygeoapi_content(output.media_type, content)
        except ServiceError as err:
            _set_status_of_response(status_of(err))
            raise pygeoapi_error(err) from err


def pygeoapi_error(error: ServiceError) -> ProcessorExecuteError:
    """Return an error in pygeoapi's form, with the same status, type and words."""
    execute_error = ProcessorExecuteError(error.detail, user_msg=error.detail)
    execute_error.http_status_code = HTTPStatus(status_of(error))
    execute_error.ogc_exception_code = type_of(error)
    return execute_error


def pygeoapi_content(media_type: str, content: bytes) -> Any:
    """Return a result as pygeoapi's views take it: JSON as values, since they would write bytes as a JSON string."""
    return msgspec.json.decode(content) if media_type == JSON else content


def _set_status_of_response(status: int) -> None:
    """Let the error response that a manager of pygeoapi makes have the right status."""

    def set_status(response: Response) -> Response:
        if is_error(response.status_code):
            response.status_code = status
        return response

    if has_request_context():  # not so in an asynchronous job, nor under another web framework
        after_this_request(set_status)


def work_folder(settings: Settings) -> tempfile.TemporaryDirectory[str]:
    """Return a folder for the files of one request, removed at the end of its context."""
    parent = settings.state / "work"
    parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=parent)


class ClassifyObjectsPlugin(Plugin):
    """`classify-objects`."""

    registered = "processes.plugin.ClassifyObjectsPlugin"


class DescribeModelPlugin(Plugin):
    """`describe-model`."""

    registered = "processes.plugin.DescribeModelPlugin"


class EchoPlugin(Plugin):
    """`echo`."""

    registered = "processes.plugin.EchoPlugin"
