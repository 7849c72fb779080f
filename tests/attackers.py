"""Slow and greedy clients, hosts and subscribers, in one process: the part of `siege.py` that does the harm.

    python tests/attackers.py ORDERS

It prints `ready` when each attack has begun, and goes on until its input ends. Then it prints as JSON what came of each
attack. Who is dropped comes again: a siege does not end because the server closes a socket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import os
import resource
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import msgspec
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from attack import ASK_S, Attack, Orders, head, is_open, status_line

PAUSE_S = 0.5
"""Before somebody who was dropped or refused comes again."""
DRIPS_S = (1, 4)
"""Between two bytes of who drips."""
SUBMIT_S = 4
"""Between two jobs of who does not wait for their end."""
BODY_BYTES = 60 * 10**6
BODY_BYTES_PER_S = 3 * 10**6
SPARSE_SIDE_PX, SPARSE_BLOCK_PX = 199_000, 4992
EXECUTION = "/processes/classify-objects/execution"


async def read_nothing(attack: Attack, number: int, client: socket.socket) -> None:
    """Ask for a large result, and read nothing of it, or a few bytes a second."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, head("GET", attack.orders.result, 0))
    while is_open(client):
        await asyncio.sleep(1)
        if number % 2:
            await loop.sock_recv(client, 16)


