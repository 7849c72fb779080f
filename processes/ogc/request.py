"""An OGC process description is data, and the same data validates a request.

Descriptions keep to the keywords that the schemas of OGC API - Processes Part 1 v1.0 allow (those of OpenAPI 3.0, with
boolean `exclusiveMinimum`).
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from processes.errors import Fault, InputError, RequestError, collect_faults, pointer_token
from processes.ogc.schema import quoted
from processes.ogc.values import check_value
from processes.sources.media_types import plain_media_type
from processes.sources.seal import may_hold_credentials, values_may_hold_credentials

Description = Mapping[str, Any]
"""A process description as OGC's schema `process.yaml` has it."""

Response = Literal["raw", "document"]

_SUBSCRIBER = {
    "type": "object",
    "required": ["successUri"],
    "properties": {name: {"type": "string"} for name in ("successUri", "inProgressUri", "failedUri")},
}
_UTF8_BYTES = 2**20
_MAX_BYTES = 2**20
"""Of the JSON text of what is small in any request that makes sense. As Python has it, it is many times as large."""
_MAX_OCCURRENCES = 2**20


class InputValue(msgspec.Struct, frozen=True):
    """One value of an input, not yet read."""

    pointer: str
    """Where it stands in the request."""
    text: msgspec.Raw
    """Its JSON text."""

    def read(self) -> Any:
        """Return the value as Python has it.

        Raises:
            RequestError: it holds a number that is too large.
        """
        try:
            return msgspec.json.decode(self.text)
        except (msgspec.DecodeError, RecursionError) as err:
            raise RequestError.at(self.pointer, InputError(f"the value cannot be read: {err}")) from err


class OutputRequest(msgspec.Struct, frozen=True):
    """What a request says of one output."""

    pointer: str
    media_type: str | None
    """None = the process, or the `Accept` header, decides."""
    by_reference: bool | None
    """True = the answer links to the output, False = it holds it, None = the request does not say."""


class Subscriber(msgspec.Struct, frozen=True):
    """Where a client wants to be told how its job goes; None = it does not."""

    success_uri: str
    in_progress_uri: str | None
    failed_uri: str | None


class ExecuteRequest(msgspec.Struct, frozen=True):
    """An execute request, read: its frame is checked, the values of its inputs are not."""

    body: bytes
    """Its JSON text."""
    inputs: Mapping[str, Sequence[InputValue]]
    """The values of each input of the request, in their order: one, or several where the description allows them."""
    outputs: Mapping[str, OutputRequest] | None
    """None = all outputs, as the process likes; empty = the client wants none."""
    response: Response
    subscriber: Subscriber | None
    faults: tuple[Fault, ...] = ()
    """What is wrong with the frame: names, occurrences, outputs. The process adds its own, and all are reported."""

    @property
    def by_reference(self) -> bool:
        """Whether the client wants an output as a link."""
        return any(output.by_reference for output in (self.outputs or {}).values())

    @property
    def says_how(self) -> bool:
        """Whether the client says for an output if it wants a link."""
        return any(output.by_reference is not None for output in (self.outputs or {}).values())

    def may_hold_credentials(self) -> bool:
        """Return whether a link of the request has a user or a query."""
        urls = () if self.subscriber is None else msgspec.structs.astuple(self.subscriber)
        values = (bytes(value.text) for given in self.inputs.values() for value in given)
        return any(map(may_hold_credentials, filter(None, urls))) or values_may_hold_credentials(values)


