"""buildah: the base, and the images."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = tuple(f"/usr/share/{name}" for name in ("doc", "man", "info", "locale"))
"""Folders of Debian that its official slim image leaves out too."""


class Builder:
    """buildah with a store of its own.

    Args:
        folder: an empty folder for images, containers and their settings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._options = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]

    def command(self, *words: object) -> list[str]:
        """Return a command line of buildah."""
        return ["buildah", *self._options, *map(str, words)]

    def ask(self, *words: object) -> str:
        """Run a command and return what it prints; end this program where it fails."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"buildah {words[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    def base(self) -> str:
        """Return the name of the base image: that of BASE, or one of the root file system of BASE or of debootstrap."""
        named = os.environ.get("BASE", "")
        if named and not Path(named).is_dir():
            return named
        root = Path(named) if named else self._debootstrapped()
        container = self.ask("from", "scratch")
        inside = self.ask("mount", container)
        subprocess.run(["cp", "--archive", f"{root}/.", inside], check=True)
        self.ask("unmount", container)
        self.ask("commit", "--quiet", "--rm", container, "verify-base")
        return "localhost/verify-base"

    def _debootstrapped(self) -> Path:
        root, log = self.folder / "debian", self.folder / "debootstrap.log"
        mirror = [os.environ["MIRROR"]] if "MIRROR" in os.environ else []
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie", str(root), *mirror]
        with log.open("wb") as output:
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode != 0:
                sys.exit("debootstrap failed:\n" + log.read_text()[-3000:])
        for name in _LEFT_OUT:
            shutil.rmtree(root / name[1:])
        for name in ("var/cache/apt/archives", "var/lib/apt/lists", "var/log"):
            for file in [path for path in (root / name).rglob("*") if path.is_file()]:
                file.unlink()
        excluded = "".join(f"path-exclude {name}/*\n" for name in _LEFT_OUT)
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(excluded)
        return root

    def build(self, target: str, base: str) -> str:
        """Build a target of the Dockerfile and return the name of its image.

        Args:
            target: its name.
            base: the image that stands for the Dockerfile's own base.
        """
        settings, mounts = self.folder / "pip.conf", dict[Path, str]()
        if ca := os.environ.get("CA"):
            settings.write_text("[global]\ncert = /run/verify/ca.pem\n")
            mounts = {Path(ca).resolve(): "/run/verify/ca.pem", settings: "/etc/pip.conf"}
        if given := os.environ.get("PIP_CONF"):
            mounts = {path: place for path, place in mounts.items() if path != settings}
            mounts[Path(given).resolve()] = "/etc/pip.conf"
        arguments = {"BASE": base, "VERSION": version(), "REVISION": revision()}
        options = [word for path, place in mounts.items() for word in ("--volume", f"{path}:{place}:ro")]
        options += [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        file = ROOT / "docker" / "Dockerfile"
        how = ["--isolation", "chroot", "--network", "host", "--format", "docker", "--layers", "--file", file]
        self.ask("build", *how, *options, "--target", target, "--tag", f"verify-{target}", ROOT)
        return f"localhost/verify-{target}"

    def remove(self) -> None:
        """Remove all containers and images, and the folder with them."""
        for words in (("unmount", "--all"), ("rm", "--all")):
            subprocess.run(self.command(*words), capture_output=True, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)


def version() -> str:
    """Return the version of the checkout."""
    lines = (ROOT / "processes" / "__init__.py").read_text().splitlines()
    return next(line for line in lines if line.startswith("__version__")).split('"')[1]


def revision() -> str:
    """Return the commit of the checkout; `unknown` where it is none of git's."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
