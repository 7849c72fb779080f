"""`make gpu-check` says why it stops where there is no GPU, and goes all the way where a CPU stands in for one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gpu_check
from processes.model.runtime.runtimes import missing_gpu
from service import ROOT, clean_environment


def check(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "gpu_check.py", *options]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("options", [(), ("--driver",)])
def test_check_stops_with_the_reason_where_there_is_no_gpu(tmp_path: Path, options: tuple[str, ...]) -> None:
    missing = missing_gpu()
    if missing is None:
        pytest.skip("there is one")
    done = check(*options, "--folder", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"gpu-check stops: {missing}\n"
    assert not list(tmp_path.iterdir())


def test_makefile_looks_for_a_gpu_before_it_installs_libraries() -> None:
    """It is read, not run: it would install into this environment."""
    recipe = (ROOT / "Makefile").read_text().split("\ngpu-check:")[1].split("\n\n")[0].splitlines()
    assert recipe == [
        " .venv/ready",
        "\t$(BIN)/python bench/gpu_check.py --driver",
        "\t$(MAKE) .venv/ready-gpu",
        "\t$(BIN)/python bench/gpu_check.py",
    ]


def test_check_goes_all_the_way_in_rehearsal(tmp_path: Path, shared_data: Path) -> None:
    done = check("--rehearse", "--folder", tmp_path, "--shared", shared_data, "--output", tmp_path / "table.md")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[-1].endswith("0 marks missed")
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("|")}
    assert rows["NAIP, zone 10"].split("|")[2:5] == [" 40 ", " 0 ", " 0.0e+00 "]
    assert {"fp32, chips/s", "fp16, chips/s", "as chosen", "batch / 4"} <= rows.keys()
    assert "out of memory: not on a CPU" in lines


def test_real_data_that_is_not_there_is_a_mark_missed(tmp_path: Path) -> None:
    report = gpu_check.Report(60)
    gpu_check._labels(report, tmp_path / "none", tmp_path, is_rehearsal=False)
    assert report.missed == [f"labels: the real data is not in {tmp_path / 'none'}"]


def test_part_that_fails_or_has_no_time_is_a_mark_missed_and_the_others_go_on() -> None:
    report = gpu_check.Report(60)
    with report.part("one") as is_time:
        assert is_time
        raise RuntimeError("no such option")
    with gpu_check.Report(-1).part("two") as is_time:
        assert not is_time
    assert report.missed == ["one: RuntimeError: no such option"]