async def drip(attack: Attack, number: int, client: socket.socket) -> None:
    """Send a byte every few seconds, within the head or within a body."""
    loop = asyncio.get_running_loop()
    start = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " if number % 2 else head("POST", EXECUTION, 10**6)
    await loop.sock_sendall(client, start)
    while is_open(client):
        await asyncio.sleep(DRIPS_S[number // 2 % 2])
        await loop.sock_sendall(client, b"a")
    attack.events[await status_line(client)] += 1


async def say_nothing(attack: Attack, _: int, client: socket.socket) -> None:
    """Hold a connection."""
    while is_open(client):
        await asyncio.sleep(1)
    attack.events[await status_line(client)] += 1


async def send_much(attack: Attack, number: int, client: socket.socket) -> None:
    """Send a large body in some twenty seconds, and wait for the answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, head("POST", EXECUTION, BODY_BYTES))
    start_s, sent = loop.time(), 0
    for block in large_body(attack.orders, is_text=number % 2 == 0):
        await loop.sock_sendall(client, block)
        sent += len(block)
        await asyncio.sleep(max(0, start_s + sent / BODY_BYTES_PER_S - loop.time()))
    attack.events["bodies sent"] += 1
    attack.events[await status_line(client, ASK_S)] += 1


def large_body(orders: Orders, *, is_text: bool) -> Iterator[memoryview]:
    """Yield the blocks of a body that is a request: of an image that is none, or of many objects."""
    body = memoryview(_large_body(msgspec.json.encode(orders.inputs), is_text))
    for start in range(0, len(body), 2**18):
        yield body[start : start + 2**18]


@functools.lru_cache
def _large_body(inputs: bytes, is_text: bool) -> bytes:
    request = {"inputs": msgspec.json.decode(inputs)}
    if is_text:
        request["inputs"]["image"] = {
            "value": "A" * (BODY_BYTES - 2**16),
            "encoding": "base64",
            "mediaType": "image/png",
        }
    else:
        (feature,) = request["inputs"]["features"]["features"]
        request["inputs"]["features"]["features"] = [feature] * (BODY_BYTES // (len(msgspec.json.encode(feature)) + 2))
    return msgspec.json.encode(request).ljust(BODY_BYTES)


async def hold(act: Callable[[Attack, int, socket.socket], Awaitable[None]], attack: Attack, number: int) -> None:
    """Do something with a connection, again and again."""
    while True:
        try:
            async with attack.connection(number) as client:
                await act(attack, number, client)
        except OSError as err:
            attack.events[type(err).__name__] += 1
        await asyncio.sleep(PAUSE_S)


async def submit(change: Callable[[Orders], dict[str, Any]], follows: bool, attack: Attack, number: int) -> None:
    """Submit jobs: each when the one before has ended, or one every few seconds."""
    while True:
        try:
            body = msgspec.json.encode(change(attack.orders))
            status, job = await attack.ask(number, "POST", EXECUTION, body)
            attack.events[str(status)] += 1
            if status == 201 and follows:
                await ended(attack, number, f"/jobs/{job['jobID']}")
        except OSError as err:
            attack.events[type(err).__name__] += 1
        await asyncio.sleep(PAUSE_S if follows else SUBMIT_S)


async def ended(attack: Attack, number: int, path: str) -> None:
    """Wait until a job has ended."""
    attack.open += 1
    try:
        while True:
            await asyncio.sleep(2)
            with contextlib.suppress(OSError):
                _, job = await attack.ask(number, "GET", path)
                if job.get("status") not in ("accepted", "running"):
                    attack.events[f"job {job.get('status')}: {job.get('message')}"[:150]] += 1
                    return
    finally:
        attack.open -= 1


def with_sparse_image(orders: Orders) -> dict[str, Any]:
    """Return a request for an image of a few bytes that has as many cells as it may."""
    image = {"value": _sparse_image(), "encoding": "base64", "mediaType": "image/tiff"}
    return {"inputs": {"image": image, "model": orders.inputs["model"]}}


@functools.lru_cache
def _sparse_image() -> str:
    profile: dict[str, Any] = {"width": SPARSE_SIDE_PX, "height": SPARSE_SIDE_PX, "count": 3, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": SPARSE_BLOCK_PX, "blockysize": SPARSE_BLOCK_PX, "compress": "deflate"}
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), MemoryFile() as memory:
        with rasterio.open(memory, "w", driver="GTiff", SPARSE_OK=True, BIGTIFF="YES", **profile, **tiles):
            pass
        return base64.b64encode(memory.read()).decode()


def with_dripping_host(orders: Orders) -> dict[str, Any]:
    return {"inputs": orders.inputs | {"image": {"href": f"http://127.0.0.1:{orders.host_port}/image.tif"}}}


def with_dripping_subscriber(orders: Orders) -> dict[str, Any]:
    return {"inputs": orders.inputs, "subscriber": {"successUri": f"http://127.0.0.1:{orders.host_port}/done"}}


async def answer_by_drips(turns: Iterator[int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with a head that never ends: of a status line, of headers, or of interim answers."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
        await reader.readuntil(b"\r\n\r\n")
        start, more = (
            (b"HTTP/1.1 200 OK", b"K"),
            (b"HTTP/1.1 200 OK\r\nContent-Type: image/tiff\r\nX-Slow: ", b"a"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        )[next(turns) % 3]
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(1)
    writer.close()


ATTACKS: dict[str, Callable[[Attack, int], Coroutine[Any, Any, None]]] = {
    "slow-readers": functools.partial(hold, read_nothing),
    "dripping-senders": functools.partial(hold, drip),
    "silent": functools.partial(hold, say_nothing),
    "large-bodies": functools.partial(hold, send_much),
    "sparse-images": functools.partial(submit, with_sparse_image, True),
    "dripping-host": functools.partial(submit, with_dripping_host, True),
    "dripping-subscriber": functools.partial(submit, with_dripping_subscriber, False),
}


async def attack_all(orders: Orders) -> dict[str, Attack]:
    """Attack until the input ends; return what came of it."""
    turns = itertools.count()
    answer = functools.partial(answer_by_drips, turns)
    attacks = {name: Attack(orders, count) for name, count in orders.attacks.items() if count}
    loop = asyncio.get_running_loop()
    with_sparse_image(orders)
    await asyncio.start_server(answer, "127.0.0.1", orders.host_port)  # to the end: its answers have none
    tasks: list[asyncio.Task[None]] = [
        loop.create_task(ATTACKS[name](attack, number))
        for name, attack in attacks.items()
        for number in range(attack.count)
    ]
    await asyncio.sleep(1)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    failures = [item for item in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(item, Exception)]
    if failures:
        raise ExceptionGroup("attacks broke down", failures)
    return attacks


def main() -> None:
    os.nice(15)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders = msgspec.json.decode(sys.argv[1], type=Orders)
    attacks = asyncio.run(attack_all(orders))
    print(msgspec.json.encode({name: dict(attack.events) for name, attack in attacks.items()}).decode(), flush=True)


if __name__ == "__main__":
    main()
