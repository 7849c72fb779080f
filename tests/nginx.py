"""An nginx of a test's own, from Debian's package, with the configuration that `docker/` ships."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from service import ROOT

TEMPLATE = ROOT / "docker" / "nginx.conf"
USER = "www-data"


class Nginx:
    """A proxy in front of a service. It has no rights of root, and its folder is none of pytest's: those are private.

    Args:
        port: where it listens.
        service: where the service listens, `host:port`.
        max_body_mb: of a request, in MiB.
        certificate: PEM files of it and of its key, for TLS as docs/proxy.md has it; None = plain HTTP.
    """

    def __init__(
        self, port: int, service: str, max_body_mb: int = 64, certificate: tuple[bytes, bytes] | None = None
    ) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("nginx is not there, and in CI it must be")
            pytest.skip("nginx is not there: apt install nginx-light")
        self._program = program
        self._home = tempfile.TemporaryDirectory(prefix="nginx-")
        self.folder = Path(self._home.name)
        self.port = port
        values = {"PROXY_PORT": port, "PROXY_FOLDER": self.folder, "PROXY_MAX_BODY_MB": max_body_mb, "SERVICE": service}
        configuration = self.folder / "nginx.conf"
        text = substituted(TEMPLATE.read_text(), {name: str(value) for name, value in values.items()})
        if certificate is not None:
            for name, content in zip(("cert.pem", "key.pem"), certificate, strict=True):
                (self.folder / name).write_bytes(content)
                if os.geteuid() == 0:
                    shutil.chown(self.folder / name, USER)
            (told,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "proxy.md").read_text(), re.DOTALL)
            lines = told.replace("8443", str(port)).replace("/tls/", f"{self.folder}/")
            assert f"listen {port};" in text
            text = text.replace(f"listen {port};", lines)
        configuration.write_text(text)
        self._log = self.folder / "log"
        self._log.touch()
        command = [self._program, "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"]
        if os.geteuid() == 0:
            for path in (self.folder, self._log):
                shutil.chown(path, USER)
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def is_ready(self) -> bool:
        """Say whether it takes connections."""
        assert self._process.poll() is None, self.log()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        """Stop it, and remove its files."""
        self._process.terminate()
        self._process.wait(10)
        self._home.cleanup()


def substituted(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its variables replaced, as the official images of nginx do it with `envsubst`."""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], template)