class _Body(msgspec.Struct):
    inputs: msgspec.Raw = msgspec.Raw(b"{}")
    outputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    subscriber: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def read_request(body: bytes, description: Description) -> ExecuteRequest:
    """Read an execute request and check its frame: names, occurrences, outputs.

    The values of inputs are not read; `read_literals` and the process do that.

    Args:
        body: the request's JSON text; a byte order mark before it is skipped, as RFC 8259 allows.
        description: of the process.

    Raises:
        RequestError: the body is not a JSON object, or a member of it has a wrong type.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        _require_utf8(body)  # msgspec.Raw does not look into texts
        parsed = msgspec.json.decode(body, type=_Body)
        faults: list[Fault] = []
        inputs = dict(_inputs(parsed.inputs, description, faults))
        outputs = _outputs(parsed.outputs, description, faults)
        response, subscriber = _response(parsed.response, faults), _subscriber(parsed.subscriber, faults)
        return ExecuteRequest(body, inputs, outputs, response, subscriber, tuple(faults))
    except msgspec.ValidationError as err:
        raise RequestError.at("", InputError(f"the request is not an execute request: {err}")) from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise RequestError.at(
            "", InputError(f"the body is not JSON: {err}" if body else "the request has no body")
        ) from err


def _require_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError if a text is not UTF-8. As a string it could be four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _UTF8_BYTES):
            decoder.decode(body[start : start + _UTF8_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        body.decode()  # tells where it is


def _inputs(text: msgspec.Raw, description: Description, faults: list[Fault]) -> Iterable[tuple[str, list[InputValue]]]:
    described = description["inputs"]
    try:
        members = _members(text, tuple(described))
    except InputError as err:
        faults.append(Fault("/inputs", err))
        return
    for name, text in members.items():
        pointer = f"/inputs/{pointer_token(name)}"
        if name not in described:
            faults.append(
                Fault(pointer, InputError(f"there is no input {quoted(name)}; the inputs are {', '.join(described)}"))
            )
            continue
        values: list[InputValue] = []
        with collect_faults(faults, pointer):
            values = _occurrences(text, pointer, described[name])
        most = described[name].get("maxOccurs", 1)
        if most != "unbounded" and len(values) > most:
            faults.append(Fault(pointer, InputError(f"{name} has {len(values)} values, at most {most} may be given")))
        elif len(values) < described[name].get("minOccurs", 1):
            faults.append(Fault(pointer, InputError(f"{name} has no value")))
        elif values:
            yield name, values
    for name, item in described.items():
        if item.get("minOccurs", 1) and name not in members:
            faults.append(Fault("/inputs", InputError(f"the input {name} is missing")))


def _members(text: msgspec.Raw, names: tuple[str, ...]) -> dict[str, msgspec.Raw]:
    """Return the members of `inputs`. In a long text there are no others than those of the description."""
    try:
        if len(text) <= _MAX_BYTES:
            return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        members = _decoder(names).decode(text)
    except msgspec.ValidationError as err:
        if bytes(memoryview(text)[:1]) != b"{":
            raise InputError("inputs is not an object") from err
        raise InputError(f"there are inputs of other names than {', '.join(names)}: {err}") from err
    found = zip(names, msgspec.structs.astuple(members), strict=True)
    return {name: value for name, value in found if value is not msgspec.UNSET}


@functools.cache
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return the decoder of an object that has members of these names, and no others."""
    fields = [(f"_{index}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for index in range(len(names))]
    rename = {field[0]: name for field, name in zip(fields, names, strict=True)}
    return msgspec.json.Decoder(msgspec.defstruct("Inputs", fields, rename=rename, forbid_unknown_fields=True))


def _occurrences(text: msgspec.Raw, pointer: str, item: Mapping[str, Any]) -> list[InputValue]:
    """Return the values of an input: those of an array where several are allowed, else the one."""
    if item.get("maxOccurs", 1) == 1 or bytes(memoryview(text)[:1]) != b"[":
        return [InputValue(pointer, text)]
    if bytes(text).count(b",") >= _MAX_OCCURRENCES:
        raise InputError(f"an input has {_MAX_OCCURRENCES} values at most")
    parts = msgspec.json.decode(text, type=list[msgspec.Raw])
    return [InputValue(f"{pointer}/{index}", part) for index, part in enumerate(parts)]


def _small(text: msgspec.Raw, name: str) -> Any:
    """Return a member of the request as Python has it."""
    if len(text) > _MAX_BYTES:
        raise RequestError.at(f"/{name}", InputError(f"{name} is longer than {_MAX_BYTES} bytes"))
    return msgspec.json.decode(text)


def _outputs(
    text: msgspec.Raw | msgspec.UnsetType, description: Description, faults: list[Fault]
) -> dict[str, OutputRequest] | None:
    if text is msgspec.UNSET:
        return None
    members = _small(text, "outputs")
    if not isinstance(members, dict):
        faults.append(Fault("/outputs", InputError("outputs is not an object")))
        return None
    described = description["outputs"]
    requests = {}
    for name, member in members.items():
        pointer = f"/outputs/{pointer_token(name)}"
        if name not in described:
            faults.append(
                Fault(pointer, InputError(f"there is no output {quoted(name)}; the outputs are {', '.join(described)}"))
            )
            continue
        if not isinstance(member, dict):
            faults.append(Fault(pointer, InputError("an output is asked for by an object")))
            continue
        by_reference = None
        if "transmissionMode" in member:
            with collect_faults(faults, f"{pointer}/transmissionMode"):
                by_reference = _is_reference(member["transmissionMode"], description["outputTransmission"])
        requests[name] = OutputRequest(pointer, _format(member, pointer, described[name], faults), by_reference)
    return requests


def _is_reference(transmission: Any, transmissions: Sequence[str]) -> bool:
    if transmission not in ("value", "reference"):
        raise InputError(f"transmissionMode {quoted(transmission)} is neither value nor reference")
    if transmission not in transmissions:
        raise InputError("results are given by value only")
    return bool(transmission == "reference")


def _format(member: Mapping[str, Any], pointer: str, item: Mapping[str, Any], faults: list[Fault]) -> str | None:
    """Return the media type that a request names for an output; None = none, or a faulty one."""
    form = member.get("format", {})
    if not isinstance(form, dict):
        faults.append(Fault(f"{pointer}/format", InputError("format is not an object")))
        return None
    if "mediaType" not in form:
        return None
    media_type, offered = _plain(form["mediaType"]), media_types(item["schema"])
    if media_type not in offered:
        wrong = InputError(f"there is no format {quoted(media_type)}; the formats are {', '.join(offered)}")
        faults.append(Fault(f"{pointer}/format/mediaType", wrong))
        return None
    return cast(str, media_type)


def _plain(media_type: Any) -> Any:
    """Return a media type in lower case and without parameters, which tell nothing apart here."""
    return plain_media_type(media_type) if isinstance(media_type, str) else media_type


def _response(text: msgspec.Raw | msgspec.UnsetType, faults: list[Fault]) -> Response:
    response = "raw" if text is msgspec.UNSET else _small(text, "response")
    if response not in ("raw", "document"):
        faults.append(Fault("/response", InputError(f"response {quoted(response)} is neither raw nor document")))
        return "raw"
    return cast(Response, response)


def _subscriber(text: msgspec.Raw | msgspec.UnsetType, faults: list[Fault]) -> Subscriber | None:
    if text is msgspec.UNSET:
        return None
    member = _small(text, "subscriber")
    errors = check_value(member, _SUBSCRIBER, "subscriber", "/subscriber")
    faults.extend(errors)
    if errors:
        return None
    return Subscriber(member["successUri"], member.get("inProgressUri"), member.get("failedUri"))


def media_types(schema: Mapping[str, Any]) -> list[str]:
    """Return the media types that an output's schema offers, the default first, without parameters."""
    branches = schema.get("oneOf", [schema])
    return [plain_media_type(branch.get("contentMediaType", "application/json")) for branch in branches]
