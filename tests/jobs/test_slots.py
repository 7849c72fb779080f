"""SlotPool: real child processes that work, are stopped, killed, replaced, and leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest
from msgspec.structs import replace

from conftest import definition, save_mean_network
from jobs_service import until
from large_images import write_sparse
from processes.confinement import kernel
from processes.errors import LimitError, RequestError, from_record
from processes.jobs.dask_parts import LentSlotsPlugin, OwnSlotsPlugin
from processes.jobs.files import FolderStorage
from processes.jobs.slot import Slot
from processes.jobs.slots import SlotPool, slot_count
from processes.jobs.step_process import NAME
from processes.jobs.steps import ResultPublished, SlotEnded, Step, StepFailed, StepReport, StepStopped
from processes.model.runtime.runtimes import available_threads
from processes.ogc.execution import Execution
from processes.ogc.request import ExecuteRequest
from processes.settings import Settings, load_settings
from rasters import make_raster
from service import ROOT, clean_environment, configure, link, slots_of
from slow_network import save_slow_network

pytestmark = [pytest.mark.jobs, pytest.mark.timed]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slots")
    for name in ("models/quick", "models/slow", "imagery"):
        (folder / name).mkdir(parents=True)
    save_mean_network(folder / "models" / "quick" / "net.onnx", 3, None)
    save_slow_network(folder / "models" / "slow" / "net.onnx", chip_ms=40)
    (folder / "models" / "quick" / "m.emd").write_text(json.dumps(definition()))
    (folder / "models" / "slow" / "m.emd").write_text(json.dumps(definition(BatchSize=200)))
    make_raster(folder / "imagery" / "a.tif")
    return configure(folder, models=[folder / "models"], imagery=[folder / "imagery"])


@pytest.fixture(scope="module")
def settings(configuration: Path) -> Settings:
    return load_settings(configuration)


@pytest.fixture
def slots(configuration: Path, settings: Settings) -> Iterator[SlotPool]:
    slots = SlotPool(configuration, settings, 2)
    slots.start()
    yield slots
    slots.close()
    assert not slots.folder.exists()


@pytest.fixture
def put(settings: Settings, configuration: Path) -> Callable[..., Step]:
    """Return a function that puts a request into storage and returns the step that begins its work."""
    storage = FolderStorage(Path(settings.results))

    def put(process: str = "echo", fence: int = 1, **inputs: Any) -> Step:
        job_id = str(uuid.uuid4())
        body = json.dumps({"inputs": inputs}).encode()
        storage.put_execution(job_id, Execution(process, ExecuteRequest(body, {}, None, "raw", None)).encode())
        return Step(job_id, fence, process, "begin", "plan-1")

    return put


def classify(
    put: Callable[..., Step], configuration: Path, model: str = "quick", count: int = 1, **arguments: Any
) -> Step:
    point = {"type": "Point", "coordinates": [500_016.0, 4_999_988.0]}
    items = [{"type": "Feature", "properties": {}, "geometry": point} for _ in range(count)]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    features = {"type": "FeatureCollection", "crs": crs, "features": items}
    image = link(configuration.parent / "imagery" / "a.tif")
    return put("classify-objects", image=image, model=model, features=features, modelArguments=arguments)


def children() -> set[int]:
    """Return the slots' processes that are alive."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.name() == NAME and child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.pid)
    return found


def later(seconds: float, act: Callable[[], object]) -> None:
    threading.Timer(seconds, act).start()


def test_a_step_is_done_and_its_result_published(slots: SlotPool, put: Callable[..., Step], settings: Settings) -> None:
    step = put(echo="a")
    report = slots.run(step, 60, 0)
    assert isinstance(report.outcome, ResultPublished)
    assert (Path(settings.results) / step.job / report.outcome.result.name).read_bytes() == b'["a"]'
    assert {entry.name for entry in slots.folder.iterdir()} == {"lock"}


