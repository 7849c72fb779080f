"""The digest of a whole package, against `sha256sum`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from processes.errors import PackageError
from processes.model.package_digest import package_digest


def test_the_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    names = ["a.emd", "B.py", "sub/é.py", "sub-x", "sub/𝄞.bin", "sub/￿.bin", "z/empty", "._a.emd"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name * 3 if name != "z/empty" else "")
    (tmp_path / "no-file-in-it").mkdir()
    command = r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    told = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert package_digest(tmp_path) == told.split()[0]


@pytest.mark.parametrize("content", ["text", "name", "gone", "new"])
def test_the_digest_tells_of_every_change(tmp_path: Path, content: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "helper.py").write_text("x = 1\n")
    (tmp_path / "a.emd").write_text("{}")
    before = package_digest(tmp_path)
    match content:
        case "text":
            (tmp_path / "deep" / "helper.py").write_text("x = 2\n")
        case "name":
            (tmp_path / "deep" / "helper.py").rename(tmp_path / "helper.py")
        case "gone":
            (tmp_path / "deep" / "helper.py").unlink()
        case "new":
            (tmp_path / "numpy.py").touch()
    assert package_digest(tmp_path) != before


def test_what_a_digest_cannot_tell_of_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "helper.py").touch()
    links = {"folder": outside, "file.py": outside / "helper.py", "broken": tmp_path / "none", "inside": Path("a.emd")}
    for name, target in links.items():
        package = tmp_path / f"package-{name}"
        package.mkdir()
        (package / "a.emd").touch()
        (package / name).symlink_to(target)
        with pytest.raises(PackageError, match=f"{name}.*no plain file"):
            package_digest(package)
    package = tmp_path / "pipe"
    package.mkdir()
    os.mkfifo(package / "fifo")
    with pytest.raises(PackageError, match="no plain file"):
        package_digest(package)
    (package / "fifo").unlink()
    (package / "two\nlines").touch()
    with pytest.raises(PackageError, match="no line of text"):
        package_digest(package)
