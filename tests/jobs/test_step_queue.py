"""StepQueue: whose turn it is. No clock, no slot: the times are the test's."""

from __future__ import annotations

import random
from collections import Counter

from processes.jobs.step_queue import QueuedStep, StepQueue


def step(client: str, job: str = "job", section: int = 0, *, awaited: bool = False, gpu: bool = False) -> QueuedStep:
    return QueuedStep(client, awaited, (float(job.strip("job") or 0), job, section), gpu)


def put(queue: StepQueue, *steps: QueuedStep, now_s: float = 0) -> None:
    for item in steps:
        queue.add(item, now_s)


def drain(queue: StepQueue, slots: int, now_s: float = 0) -> list[QueuedStep]:
    """Return the steps in the order in which they get a slot, each of which is free again at once."""
    order = []
    while (taken := queue.take(slots, 0, now_s)) is not None:
        order.append(taken)
        queue.remove(taken, now_s)
    return order


def fill(queue: StepQueue, slots: int, now_s: float = 0, gpu_slots: int = 0) -> list[QueuedStep]:
    """Return the steps that get a slot while none is given back."""
    taken = []
    while (item := queue.take(slots, gpu_slots, now_s)) is not None:
        taken.append(item)
    return taken


def visit(queue: StepQueue, now_s: float) -> None:
    """Let somebody wait for a result, who gets a slot at once."""
    put(queue, step("visitor", "job99", awaited=True), now_s=now_s)
    taken = queue.take(2, 0, now_s)
    assert taken is not None
    assert taken.is_awaited
    queue.remove(taken, now_s)


def test_older_jobs_come_first_and_sections_in_their_order() -> None:
    queue = StepQueue()
    put(queue, *(step("a", job, section) for job in ("job2", "job1") for section in (3, 1, 2)))
    assert [item.order[1:] for item in drain(queue, 1)] == [(job, n) for job in ("job1", "job2") for n in (1, 2, 3)]


def test_who_waits_comes_before_who_does_not() -> None:
    queue = StepQueue()
    put(queue, *(step("a", section=number) for number in range(5)), step("a", "job9", awaited=True))
    assert [item.is_awaited for item in drain(queue, 1)] == [True] + 5 * [False]


def test_clients_take_turns_at_one_slot_however_many_jobs_they_have() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", f"job{number}") for number in range(50)))
    put(queue, *(step("modest", f"job{number}") for number in range(50, 53)))
    assert [item.client for item in drain(queue, 1)][:6] == 3 * ["greedy", "modest"]


def test_clients_that_wait_for_results_take_turns_too() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", f"job{number}", awaited=True) for number in range(50)))
    put(queue, step("modest", "job60", awaited=True))
    assert "modest" in [item.client for item in drain(queue, 1)][:2]


def test_slots_are_shared_between_clients_by_step() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", f"job{job}", number) for job in range(9) for number in range(9)))
    put(queue, *(step(client, "job99", number) for client in ("one", "two") for number in range(9)))
    assert Counter(item.client for item in fill(queue, 6)) == {"greedy": 2, "one": 2, "two": 2}


def test_one_client_alone_has_all_slots() -> None:
    queue = StepQueue()
    put(queue, *(step("a", section=number) for number in range(9)))
    assert len(fill(queue, 4)) == 4


def test_one_client_never_has_all_slots_while_another_is_here() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", section=number) for number in range(9)))
    visitor = step("visitor", awaited=True)
    put(queue, visitor)
    assert [item.client for item in fill(queue, 4)] == ["visitor", *(3 * ["greedy"])]
    queue.remove(visitor, 10)
    assert fill(queue, 4, 12) == []  # it may come again
    assert [item.client for item in fill(queue, 4, 15)] == ["greedy"]


def test_a_slot_is_kept_for_who_waits_though_the_client_is_the_same() -> None:
    queue = StepQueue()
    put(queue, step("a", "job9", awaited=True))
    (first,) = drain(queue, 2)
    assert first.is_awaited
    put(queue, *(step("a", section=number) for number in range(4)))
    assert len(fill(queue, 2)) == 1
    put(queue, step("a", "job10", awaited=True))
    assert [item.is_awaited for item in fill(queue, 2)] == [True]


