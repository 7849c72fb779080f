"""A network of a test's own between two programs, which can be cut: what is sent meanwhile is held back, or lost."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class TcpProxy:
    """Passes connections of the loopback address on to a port, until it is cut. It works in a thread of its own.

    Args:
        target: the port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Pass nothing on any more, as if the cable was pulled: nobody is told."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def mend(self, *, lost: bool) -> None:
        """Pass on again.

        Args:
            lost: the connections break, as those of a network do that was cut for long; else what was held back arrives.
        """
        self._loop.call_soon_threadsafe(self._mend, lost)

    def close(self) -> None:
        """Break all connections, and take no more."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._mend, True)
        self._loop.call_soon_threadsafe(self._loop.call_later, 0.2, self._loop.stop)
        self._thread.join()

    def _mend(self, lost: bool) -> None:
        if lost:
            for writer in list(self._writers):
                writer.transport.abort()
        self._passes.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._passes.wait()
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(to_writer)
                try:
                    await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer))
                finally:
                    self._writers.discard(to_writer)
                    to_writer.close()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(2**16):
                await self._passes.wait()
                writer.write(block)
                await writer.drain()
        writer.close()
