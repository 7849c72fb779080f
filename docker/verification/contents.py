"""What an image says of itself, what it holds, and what it must not hold."""

from __future__ import annotations

import json

from verification.builder import ROOT, version
from verification.container import GROUP, USER, Container
from verification.report import Report

_MAX_CPU_MB = 740
_COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "tcc", "rustc", "go", "pip", "pip3")
_CACHES = ("root/.cache", "var/cache/apt", "var/lib/apt/lists", "tmp")
_LARGEST = 12


def check_contents(container: Container, target: str, report: Report) -> None:
    """Check the settings of an image and its files."""
    config, root = container.config, container.root
    report.check(config["User"] == f"{USER}:{GROUP}", "user", config["User"])
    report.check(list(config["Volumes"]) == ["/state"], "one volume", *config["Volumes"])
    report.check(config["Entrypoint"][0] == "tini", "an init", config["Entrypoint"])
    labels = {name: value for name, value in config["Labels"].items() if name.startswith("org.opencontainers.image.")}
    wanted = {"title", "description", "licenses", "base.name", "version", "revision"}
    has_all = {name.removeprefix("org.opencontainers.image.") for name in labels} == wanted
    report.check(has_all and labels["org.opencontainers.image.version"] == version(), "labels", labels)
    programs = {path.name for name in ("usr/bin", "usr/local/bin", "venv/bin") for path in (root / name).iterdir()}
    found = sorted(programs & {*_COMPILERS}) + sorted(name for name in programs if name.startswith(("gcc-", "clang-")))
    report.check(not found, "no compiler, no installer", found or None)
    kept = [path for name in _CACHES for path in (root / name).rglob("*") if path.is_file()]
    report.check(not kept, "no cache", kept[:3] or None)
    tests = [path for name in ("test", "tests") for place in ("venv", "app") for path in (root / place).rglob(name)]
    left = [path for path in tests if path.is_dir() and "fsspec" not in path.parts]
    report.check(not left, "no tests", left[:3] or None)
    _check_inventory(container, target, report)
    _check_size(container, target, report)


def _check_inventory(container: Container, target: str, report: Report) -> None:
    """Check that the lists of packages have all that is pinned, and some of Debian's."""
    known: set[str] = set()
    for path in sorted((container.root / "usr/share/sbom").glob("*.cdx.json")):
        document = json.loads(path.read_text())
        report.check(document["bomFormat"] == "CycloneDX", path.name, f"{len(document['components'])} components")
        known |= {item["name"].lower().replace("_", "-") for item in document["components"]}
    lines = (ROOT / f"requirements-{target}.lock").read_text().splitlines()
    elsewhere = ("sys_platform == 'win32'", "platform_machine != 'x86_64'")
    here = [line for line in lines if not any(marker in line for marker in elsewhere)]
    pinned = {line.split("==")[0] for line in here if "==" in line and not line.startswith((" ", "#"))}
    missing = sorted(pinned - known - {"pip", "setuptools"} | {"tini", "libc6"} - known)
    report.check(not missing, "the SBOM has all that is pinned", missing or f"{len(pinned)} packages")


def _check_size(container: Container, target: str, report: Report) -> None:
    whole = container.size_mb()
    name = f"size of {target}, unpacked"
    report.check(target != "cpu" or whole <= _MAX_CPU_MB, name, f"{whole} MB")
    packages = next((container.root / "venv" / "lib").glob("python3*/site-packages"))
    sizes = {path.name: container.size_mb(str(path.relative_to(container.root))) for path in packages.iterdir()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_LARGEST]
    parts = {
        "Debian with Python": ("usr", "etc", "var"),
        "packages": ("venv",),
        "the service and models": ("app",),
    }
    report.tell(", ".join(f"{part} {container.size_mb(*paths)} MB" for part, paths in parts.items()))
    report.tell("of the packages: " + ", ".join(f"{package} {size}" for package, size in largest))
