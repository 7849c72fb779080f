"""Results of jobs."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from ogc_processes.errors import MissingExtra, NoAnswer, UnexpectedAnswer
from ogc_processes.transport import Transport

if TYPE_CHECKING:
    import geopandas

_CHUNK_BYTES = 1 << 20
_ACCEPTED = "application/json, */*;q=0.9"
"""A result as it is; some servers answer with a page where any form will do."""

_QUALIFIED = {"value", "mediaType", "encoding", "schema"}
"""Members of a value of a results document that says what it is; an object is always within one."""


@dataclass(frozen=True)
class Result:
    """A result: a value in memory, or a file at the server that is downloaded when it is asked for."""

    media_type: str
    """As the server says it; empty if it is not known before the download."""
    content: bytes | None = field(repr=False)
    """The whole of it; None = it is at the address."""
    address: str | None
    """Where it is; None = in memory only."""
    transport: Transport = field(repr=False)

    def read(self) -> bytes:
        """Return the whole of it."""
        if self.content is not None:
            return self.content
        with self._open() as answer:
            return b"".join(chunks(answer))

    def text(self) -> str:
        """Return it as a text, in UTF-8."""
        return self.read().decode()

    def json(self) -> Any:
        """Return it as JSON: a dict, a list, a text, a number."""
        try:
            return json.loads(self.read())
        except ValueError as err:
            raise UnexpectedAnswer(f"the result is {self.media_type or 'something else'}, not JSON") from err

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, which is there only when it is whole, and return the path.

        It is downloaded in parts, so that it may be larger than the memory.

        Args:
            path: of the file; one that is there is replaced.
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as file:
                for chunk in self._chunks():
                    file.write(chunk)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def geodataframe(self, **options: Any) -> geopandas.GeoDataFrame:
        """Return it as a GeoDataFrame; this needs the extra `geo`.

        GeoJSON, GeoPackage and FlatGeobuf are read by `geopandas.read_file`, GeoParquet by `geopandas.read_parquet`.

        Args:
            options: further arguments of these.
        """
        try:
            import geopandas
        except ImportError as err:
            raise MissingExtra("geodataframe() needs geopandas: pip install 'ogc-processes[geo]'") from err
        with tempfile.TemporaryDirectory() as folder:
            file = self.save(Path(folder) / "result")
            with file.open("rb") as opened:
                start = opened.read(6)
            if start.startswith(b"PAR1"):
                return geopandas.read_parquet(file, **options)
            # GDAL warns of a GeoPackage that is called otherwise
            named = file.rename(file.with_suffix(".gpkg")) if start == b"SQLite" else file
            return geopandas.read_file(named, **options)

    def outputs(self) -> dict[str, Result]:
        """Return the outputs of a results document by name: values in it, and what it links to."""
        document = self.json()
        if not isinstance(document, dict):
            raise UnexpectedAnswer("the result is no results document: it has no outputs with names")
        return {name: self._output(value) for name, value in document.items()}

    def _output(self, value: Any) -> Result:
        if isinstance(value, Mapping) and isinstance(value.get("href"), str):
            address = self.transport.address(value["href"])
            return Result(str(value.get("type", "")), None, address, self.transport)
        media_type = "application/json"
        if isinstance(value, Mapping) and "value" in value and value.keys() <= _QUALIFIED:
            media_type = str(value.get("mediaType", media_type))
            if value.get("encoding") == "base64":
                return Result(media_type, base64.b64decode(value["value"]), None, self.transport)
            value = value["value"]
            if isinstance(value, str) and "json" not in media_type.removesuffix("-seq"):
                return Result(media_type, value.encode(), None, self.transport)
        return Result(media_type, json.dumps(value).encode(), None, self.transport)

    @contextmanager
    def _open(self) -> Iterator[httpx.Response]:
        assert self.address is not None  # noqa: S101 - one of both is there
        with self.transport.stream(self.address, headers={"Accept": _ACCEPTED}) as answer:
            yield answer

    def _chunks(self) -> Iterator[bytes]:
        if self.content is not None:
            yield self.content
        else:
            with self._open() as answer:
                yield from chunks(answer)


def chunks(answer: httpx.Response) -> Iterator[bytes]:
    """Yield the body of an answer in parts."""
    try:
        yield from answer.iter_bytes(_CHUNK_BYTES)
    except httpx.TransportError as err:
        raise NoAnswer(f"{answer.url}: the download broke off: {err or type(err).__name__}") from err
