"""The views that replace pygeoapi's: execution, and descriptions where pygeoapi adds what is not true."""

from __future__ import annotations

import base64
import codecs
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from flask import Response, request
from pygeoapi.api import API
from pygeoapi.process.base import ProcessorExecuteError
from pygeoapi.util import RequestedProcessExecutionMode
from werkzeug.datastructures import Headers

from processes.description import Answer, read_request
from processes.description import Request as Execution
from processes.errors import Fault, ServiceError
from processes.plugin import Plugin, work_folder
from processes.web.body import read_body
from processes.web.prefer import Preferences
from processes.web.problem import NO_SUCH_PROCESS, HttpError

_logger = logging.getLogger(__name__)

View = Callable[..., Any]
"""A Flask view."""

_GEOJSON = "application/geo+json"
_JSON = "application/json"
_TEXTS = ("text/csv", "application/geo+json-seq")
_BLOCK_BYTES = 3 * 2**18  # a multiple of 3, so that blocks of base64 can be put together


def execute_view(api: API, original: View) -> View:
    """Return the execution view: our processes run by the contract, others by pygeoapi's `original`."""

    def execute(process_id: str) -> Response:
        if process_id not in api.manager.processes:
            raise HttpError(
                404,
                f"there is no process {process_id!r}; the processes are {', '.join(api.manager.processes)}",
                NO_SUCH_PROCESS,
            )
        plugin = api.manager.get_processor(process_id)
        return _execute(api, process_id, plugin) if isinstance(plugin, Plugin) else cast(Response, original(process_id))

    return execute


def describe_view(api: API, original: View) -> View:
    """Return the description view: pygeoapi's, without the asynchronous execution that it adds to every process."""

    def describe(process_id: str | None = None) -> Response:
        response = cast(Response, original(process_id))
        response.headers = Headers(response.headers)  # pygeoapi sets a plain dict, in which case matters
        if response.status_code != 200 or response.mimetype != _JSON:
            return response
        document = msgspec.json.decode(response.get_data())
        for item in document.get("processes", [document]):
            plugin = api.manager.get_processor(item["id"])
            if isinstance(plugin, Plugin):
                item["jobControlOptions"] = plugin.metadata["jobControlOptions"]
        response.set_data(msgspec.json.encode(document))
        return response

    return describe


def _execute(api: API, process_id: str, plugin: Plugin) -> Response:
    if request.mimetype not in ("", _JSON):
        raise HttpError(415, f"the request is {request.mimetype}; {_JSON} is understood")
    body = read_body(request, plugin.settings.limits.max_body_mb)
    description = plugin.process.describe()
    execution, faults = read_request(body, description)
    preferences = Preferences.parse(request.headers.getlist("Prefer"))
    if preferences.respond_async and "async-execute" in description["jobControlOptions"]:
        plugin.process.check(execution, faults)
        return _start_job(api, process_id, body)
    if execution.outputs == {} and not faults:  # nothing is wanted
        plugin.process.check(execution, faults)
        return Response(b"{}", content_type=_JSON)
    return _answer(plugin, execution, faults)


def _answer(plugin: Plugin, execution: Execution, faults: list[Fault]) -> Response:
    """Execute a process now and return its output; its files go when the response has been sent."""
    is_document = execution.response == "document"
    if is_document:
        _chosen([_JSON])
    folder = work_folder(plugin.settings)
    try:
        answer = plugin.process.execute(
            execution,
            faults,
            Path(folder.name),
            choose=(lambda offers: offers[0]) if is_document else _chosen,
            max_objects=plugin.settings.limits.sync_max_objects,
        )
    except BaseException:
        folder.cleanup()
        raise
    content = _document(answer) if is_document else _raw(answer)
    response = Response(content, content_type=_JSON if is_document else answer.media_type)
    response.call_on_close(folder.cleanup)
    return response


def _chosen(offers: Sequence[str]) -> str:
    """Return the offer that the request's `Accept` likes best; plain JSON accepts GeoJSON too."""
    accepted = request.accept_mimetypes
    if not accepted:
        return offers[0]

    wanted = [(item.split(";")[0].strip().lower(), quality) for item, quality in accepted]

    def quality_of(media_type: str) -> float:
        """Return the quality of the most specific range that holds a media type; parameters are not looked at."""
        for form in (media_type, f"{media_type.split('/')[0]}/*", "*/*"):
            found = [quality for item, quality in wanted if item == form]
            if found:
                return max(found)
        return 0

    def quality(offer: str) -> float:
        return max(quality_of(offer), quality_of(_JSON) if offer == _GEOJSON else 0)

    best = max(offers, key=quality)
    if quality(best) <= 0:
        raise HttpError(406, f"the result can be {', '.join(offers)}; Accept names {request.headers.get('Accept')}")
    return best


def _raw(answer: Answer) -> bytes | Iterator[bytes]:
    return answer.content if isinstance(answer.content, bytes) else _blocks(answer.content)


def _document(answer: Answer) -> Iterator[bytes]:
    """Yield an answer as OGC's results document, keyed by output id, without holding a file whole."""
    name, media_type = msgspec.json.encode(answer.output), msgspec.json.encode(answer.media_type)
    blocks = iter([answer.content]) if isinstance(answer.content, bytes) else _blocks(answer.content)
    if answer.media_type == "text/plain":
        yield b"{%s: %s}" % (name, msgspec.json.encode(b"".join(blocks).decode()))
    elif isinstance(answer.content, bytes) and not answer.content.startswith(b"{"):
        yield b"{%s: %s}" % (name, answer.content)  # a JSON value that is no object stands for itself
    elif answer.media_type in _TEXTS:
        yield b'{%s: {"value": "' % name
        yield from _json_texts(blocks)
        yield b'", "mediaType": %s}}' % media_type
    elif answer.media_type.endswith("json"):
        yield b'{%s: {"value": ' % name
        yield from blocks
        yield b', "mediaType": %s}}' % media_type
    else:
        yield b'{%s: {"value": "' % name
        yield from (base64.b64encode(block) for block in blocks)
        yield b'", "encoding": "base64", "mediaType": %s}}' % media_type


def _json_texts(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks of UTF-8, which may end within a character, as parts of one JSON string."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in blocks:
        yield msgspec.json.encode(decoder.decode(block))[1:-1]
    decoder.decode(b"", final=True)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _start_job(api: API, process_id: str, body: bytes) -> Response:
    """Hand a request to pygeoapi's job manager."""
    parsed: dict[str, Any] = msgspec.json.decode(body)
    try:
        job_id, _, _, status, headers = api.manager.execute_process(
            process_id,
            parsed["inputs"],
            execution_mode=RequestedProcessExecutionMode.respond_async,
            requested_outputs=parsed.get("outputs"),
            requested_response=parsed.get("response", "raw"),
        )
    except ProcessorExecuteError as err:
        _logger.exception("a job could not be started")
        raise ServiceError("the job could not be started") from err
    location = f"{api.base_url}/jobs/{job_id}"
    links = [{"href": location, "rel": rel, "type": _JSON} for rel in ("self", "monitor")]
    info = {"processID": process_id, "type": "process", "jobID": job_id, "status": status.value, "links": links}
    return Response(
        msgspec.json.encode(info),
        201,
        {"Location": location, "Preference-Applied": "respond-async", **(headers or {})},
        content_type=_JSON,
    )
