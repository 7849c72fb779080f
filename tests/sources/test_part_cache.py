"""Parts on the disk: found by the next process, bounded, and never half."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from processes.errors import FailureError
from processes.sources.part_cache import PartCache


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parts"))


def test_another_process_finds_what_one_that_was_killed_has_kept(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from processes.sources.part_cache import PartCache;"
        "cache = PartCache(Path(sys.argv[1]), 2**20); cache.put('a', b'1' * 1000); cache.put('b', b'');"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "near"]).returncode == -9
    cache = PartCache(tmp_path / "near", 2**20)
    assert cache.has("a")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"1" * 1000, b"", None)


def test_a_part_that_is_torn_or_damaged_does_not_count(tmp_path: Path) -> None:
    cache = PartCache(tmp_path, 2**20)
    for name in "abc":
        cache.put(name, name.encode() * 100)
    (pack,) = packs(tmp_path)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1  # in the second part
    pack.write_bytes(content[:-1])
    again = PartCache(tmp_path, 2**20)
    assert (again.get("a"), again.get("b"), again.get("c")) == (b"a" * 100, None, None)
    again.put("b", b"new")
    assert again.get("b") == b"new"


def test_the_oldest_parts_go_when_the_limit_is_reached(tmp_path: Path) -> None:
    cache = PartCache(tmp_path, 2**20)
    for number in range(300):
        cache.put(str(number), bytes([number % 256]) * 2**14)
        assert sum(path.stat().st_size for path in packs(tmp_path)) <= 2**20 + 2**18
    assert cache.get("0") is None
    assert cache.get("299") == bytes([299 % 256]) * 2**14
    assert PartCache(tmp_path, 2**20).get("299") is not None


def test_a_pack_that_another_process_removed_is_missed_and_no_more(tmp_path: Path) -> None:
    cache = PartCache(tmp_path, 2**20)
    cache.put("a", b"1")
    packs(tmp_path)[0].unlink()
    assert cache.get("a") is None
    cache.put("a", b"1")
    assert cache.get("a") == b"1"


def test_nothing_is_kept_for_a_job_that_is_gone(tmp_path: Path) -> None:
    cache = PartCache(tmp_path / "gone" / "near", 2**20)
    cache.put("a", b"1")
    assert cache.get("a") is None
    assert not list(tmp_path.iterdir())


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache = PartCache(tmp_path, 2**24)

    def work(name: str) -> None:
        for number in range(50):
            cache.put(f"{name}{number}", f"{name}{number}".encode() * 100)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = PartCache(tmp_path, 2**24)
    assert all(found.get(f"{name}{n}") == f"{name}{n}".encode() * 100 for name in "abcd" for n in range(50))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the machine has no /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    cache = PartCache(tmp_path, 2**20)
    cache.put("a", b"1")
    (pack,) = packs(tmp_path)
    pack.unlink()
    pack.symlink_to("/dev/full")
    with pytest.raises(FailureError, match="no space left"):
        cache.put("b", b"1")