def test_the_background_has_a_turn_though_somebody_always_waits() -> None:
    queue, last_s, gaps = StepQueue(), 0.0, []
    put(queue, *(step("a", section=number) for number in range(100)))
    for tenth in range(1000):
        put(queue, step("b", f"job{tenth + 1}", awaited=True), now_s=tenth / 10)
        taken = queue.take(1, 0, tenth / 10)
        assert taken is not None
        queue.remove(taken, tenth / 10)
        if not taken.is_awaited:
            gaps.append(tenth / 10 - last_s)
            last_s = tenth / 10
    assert 8 <= len(gaps) <= 10
    assert max(gaps) < 11


def test_as_many_steps_need_a_gpu_as_there_are_and_others_pass_them() -> None:
    queue = StepQueue()
    put(queue, *(step("a", section=number, gpu=True) for number in range(4)), step("a", "job7"))
    assert [item.needs_gpu for item in fill(queue, 8, gpu_slots=2)] == [True, True, False]


def test_steps_that_lost_their_slots_with_its_gpu_keep_no_others_out() -> None:
    queue = StepQueue()
    put(queue, *(step("a", section=number, gpu=True) for number in range(3)), step("b", "job7"), step("b", "job8"))
    held = fill(queue, 3, gpu_slots=2)
    assert [item.needs_gpu for item in held] == [True, False, True]  # two machines with a GPU, one without
    assert fill(queue, 1, gpu_slots=0) == []  # the one that is left has its step
    queue.remove(held[1], 0)
    assert [item.needs_gpu for item in fill(queue, 1, gpu_slots=0)] == [False]
    assert fill(queue, 2, gpu_slots=1) == []  # a machine is back, and its step goes on
    assert queue.working == 3
    queue.remove(held[0], 0)
    assert fill(queue, 2, gpu_slots=1) == []
    queue.remove(held[2], 0)
    assert [item.needs_gpu for item in fill(queue, 2, gpu_slots=1)] == [True]


def test_a_step_in_the_background_gives_way_once() -> None:
    queue = StepQueue()
    first, second = step("a", section=1), step("a", section=2)
    put(queue, first)
    fill(queue, 2)
    put(queue, second, now_s=1)
    fill(queue, 2, 1)
    put(queue, step("b", awaited=True), now_s=2)
    assert queue.one_to_give_way(2, 0, 2.5) is None  # a slot may become free by itself
    assert queue.one_to_give_way(2, 0, 3.1) is second  # the younger one
    second.gave_way = second.is_leaving = True
    assert queue.one_to_give_way(2, 0, 3.15) is None  # its slot will do
    queue.remove(second, 3.2)
    (awaited,) = fill(queue, 2, 3.2)
    assert awaited.is_awaited
    queue.add(second, 3.2)
    assert fill(queue, 2, 3.2) == []
    queue.remove(awaited, 4)
    assert fill(queue, 2, 9) == [second]
    put(queue, step("b", "job2", awaited=True), now_s=9)
    assert queue.one_to_give_way(2, 0, 11) is first


def test_steps_that_gave_way_never_hold_all_slots() -> None:
    queue = StepQueue()
    for number in range(4):
        item = step("a", section=number)
        item.gave_way = True
        put(queue, item)
    assert len(fill(queue, 3)) == 2
    put(queue, step("a", "job5"))
    assert len(fill(queue, 3)) == 1
    alone = StepQueue()
    put(alone, item)
    assert fill(alone, 1) == [item]


def test_long_steps_give_way_to_another_client_of_the_same_kind() -> None:
    for awaited, patience_s in ((True, 1), (False, 5)):
        queue = StepQueue()
        put(queue, *(step("greedy", section=number, awaited=awaited) for number in range(4)))
        assert len(fill(queue, 2)) == 2
        put(queue, step("other", awaited=awaited), now_s=20)
        assert queue.one_to_give_way(2, 0, 20 + 0.9 * patience_s) is None
        assert queue.one_to_give_way(2, 0, 20 + 1.1 * patience_s) is not None


def test_a_short_step_in_the_background_passes_long_ones_though_somebody_waits() -> None:
    queue = StepQueue()
    visit(queue, 0)
    put(queue, *(step(client, f"job{number}") for number, client in enumerate(("greedy", "heavy", "modest"))))
    (greedy,) = fill(queue, 2)
    visit(queue, 4)
    assert fill(queue, 2, 4.9) == []  # it may be short
    visit(queue, 5.1)
    (heavy,) = fill(queue, 2, 5.2)  # it is long, so that others pass
    assert [greedy.client, heavy.client] == ["greedy", "heavy"]
    queue.remove(heavy, 11)
    visit(queue, 11)
    (modest,) = fill(queue, 2, 11)
    queue.remove(modest, 11.1)
    visit(queue, 11.2)
    put(queue, step("greedy", "job3"), step("heavy", "job4"), now_s=11.2)
    assert fill(queue, 2, 11.3) == []  # both clients are known for long steps
    queue.remove(greedy, 12)
    assert len(fill(queue, 2, 12)) == 1


