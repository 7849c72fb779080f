"""The processes as pygeoapi plugins: by dotted path they work in any pygeoapi.

pygeoapi builds a processor at every description and every execution, and changes the metadata that it is given; so
constructors only store, and each look at `metadata` is a fresh copy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError

from processes.errors import LimitError, ServiceError
from processes.ogc.execution import Execution
from processes.registry import PLUGINS
from processes.settings import Settings


class Plugin(BaseProcessor):  # type: ignore[misc] # pygeoapi is not typed
    """A process in pygeoapi's form."""

    registered: str
    """Name that it is registered under."""

    def __init__(self, processor_def: Mapping[str, Any]) -> None:
        self.settings = Settings.from_plugin(processor_def)
        self.process = PLUGINS[self.registered](self.settings, None)
        super().__init__(processor_def, {})
        self.supports_outputs = True

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.process.describe())

    @metadata.setter
    def metadata(self, value: object) -> None:
        """pygeoapi's constructor sets what is never read."""

    def execute(self, data: dict[str, Any], outputs: dict[str, Any] | None = None) -> tuple[str, Any]:
        """Do the work for a pygeoapi of any make, with its own manager.

        Raises:
            ProcessorExecuteError: what is wrong with the request, in words.
        """
        body = msgspec.json.encode({"inputs": data} | ({"outputs": outputs} if outputs else {}))
        try:
            execution = Execution.read(self.name, body, self.process.frame())
            with work_folder(self.settings) as folder:
                output = self.process.execute(execution, Path(folder))
                content = output.content.read_bytes() if isinstance(output.content, Path) else output.content
                # of this one type pygeoapi takes no bytes: it would write them as a JSON string
                plain_json = output.media_type == "application/json"
                return output.media_type, msgspec.json.decode(content) if plain_json else content
        except ServiceError as err:
            wrong = ProcessorExecuteError(err.detail, user_msg=err.detail)
            wrong.http_status_code = (
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE if isinstance(err, LimitError) else HTTPStatus.BAD_REQUEST
            )
            raise wrong from err


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
