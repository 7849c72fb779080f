"""A container of an image as an engine would run it, and the service in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from verification.builder import Builder

USER, GROUP = 10001, 0
_START_S = 120


class Container:
    """A container whose root is read-only.

    Args:
        builder: which has the image.
        image: its name.
        imagery: folder that is mounted as `/imagery`.
    """

    def __init__(self, builder: Builder, image: str, imagery: Path) -> None:
        self._builder, self._imagery = builder, imagery
        described = json.loads(builder.ask("inspect", "--type", "image", image))
        self.config: dict[str, Any] = described["Docker"]["config"]
        self._id = builder.ask("from", image)
        self.root = Path(builder.ask("mount", self._id))
        self._scratch = builder.folder / f"scratch-{self._id}"
        self._scratch.mkdir()
        os.chown(self._scratch, USER, GROUP)
        self._port = _free_port()
        (self.root / "run/.containerenv").touch()  # which buildah mounts something at, and cannot make then
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True)

    def command(self, status: str, *words: str) -> list[str]:
        """Return the command that runs words in it, as its user, who can write to `/state` and `/tmp` alone.

        Args:
            status: name of the file in `/tmp` that gets the exit status: buildah 1.28 itself ends by a fault of its own
                when it cannot tidy up the root.
            words: what is run.
        """
        options = ["--isolation", "chroot", "--network", "host", "--cap-drop", "all"]
        options += ["--env", f"CLASSIFY_PORT={self._port}", "--volume", f"{self._imagery}:/imagery:ro"]
        options += ["--volume", f"{self._scratch}:/tmp"]  # /state is a volume of the image, which buildah makes itself
        script = f'"$@"; echo $? > /tmp/{status}'
        return self._builder.command("run", *options, self._id, "--", "sh", "-c", script, "sh", *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run words in it."""
        command = self.command("status", *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        done.returncode = self._status("status", done.returncode)
        return done

    def _status(self, name: str, otherwise: int) -> int:
        """Return the exit status of what was run, and forget it."""
        file = self._scratch / name
        if not file.exists():
            return otherwise
        status = int(file.read_text())
        file.unlink()
        return status

    @contextmanager
    def service(self) -> Iterator[Service]:
        """Run what the image runs by itself, and give it when it is ready; it ends with the block."""
        log = self._builder.folder / "service.log"
        command = self.command("status-of-service", *self.config["Entrypoint"], *self.config["Cmd"])
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            yield Service(process, f"http://127.0.0.1:{self._port}", log, self._scratch / "status-of-service")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def size_mb(self, *paths: str) -> int:
        """Return the space that paths in it take, unpacked; without any, all of it."""
        places = [self.root / path for path in paths] or [self.root]
        shown = subprocess.run(["du", "-sxcm", *places], capture_output=True, text=True, check=True).stdout
        return int(shown.splitlines()[-1].split()[0])


class Service:
    """The service in a container.

    Args:
        process: that runs the container.
        url: where it answers.
        log: what it writes.
        status: the file that gets its exit status.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, status: Path) -> None:
        self.url, self._process, self._log, self._status = url, process, log, status
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """Return the JSON document at a path."""
        with self._opener.open(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def execute(self, inputs: dict[str, Any]) -> tuple[int, Any]:
        """Execute the tool and return status and answer."""
        body = json.dumps({"inputs": inputs}).encode()
        address = f"{self.url}/processes/classify-objects/execution"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as err:
            with err:
                return err.code, json.load(err)

    def wait_ready(self, model: str) -> None:
        """Wait until it is well and has checked a model; end this program where that does not happen."""
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            with suppress(OSError, KeyError):
                models = self.get("/processes/classify-objects")["inputs"]["model"]["schema"]["enum"]
                if model in models and self.get("/health")["status"] == "ok":
                    return
            time.sleep(0.2)
        sys.exit("the service did not start:\n" + self._log.read_text()[-3000:])

    def wait(self, timeout_s: float) -> int | None:
        """Wait until it has ended by itself, and return its exit status; None = it runs on."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return int(self._status.read_text()) if self._status.exists() else None

    def processes(self) -> tuple[int, int]:
        """Return the process ids of the container's init and of its child, the program that it runs."""
        tree = [self._process.pid]
        for process in tree:
            children = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
            if Path(f"/proc/{process}/comm").read_text().strip() == "tini":
                return process, children[0]
            for thread in Path(f"/proc/{process}/task").iterdir():
                tree += [int(word) for word in (thread / "children").read_text().split()]
        sys.exit("the container has no init")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