def test_what_is_known_to_be_long_does_not_keep_a_short_step_waiting() -> None:
    queue = StepQueue()
    large = [step(f"client{number}", f"job{number}") for number in range(3)]
    for item in large:
        item.is_long = True
    visit(queue, 0)
    put(queue, *large)
    assert fill(queue, 2, 0.1) == large[:1]
    put(queue, modest := step("modest", "job9"), now_s=0.2)
    assert fill(queue, 2, 0.2) == [modest]
    queue.remove(modest, 1)
    assert fill(queue, 2, 1) == []
    assert fill(queue, 2, 9) == large[1:2]  # nobody waits for results any more
    assert queue.one_to_give_way(2, 0, 29) is None
    assert queue.one_to_give_way(2, 0, 31) is large[1]


def test_a_client_that_waits_for_results_has_its_turns_in_the_background_too() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", f"job{number}") for number in range(9)), step("both", "job20"))
    for number in range(30, 39):
        put(queue, step("both", f"job{number}", awaited=True))
        queue.remove(queue.take(1, 0, 0) or step("nobody"), 0)
    assert [item.client for item in drain(queue, 1)][:2] == ["greedy", "both"]


def test_nothing_gives_way_in_vain() -> None:
    queue = StepQueue()
    put(queue, *(step("greedy", section=number, awaited=True) for number in range(9)))
    put(queue, step("other"))
    assert sorted(item.client for item in fill(queue, 2)) == ["greedy", "other"]
    assert queue.one_to_give_way(2, 0, 100) is None
    alone = StepQueue()
    put(alone, *(step("a", section=number) for number in range(9)))
    fill(alone, 2)
    assert alone.one_to_give_way(2, 0, 100) is None  # a client does not stop its own steps
    fewer = StepQueue()
    put(fewer, step("a"))
    fill(fewer, 3)
    put(fewer, step("b", awaited=True))
    assert fewer.one_to_give_way(3, 0, 100) is None  # there is a free slot


def test_no_place_is_lost_whatever_happens_to_steps_and_slots() -> None:
    dice, queue, held, waiting, now_s = random.Random(1), StepQueue(), set[QueuedStep](), set[QueuedStep](), 0.0
    for number in range(20_000):
        now_s += dice.expovariate(10)
        slots = dice.choice((0, 1, 2, 4)) if number % 100 < 20 else 4
        match dice.choice(("add", "add", "add", "take", "take", "end", "cancel", "give way", "twice")):
            case "add" if len(waiting) < 60:
                item = step(dice.choice("abcd"), f"job{number}", awaited=dice.random() < 0.3, gpu=dice.random() < 0.1)
                queue.add(item, now_s)
                waiting.add(item)
            case "take":
                taken = queue.take(slots, slots // 2, now_s)
                if taken is not None:
                    waiting.remove(taken)
                    held.add(taken)
            case "end" if held:
                item = dice.choice(sorted(held, key=lambda item: item.order))
                held.remove(item)
                queue.remove(item, now_s)
            case "cancel" if waiting:
                item = dice.choice(sorted(waiting, key=lambda item: item.order))
                waiting.remove(item)
                queue.remove(item, now_s)
            case "give way":
                leaving = queue.one_to_give_way(slots, slots // 2, now_s)
                if leaving is not None:
                    assert leaving in held
                    assert not leaving.gave_way
                    leaving.gave_way = True
                    held.remove(leaving)
                    queue.remove(leaving, now_s)
                    queue.add(leaving, now_s)
                    waiting.add(leaving)
            case "twice":
                queue.remove(step("nobody"), now_s)
        assert (len(queue), queue.working) == (len(waiting), len(held))
    for item in held:
        queue.remove(item, now_s)
    done = 0
    while waiting:
        now_s += 1
        taken = queue.take(4, 2, now_s)
        assert taken is not None
        waiting.remove(taken)
        queue.remove(taken, now_s)
        done += 1
    assert done
    assert (len(queue), queue.working) == (0, 0)
