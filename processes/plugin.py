"""The processes as pygeoapi plugins: by dotted path they work in any pygeoapi.

pygeoapi builds a processor at every description and every execution, and changes the metadata that it is given; so
constructors only store, and each look at `metadata` is a fresh copy.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError

from processes.classify_objects import ClassifyObjects
from processes.describe_model import DescribeModel
from processes.description import Process, read_request
from processes.echo import Echo
from processes.errors import LimitError, ServiceError
from processes.model.catalog import Catalog
from processes.settings import Settings


class Plugin(BaseProcessor):  # type: ignore[misc] # pygeoapi is not typed
    """A process in pygeoapi's form."""

    def __init__(self, processor_def: Mapping[str, Any]) -> None:
        self.settings = Settings.from_plugin(processor_def)
        self.process = self._process(self.settings)
        super().__init__(processor_def, {})
        self.supports_outputs = True

    @staticmethod
    @abstractmethod
    def _process(settings: Settings) -> Process:
        """Return the process."""

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
            request, faults = read_request(body, self.process.describe())
            with work_folder(self.settings) as folder:
                answer = self.process.execute(request, faults, Path(folder), lambda offers: offers[0], None)
                content = answer.content.read_bytes() if isinstance(answer.content, Path) else answer.content
                # of this one type pygeoapi takes no bytes: it would write them as a JSON string
                plain_json = answer.media_type == "application/json"
                return answer.media_type, msgspec.json.decode(content) if plain_json else content
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

    @staticmethod
    def _process(settings: Settings) -> Process:
        return ClassifyObjects(settings, _catalog(settings))


class DescribeModelPlugin(Plugin):
    """`describe-model`."""

    @staticmethod
    def _process(settings: Settings) -> Process:
        return DescribeModel(_catalog(settings))


class EchoPlugin(Plugin):
    """`echo`."""

    @staticmethod
    def _process(settings: Settings) -> Process:
        return Echo()


def _catalog(settings: Settings) -> Catalog:
    return Catalog(settings.models, settings.state, settings.limits.max_model_mb * 2**20)
