"""Admission: no place is lost, however a step ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from processes.jobs.admission import Admission, DismissedError, SlotCounts
from processes.jobs.step_queue import QueuedStep


def step(client: str, number: int = 0, *, awaited: bool = False) -> QueuedStep:
    return QueuedStep(client, awaited, (number, f"job{number}", 0), fence=1)


def run(test: Callable[[], object]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), 30)  # type: ignore[arg-type]

    asyncio.run(limited())


def test_steps_end_in_every_way_and_no_place_is_lost() -> None:
    async def test() -> None:
        slots, working, dice = 2, set[QueuedStep](), random.Random(3)
        admission = Admission(lambda: SlotCounts(slots))

        async def work(number: int) -> None:
            item = step(f"client{number % 3}", number, awaited=number % 2 == 0)
            await admission.enter(item)
            try:
                working.add(item)
                assert len(working) <= 3
                await asyncio.sleep(dice.random() / 500)
                if number % 5 == 0:
                    raise OSError("lost")
            finally:
                working.discard(item)
                admission.leave(item)

        tasks = [asyncio.create_task(work(number)) for number in range(300)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.002)
            slots = dice.choice((1, 2, 3))
            dice.choice(tasks).cancel()
            if dice.random() < 0.1:
                admission.stop(f"job{dice.randrange(300)}", 1)
        slots = 2
        for number in range(3):
            await work(301 + 5 * number)
        assert not working

    run(test)


def test_one_that_is_cancelled_as_it_gets_its_slot_gives_it_back() -> None:
    async def test() -> None:
        admission = Admission(lambda: SlotCounts(1))
        first, second = step("a", 1), step("a", 2)
        await admission.enter(first)
        waiting = asyncio.create_task(admission.enter(second))
        await asyncio.sleep(0)
        admission.leave(first)  # the slot is the second's now, which does not know it yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await admission.enter(step("a", 3))

    run(test)


def test_one_that_is_dismissed_waits_no_more() -> None:
    async def test() -> None:
        admission = Admission(lambda: SlotCounts(0))
        waiting = [asyncio.create_task(admission.enter(step("a", number))) for number in range(3)]
        await asyncio.sleep(0)
        admission.stop("job1", 1)
        with pytest.raises(DismissedError):
            await waiting[1]
        with pytest.raises(DismissedError):  # one that comes late
            await admission.enter(step("a", 1))
        assert not waiting[0].done()
        admission.close()
        for number in (0, 2):
            with pytest.raises(DismissedError):
                await waiting[number]

    run(test)


def test_slots_that_come_later_are_noticed() -> None:
    async def test() -> None:
        slots = 0
        admission = Admission(lambda: SlotCounts(slots))
        waiting = asyncio.create_task(admission.enter(step("a")))
        await asyncio.sleep(0)
        assert not waiting.done()
        slots = 1
        await waiting

    run(test)


@pytest.mark.parametrize("works_on_it", [True, False])
def test_a_step_is_stopped_for_one_that_has_waited_for_long(works_on_it: bool) -> None:
    async def test() -> None:
        stopped: list[QueuedStep] = []

        async def stop(item: QueuedStep) -> bool:
            stopped.append(item)
            return works_on_it

        admission = Admission(lambda: SlotCounts(1), stop)
        first, second = step("a", 1), step("b", 2, awaited=True)
        await admission.enter(first)
        waiting = asyncio.create_task(admission.enter(second))
        while len(stopped) < (1 if works_on_it else 3):
            await asyncio.sleep(0.01)
        assert set(stopped) == {first}
        assert first.gave_way is works_on_it
        admission.leave(first)
        await waiting

    run(test)