def test_a_step_may_use_the_cores_of_slots_that_nobody_uses(
    configuration: Path, settings: Settings, put: Callable[..., Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, given = SlotPool(configuration, settings, 5), list[int | None]()
    own = max(1, available_threads() // 5)
    alone, beside, small = (msgspec.structs.replace(put(echo="a"), slots=slots) for slots in (9, 2, 1))

    def run(_slot: Slot, step: Step, *_: object) -> StepReport:
        given.append(step.cores)
        if step.job == alone.job and len(given) < 3:
            pool.run(beside, 60, 0)  # of three free slots it has its half
        elif step.job == beside.job and len(given) < 3:
            pool.run(alone, 60, 0)  # of two its third
        elif step.job == small.job:
            pool.run(beside, 60, 0)
        return StepReport(StepStopped(), 0)

    monkeypatch.setattr(Slot, "run", run)
    pool.make_folder()
    pool.run(alone, 60, 0)
    pool.run(small, 60, 0)
    pool.close()
    assert given == [5 * own, 2 * own, own, own, 2 * own]


def test_a_step_whose_memory_is_limited_uses_the_cores_of_its_slot(
    configuration: Path, settings: Settings, put: Callable[..., Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = replace(settings, limits=replace(settings.limits, max_slot_mb=1500))
    pool, given = SlotPool(configuration, limited, 3), list[int | None]()

    def run(_slot: Slot, step: Step, *_: object) -> StepReport:
        given.append(step.cores)
        return StepReport(StepStopped(), 0)

    monkeypatch.setattr(Slot, "run", run)
    pool.make_folder()
    pool.run(replace(put(echo="a"), slots=3), 60, 0)
    pool.close()
    assert given == [max(1, available_threads() // 3)]


def test_models_stay_open_from_job_to_job(slots: SlotPool, put: Callable[..., Step], configuration: Path) -> None:
    reports = [slots.run(classify(put, configuration), 60, 0) for _ in range(4)]
    assert all(isinstance(report.outcome, ResultPublished) for report in reports)
    assert sum(report.model_loads for report in reports) == 1  # one after the other they all come to the same slot


def test_faults_come_back_as_such(slots: SlotPool, put: Callable[..., Step]) -> None:
    for step, is_final in [(put(echo=7), True), (put("classify-objects", image={"href": "file:///x"}), True)]:
        outcome = slots.run(step, 60, 0).outcome
        assert isinstance(outcome, StepFailed)
        assert isinstance(from_record(outcome.error), RequestError)
        assert outcome.is_final == is_final
    unknown = slots.run(put("nothing"), 60, 0).outcome
    assert isinstance(unknown, StepFailed)
    assert from_record(unknown.error).detail.startswith("the server failed; the log has it as job ")


def test_what_can_be_stopped_between_batches_keeps_its_process(
    slots: SlotPool, put: Callable[..., Step], configuration: Path
) -> None:
    slots.run(classify(put, configuration, "slow"), 60, 0)
    before = children()
    step = classify(put, configuration, "slow", 100, batch_size=2)
    later(0.2, lambda: slots.stop(step.job, 1))
    start_s = time.monotonic()
    assert isinstance(slots.run(step, 60, 0).outcome, StepStopped)
    assert time.monotonic() - start_s < 1.2
    assert children() == before


def test_what_cannot_be_stopped_is_killed_within_a_second(
    slots: SlotPool, put: Callable[..., Step], configuration: Path
) -> None:
    slots.run(classify(put, configuration, "slow"), 60, 0)
    step = classify(put, configuration, "slow", 1000)  # batches of eight seconds
    stopped: list[float] = []

    def stop() -> None:
        start_s = time.monotonic()
        slots.stop(step.job, 1)  # returns when the step has ended
        stopped.append(time.monotonic() - start_s)

    later(1, stop)
    start_s = time.monotonic()
    report = slots.run(step, 60, 0)
    assert isinstance(report.outcome, StepStopped)
    assert time.monotonic() - start_s < 2.2
    until(lambda: stopped)
    assert stopped[0] < 1
    assert isinstance(slots.run(put(echo="a"), 60, 0).outcome, ResultPublished)


def test_steps_of_a_stopped_claim_are_not_begun_and_those_of_a_later_one_are(
    slots: SlotPool, put: Callable[..., Step]
) -> None:
    step = put(echo="a", fence=3)
    slots.stop(step.job, 3)
    assert slots.run(step, 60, 0) == StepReport(StepStopped(), 0)
    assert isinstance(slots.run(Step(step.job, 4, "echo", "begin", "plan-4"), 60, 0).outcome, ResultPublished)


def test_a_step_over_its_time_is_killed(slots: SlotPool, put: Callable[..., Step], configuration: Path) -> None:
    slots.run(classify(put, configuration, "slow"), 60, 0)
    start_s = time.monotonic()
    outcome = slots.run(classify(put, configuration, "slow", 1000), 1, 0).outcome
    assert time.monotonic() - start_s < 4
    assert isinstance(outcome, StepFailed)
    error = from_record(outcome.error)
    assert isinstance(error, LimitError)
    assert "section_timeout_s = 1" in error.detail
    assert not outcome.is_final


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_ends_is_told_of_and_replaced(
    slots: SlotPool, put: Callable[..., Step], number: signal.Signals
) -> None:
    slots.run(put(echo="a"), 60, 0)
    before = children()
    for pid in before:
        later(0.7, lambda pid=pid: os.kill(pid, number))  # type: ignore[misc]
    outcome = slots.run(put(echo="a", pause=5), 60, 0).outcome
    assert isinstance(outcome, SlotEnded)
    assert outcome.reason == f"it was ended by {number.name}"
    until(lambda: len(children() - before) >= 1)
    assert isinstance(slots.run(put(echo="a"), 60, 0).outcome, ResultPublished)


def test_where_the_process_is_gone_that_slots_are_forked_from_there_is_another(
    slots: SlotPool, put: Callable[..., Step]
) -> None:
    slots.run(put(echo="a"), 60, 0)
    for pid in children():
        parent = psutil.Process(pid).parent()
        if parent is not None and parent.pid != os.getpid():
            parent.kill()
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not children())
    outcomes = [slots.run(put(echo="a"), 60, 0).outcome for _ in range(4)]
    assert isinstance(outcomes[-1], ResultPublished)
    assert all(isinstance(outcome, ResultPublished | SlotEnded) for outcome in outcomes)


@pytest.mark.parametrize("interval", [1, 3])
def test_a_process_does_no_more_sections_of_a_job_than_it_may(
    slots: SlotPool, put: Callable[..., Step], interval: int, configuration: Path
) -> None:
    step = classify(put, configuration)
    steps = (Step(step.job, 1, "classify-objects", "begin", f"plan-{number}") for number in range(7))
    used = [slots.run(step, 60, interval).pid for step in steps]
    assert [second != first for first, second in pairwise(used)] == [number % interval == 0 for number in range(1, 7)]
    others = {slots.run(classify(put, configuration), 60, 3).pid for _ in range(5)}  # each of another job
    assert len(others) == 1


def test_slots_work_side_by_side(slots: SlotPool, put: Callable[..., Step]) -> None:
    slots.run(put(echo="a"), 60, 0)
    start_s = time.monotonic()
    threads = [threading.Thread(target=slots.run, args=(put(echo="a", pause=1), 60, 0)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1.9 < time.monotonic() - start_s < 5


def test_all_that_runs_can_be_interrupted(slots: SlotPool, put: Callable[..., Step]) -> None:
    later(1, slots.interrupt)
    assert isinstance(slots.run(put(echo="a", pause=30), 60, 0).outcome, StepStopped)
    assert isinstance(slots.run(put(echo="a"), 60, 0).outcome, ResultPublished)


OWNER = """
import sys, time
from pathlib import Path
from processes.jobs.slots import SlotPool
from processes.settings import load_settings
path = Path(sys.argv[1])
slots = SlotPool(path, load_settings(path), 2)
slots.start()
print("ready", flush=True)
time.sleep(60)
"""


def test_processes_end_with_their_owner_and_its_files_go_at_the_next_start(
    configuration: Path, settings: Settings
) -> None:
    command = [sys.executable, "-c", OWNER, str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=clean_environment()) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        until(lambda: len(slots_of(owner.pid)) == 2)
        started = psutil.Process(owner.pid).children(recursive=True)
        left = set((settings.state / "work").glob("slots-*"))
        owner.kill()
    until(lambda: not any(process.is_running() for process in started), 5)
    assert left
    slots = SlotPool(configuration, settings, 1)
    slots.start()
    assert set((settings.state / "work").glob("slots-*")) == {slots.folder}
    slots.close()


@pytest.mark.parametrize("is_locked", [True, False])
def test_folder_of_a_start_that_was_cut_off_goes_at_the_next_start(
    is_locked: bool, configuration: Path, settings: Settings
) -> None:
    left = settings.state / "work" / "slots-left"
    (left / "scratch").mkdir(parents=True)
    if is_locked:
        (left / "lock").touch()
    slots = SlotPool(configuration, settings, 1)
    slots.make_folder()
    assert not left.exists()
    slots.close()


def test_workers_that_start_at_the_same_time_keep_their_folders(configuration: Path, settings: Settings) -> None:
    for _ in range(20):
        pools = [SlotPool(configuration, settings, 1) for _ in range(6)]
        with ThreadPoolExecutor(len(pools)) as threads:
            list(threads.map(SlotPool.make_folder, pools))
        assert all(pool.folder.is_dir() for pool in pools)
        for pool in pools:
            pool.close()


def test_there_is_a_slot_per_gpu_else_per_core(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.jobs.slots.count_gpus", lambda: 0)
    monkeypatch.setattr("processes.jobs.slots.available_threads", lambda: 6)
    assert slot_count(replace(settings, slots=None)) == 6
    assert slot_count(replace(settings, slots=4)) == 4
    monkeypatch.setattr("processes.jobs.slots.count_gpus", lambda: 2)
    assert slot_count(replace(settings, slots=None)) == 2


def test_a_slot_is_free_again_where_no_folder_can_be_made_for_its_step(
    slots: SlotPool, put: Callable[..., Step]
) -> None:
    away = slots.folder.rename(slots.folder.with_name("away"))
    for _ in range(slots.count + 1):
        with pytest.raises(OSError, match="No such file"):
            slots.run(put(echo="a"), 60, 0)
    away.rename(slots.folder)
    assert isinstance(slots.run(put(echo="a"), 60, 0).outcome, ResultPublished)


def test_slots_that_are_lent_outlive_what_a_scheduler_gives_a_worker(slots: SlotPool, put: Callable[..., Step]) -> None:
    worker = SimpleNamespace()

    async def take_and_leave() -> None:
        lent, own = LentSlotsPlugin(slots), OwnSlotsPlugin()
        await lent.setup(worker)
        await own.setup(worker)
        await own.teardown(worker)
        await lent.teardown(worker)

    asyncio.run(take_and_leave())
    assert isinstance(slots.run(put(echo="a"), 60, 0).outcome, ResultPublished)
    assert LentSlotsPlugin.name != OwnSlotsPlugin.name  # else one takes the place of the other


def test_closing_twice_closes_no_file_of_others(configuration: Path, settings: Settings) -> None:
    slots = SlotPool(configuration, settings, 1)
    slots.start()
    slots.close()
    with socket.socket() as other:  # it gets the number that is free
        slots.close()
        assert other.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def test_slots_are_left_with_what_they_need_and_a_second_process_with_the_network(
    configuration: Path, settings: Settings
) -> None:
    (settings.state / "jobs.sqlite3").touch()
    slots = SlotPool(configuration, settings, 1, "confined_probe")
    slots.start()
    try:
        local, remote, again, after = (
            slots.run(Step(job, 1, process, "section", "plan-1", 1), 60, 0)
            for job, process in (("a", "echo"), ("b", "hosts"), ("b", "hosts"), ("a", "echo"))
        )
        assert (local.pid, remote.pid) == (after.pid, again.pid)
        assert local.pid != remote.pid
        for report in (local, remote):
            assert isinstance(report.outcome, StepFailed)
            found = report.outcome.error
            assert found["privileges"] == "1"
            assert found["files"] == settings.limits.max_file_mb * 2**20
            assert found["memory"] < 2**40
            if kernel.can_refuse_calls():
                assert found["filters"] == "2"
            if kernel.landlock_version() >= 1:
                assert found["reads"] == ["work", "results"]
    finally:
        slots.close()
    assert not children()


@pytest.fixture
def other_slot(configuration: Path, tmp_path: Path) -> Iterator[Callable[..., SlotPool]]:
    """Return a function that gives one slot with imagery, and limits, of its own; jobs' files are those of `put`."""
    with contextlib.ExitStack() as stack:

        def make(imagery: Path, **limits: int) -> SlotPool:
            own = configure(tmp_path, models=[configuration.parent / "models"], imagery=[imagery], limits=limits)
            own.write_text(own.read_text().replace(str(tmp_path / "state"), str(configuration.parent / "state")))
            slots = SlotPool(own, load_settings(own), 1)
            slots.start()
            stack.callback(slots.close)
            return slots

        yield make


def test_imagery_that_comes_later_is_read(
    other_slot: Callable[..., SlotPool], tmp_path: Path, put: Callable[..., Step]
) -> None:
    """A slot's process cannot see a folder that was not there when it gave up all others."""
    late = tmp_path / "late"
    slots = other_slot(late)

    def run() -> StepReport:
        return slots.run(put("classify-objects", image=link(late / "b.tif"), model="quick"), 60, 0)

    before = run()
    late.mkdir()
    make_raster(late / "b.tif")
    after = run()
    assert isinstance(before.outcome, StepFailed)
    assert isinstance(after.outcome, ResultPublished), after.outcome
    assert before.pid != after.pid == run().pid


def test_an_image_that_takes_all_memory_fails_its_own_job_by_the_limits_name(
    other_slot: Callable[..., SlotPool], tmp_path: Path, put: Callable[..., Step]
) -> None:
    make_raster(tmp_path / "small.tif")
    block = {"blockxsize": 16_384, "blockysize": 16_384}  # 805 MB
    write_sparse(tmp_path / "large.tif", 16_384, compress="deflate", sparse_ok=False, **block)
    slots = other_slot(tmp_path, max_slot_mb=900)
    before, large, after = (
        slots.run(put("classify-objects", image=link(tmp_path / name), model="quick"), 60, 0)
        for name in ("small.tif", "large.tif", "small.tif")
    )
    assert isinstance(large.outcome, StepFailed)
    error = from_record(large.outcome.error)
    assert isinstance(error, LimitError)
    assert "the limit max_slot_mb = 900 allows" in error.detail
    for report in (before, after):
        assert isinstance(report.outcome, ResultPublished), report
    assert psutil.pid_exists(before.pid)
