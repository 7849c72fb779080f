"""A headless Chromium, driven over its own protocol by a pipe: a person at a page, for tests."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_END = b"\0"
_WAIT_S = 20
_NAVIGATED = "Inspected target navigated or closed"


_RESTING = """async item => {
  const place = () => {
    item.scrollIntoView({block: 'center'});
    const box = item.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  for (let before = place(); ;) {
    await new Promise(done => setTimeout(done, 200));
    const now = place();
    if (now.join() === before.join()) return now;
    before = now;
  }
}"""
"""Returns the middle of an element, when it has not moved for a moment: what is loaded pushes others down."""


class NavigatedError(Exception):
    """The page has given way to another one before it could answer."""


class Page:
    """A tab.

    Args:
        write: descriptor to which commands are written.
        read: descriptor from which answers and events are read.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        self.urls: list[str] = []
        """Of all requests so far."""
        self.errors: list[str] = []
        """What went wrong in scripts and in the console."""
        self._refused: set[str] = set()
        self.received_bytes = 0
        """What came over the wire, as the browser counts it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        number = self._send(method, parameters)
        while True:
            answer = self._message(_WAIT_S)
            if answer.get("id") == number:
                if answer.get("error", {}).get("message") == _NAVIGATED:
                    raise NavigatedError
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _send(self, method: str, parameters: Mapping[str, Any]) -> int:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + _END)
        return self._last

    def look(self, size: tuple[int, int], *, is_dark: bool = False) -> None:
        """Give the window a size, and choose the colour scheme."""
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Open an address, and wait until it is loaded."""
        self._events.clear()
        self.received_bytes = 0
        self.call("Page.navigate", url=url)
        self.until_event("Page.loadEventFired")
        self.settle()

    def refuse_first(self, *patterns: str) -> None:
        """Answer the first request for each address that fits a pattern as a busy service does; none = no longer."""
        self._refused.clear()
        if patterns:
            self.call("Fetch.enable", patterns=[{"urlPattern": pattern} for pattern in patterns])
        else:
            self.call("Fetch.disable")

    def settle(self, quiet_s: float = 0.25) -> None:
        """Wait until nothing has happened for a while."""
        with suppress(TimeoutError):
            while True:
                self._message(quiet_s)

    def until_event(self, method: str) -> None:
        """Wait for an event since the last address was opened."""
        while not any(event["method"] == method for event in self._events):
            self._message(_WAIT_S)

    def events(self, method: str) -> list[dict[str, Any]]:
        """Return the events of a kind since the last address was opened."""
        return [event for event in self._events if event["method"] == method]

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true, and return its value."""
        deadline_s = time.monotonic() + _WAIT_S
        while True:
            plain = f"((value) => value instanceof Node ? true : value)({script})"
            value = None
            with suppress(NavigatedError):  # another page comes, which is asked next
                value = self.evaluate(f"(() => {{ try {{ return {plain}; }} catch {{ return null; }} }})()")
            if value:
                return value
            assert time.monotonic() < deadline_s, f"{script} is {value!r}\n{self.errors}\n{self.text('body')}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def fill(self, name: str, text: str) -> None:
        """Write into the control of a name, or choose in it."""
        script = "(item => {{ item.value = {}; item.dispatchEvent(new Event('input', {{bubbles: true}})); }})({})"
        self.evaluate(script.format(json.dumps(text), f'document.querySelector("[name={name}]")'))

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does, once it stays where it is."""
        place = self.evaluate(f"({_RESTING})(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        """Press a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def choose_files(self, selector: str, paths: Sequence[Path]) -> None:
        """Choose files in a control for files."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save a picture of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _message(self, wait_s: float) -> dict[str, Any]:
        """Return the next message; raise TimeoutError where none comes."""
        while _END not in self._buffer:
            if not select.select([self._read], [], [], wait_s)[0]:
                raise TimeoutError(f"Chromium says nothing: {self.errors}")
            block = os.read(self._read, 2**20)
            assert block, "Chromium has ended"
            self._buffer += block
        text, _, self._buffer = self._buffer.partition(_END)
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._note(message)
        return message

    def _answer(self, request: str, url: str) -> None:
        if url in self._refused:
            self._send("Fetch.continueRequest", {"requestId": request})
            return
        self._refused.add(url)
        headers = [{"name": "Retry-After", "value": "1"}]
        self._send("Fetch.fulfillRequest", {"requestId": request, "responseCode": 503, "responseHeaders": headers})

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        values = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self.urls.append(values["request"]["url"])
            case "Fetch.requestPaused":
                self._answer(values["requestId"], values["request"]["url"])
            case "Network.loadingFinished":
                self.received_bytes += int(values["encodedDataLength"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(values["exceptionDetails"])[:500])
            case "Log.entryAdded" if values["entry"]["level"] == "error":
                self.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if values["type"] in ("error", "assert"):
                self.errors.append(json.dumps(values["args"])[:500])


@contextmanager
def chromium(folder: Path, *, names: Sequence[str] = ()) -> Iterator[Page]:
    """Run Chromium with a new profile, and yield its page. It finds no host but this machine.

    Args:
        folder: for its files.
        names: that lead to this machine too, as those of an attacker do after DNS rebinding.
    """
    program = next((path for path in map(shutil.which, _NAMES) if path), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not there, and in CI it must be")
        pytest.skip("Chromium is not there: apt install chromium")
    to_browser, from_browser = os.pipe(), os.pipe()
    os.set_inheritable(to_browser[0], True)
    os.set_inheritable(from_browser[1], True)
    options = [
        "--headless=new",
        "--no-sandbox",
        "--use-angle=swiftshader",  # maps are drawn by the CPU
        "--enable-unsafe-swiftshader",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules="
        + "".join(f"MAP {name} 127.0.0.1, " for name in names)
        + "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
    ]
    # the protocol's pipes are descriptors 3 and 4
    command = ["bash", "-c", f'exec 3<&{to_browser[0]} 4>&{from_browser[1]}; exec "$@"', "bash", program, *options]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, pass_fds=(to_browser[0], from_browser[1]), start_new_session=True
        )
    try:
        os.close(to_browser[0])
        os.close(from_browser[1])
        yield Page(to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
