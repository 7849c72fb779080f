"""An execution: one request with all that is known of it, the same record from the web to the slot."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from processes.ogc.media_types import Accept
from processes.ogc.request import Description, ExecuteRequest, read_request
from processes.settings import Settings
from processes.sources.stamps import FileStamp


class DryRun(msgspec.Struct, frozen=True):
    """An execution that is only estimated and searched for faults; nothing is classified."""

    error: dict[str, Any] | None = None
    """What is known to be wrong already, as `processes.errors.to_record` writes it; None = nothing."""
    measures_speed: bool = False
    """True = the model's speed is measured on a batch of chips that are all 0."""


class ResponseOptions(msgspec.Struct, frozen=True):
    """In which form the client wants the result."""

    is_document: bool = False
    """True = OGC's results document, False = the output itself."""
    by_reference: bool = False
    """True = a link to the output in place of its content."""
    nothing: bool = False
    """True = the client wants no output."""


class _Stored(msgspec.Struct, frozen=True):
    """What a slot needs of an execution, as it lies among the job's files.

    Version 0.3.0 had no `model_sha256`, and its `file_stamps` knew less of a file; such executions have none.
    """

    body: bytes
    accept: list[tuple[str, float]]
    max_objects: int | None
    file_stamps: list[FileStamp] | None = None
    dry_run: DryRun | None = None
    trial: DryRun | None = None
    """`dry_run` in 0.3.0."""
    is_delayed: bool = False
    model_sha256: str | None = None
    uploads_of: str | None = None


class Execution(msgspec.Struct, frozen=True):
    """One request to execute a process, with all that is known of it."""

    process_id: str
    request: ExecuteRequest
    accept: Accept = ()
    """What the client accepts as the output, where `outputs` names no media type."""
    client: str = ""
    """Whose limits and turns count: the name of who makes the request, or the address that it came from."""
    maker: str | None = None
    """Name of who makes the request; None = nobody has to say who they are."""
    uploads_of: str | None = None
    """Whose uploads its links may name; None = everybody's: an operator makes the request."""
    is_awaited: bool = False
    """True = a client waits for the result."""
    by_reference: bool = False
    """True = the client wants a link to the result."""
    max_objects: int | None = None
    """Limit of the number of objects of a synchronous execution; None = no limit of its own."""
    result_name: str | None = None
    """Of the result's layer; None = as the process names it."""
    file_stamps: tuple[FileStamp, ...] | None = None
    """The linked files as they were when the request was accepted; None = nobody looked."""
    model_sha256: str | None = None
    """Digest of the model when the request was accepted; None = nobody looked."""
    dry_run: DryRun | None = None
    """None = the work is done."""
    is_delayed: bool = False
    """True = the delay that it requires is over when it begins."""

    @classmethod
    def read(cls, process_id: str, body: bytes, description: Description, **known: Any) -> Self:
        """Read a request's body.

        Args:
            process_id: of the process.
            body: the request's JSON text.
            description: of the process; `read_request` checks the request against it.
            **known: other fields.

        Raises:
            RequestError: the body is no execute request.
        """
        return cls(process_id, read_request(body, description), **known)

    @classmethod
    def decode(cls, content: bytes, process_id: str, description: Description, result_name: str | None) -> Self:
        """Return the execution that `encode` wrote.

        Args:
            content: the file's content.
            process_id: of the process.
            description: of the process.
            result_name: that the job store gave the result; None = none.
        """
        stored = msgspec.msgpack.decode(content, type=_Stored)
        return cls.read(
            process_id,
            stored.body,
            description,
            accept=stored.accept,
            max_objects=stored.max_objects,
            result_name=result_name,
            file_stamps=None if stored.file_stamps is None else tuple(stored.file_stamps),
            model_sha256=stored.model_sha256,
            uploads_of=stored.uploads_of,
            dry_run=stored.dry_run or stored.trial,
            is_delayed=stored.is_delayed,
        )

    def link_settings(self, settings: Settings) -> Settings:
        """Return settings that let its links name the uploads that it may use."""
        return msgspec.structs.replace(settings, uploads_of=self.uploads_of)

    def encode(self) -> bytes:
        """Return what a slot needs of the execution, as the content of a file."""
        stamps = None if self.file_stamps is None else list(self.file_stamps)
        stored = _Stored(
            self.request.body,
            list(self.accept),
            self.max_objects,
            stamps,
            dry_run=self.dry_run,
            is_delayed=self.is_delayed,
            uploads_of=self.uploads_of,
            model_sha256=self.model_sha256,
        )
        return msgspec.msgpack.encode(stored)

    @property
    def response(self) -> ResponseOptions:
        """In which form the client wants the result."""
        return ResponseOptions(self.request.response == "document", self.by_reference, self.request.outputs == {})
