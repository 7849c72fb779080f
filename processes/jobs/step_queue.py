"""The order in which steps get slots. It knows neither slots nor a clock: its callers tell it what is free, and when.

A free slot is for
1. a step that a client waits for, before those in the background. These get a slot now and then even so;
2. the client with the fewest steps in slots, then the one whose last turn of this kind is the longest ago;
3. the client's oldest job, and the sections of a job in their order.

No kind of step holds all slots of a machine that has more than one: not those that proved long, not those of one client
while there are others, not those in the background while somebody waits for results. So the next one of another kind
finds a slot. The last of these may be taken by a client whose steps are short where all others hold long ones. Where
slots are full all the same, a step gives way: it is stopped, and begun again later, once at most.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection
from itertools import count

import msgspec

_KEPT_S = 4
"""A slot is kept for so long for those who were here last. After that it costs less to let a section give way to them,
which is begun again, than to leave a slot idle: a section takes some four seconds."""
_BACKGROUND_S = 10
"""After so many seconds without one a step in the background is the next, though others are awaited."""
_LONG_S = 5
"""A step that has run for so long is longer than a section should be."""
_KNOWN_S = 60
"""A client that had such a step is taken to have more of them for so long."""
_AWAITED_PATIENCE_S, _BACKGROUND_PATIENCE_S, _LONG_PATIENCE_S = 1, 5, 30
"""Seconds that a step waits before another one gives way to it: awaited, in the background, and long itself."""
_REMEMBERED = 1000
"""Clients whose last turn is known, and those that are known for long steps."""


class QueuedStep(msgspec.Struct, eq=False):
    """A step that waits for a slot, or has one."""

    client: str
    is_awaited: bool
    """True = a client waits for the result."""
    order: tuple[float, str, int]
    """When its job was created, the job, and the section: a client's least is the first."""
    needs_gpu: bool = False
    fence: int = 0
    """Number of the claim of its job."""
    key: str = ""
    """By which its present attempt can be stopped alone."""
    is_long: bool = False
    """True = it is taken to be long before it begins."""
    gave_way: bool = False
    """True = it was stopped once for others, and is not again."""
    is_leaving: bool = False
    """True = it is being stopped for others, and still has its slot."""
    since_s: float = 0
    """Time at which it began to wait; once it has a slot, at which it got that."""

    @property
    def job(self) -> str:
        return self.order[1]


class _Lane(msgspec.Struct):
    """Steps that wait and differ in nothing but their order."""

    client: str
    is_awaited: bool
    needs_gpu: bool
    is_long: bool
    gave_way: bool
    steps: list[tuple[tuple[float, str, int], int, QueuedStep]] = msgspec.field(default_factory=list)
    """A heap; the number in the middle tells steps of the same order apart."""

    @property
    def patience_s(self) -> float:
        """Seconds that its steps wait before another one gives way to them."""
        if self.is_awaited:
            return _AWAITED_PATIENCE_S
        return _LONG_PATIENCE_S if self.is_long else _BACKGROUND_PATIENCE_S


class _Held(msgspec.Struct, frozen=True):
    """What the steps in slots are, and who is here: waits, has a slot, or did a moment ago."""

    by_client: Counter[str]
    """Number of slots that each client holds."""
    background: int
    gpu: int
    gave_way: int
    """Number of slots that are held by steps in the background, that need a GPU, that gave way before."""
    background_long: int
    """Number of those in the background that are long, or are taken to be."""
    clients: set[str]
    is_awaited: bool
    """True = somebody is here who waits for a result."""
    long_clients: Collection[str]
    """Clients that are known for long steps."""

    def has_room(self, lane: _Lane, slots: int, gpu_slots: int) -> bool:
        """Say whether a step of a lane may have a slot that is free."""
        if lane.needs_gpu and self.gpu >= gpu_slots:
            return False
        most = slots - 1
        return slots == 1 or not (
            (lane.gave_way and self.gave_way >= most)
            or (self.clients - {lane.client} and self.by_client[lane.client] >= most)
            or (self.is_awaited and not lane.is_awaited and self.background >= most and not self._lets_in(lane, most))
        )

    def _lets_in(self, lane: _Lane, most: int) -> bool:
        """Say whether a step may have the slot that is kept for who waits: a short one, beside nothing but long ones.

        If it is longer than thought, it gives way.
        """
        is_short = not (lane.is_long or lane.gave_way) and lane.client not in self.long_clients
        return is_short and not self.by_client[lane.client] and self.background == self.background_long == most

    def without(self, step: QueuedStep) -> _Held:
        """Return what would be held if a step had no slot."""
        return msgspec.structs.replace(
            self,
            by_client=self.by_client - Counter([step.client]),
            background=self.background - (not step.is_awaited),
            background_long=min(self.background_long, self.background - (not step.is_awaited)),
            gpu=self.gpu - step.needs_gpu,
            gave_way=self.gave_way - step.gave_way,
        )


class StepQueue:
    """Steps that wait for slots, and those that have them."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, bool, bool, bool, bool], _Lane] = {}
        self._waiting: set[QueuedStep] = set()
        self._working: set[QueuedStep] = set()
        self._numbers = count()
        self._turns: dict[tuple[str, bool], int] = {}
        """Number of the last turn of each client, awaited and in the background."""
        self._long_s: dict[str, float] = {}
        """Time at which a long step of a client ended last."""
        self._seen_s: dict[str, float] = {}
        """Time at which each client was here last; only those of the last seconds."""
        self._awaited_s = -math.inf
        """Time at which a step that is awaited was here last."""
        self._background_s = -math.inf
        """Time at which one in the background got a slot last, or none waited for one."""

    def __len__(self) -> int:
        """Return the number of steps that wait."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """The number of steps that have slots."""
        return len(self._working)

    def add(self, step: QueuedStep, now_s: float) -> None:
        """Let a step wait for a slot."""
        self._note(step, now_s)
        if all(lane.is_awaited for lane in self._live_lanes()):
            self._background_s = now_s
        step.since_s, step.is_leaving = now_s, False
        key = (step.client, step.is_awaited, step.needs_gpu, step.is_long, step.gave_way)
        lane = self._lanes.setdefault(key, _Lane(*key))
        heapq.heappush(lane.steps, (step.order, next(self._numbers), step))
        self._waiting.add(step)

    def remove(self, step: QueuedStep, now_s: float) -> None:
        """Remove a step, whether it waits, has a slot, or is here no more."""
        if step in self._waiting or step in self._working:
            self._note(step, now_s)
        if step in self._working and now_s - step.since_s > _LONG_S:
            _remember(self._long_s, step.client, now_s)
        self._waiting.discard(step)
        self._working.discard(step)

    def take(self, slots: int, gpu_slots: int, now_s: float) -> QueuedStep | None:
        """Give a free slot to the next step and return it; None = no slot is free, or none of those that wait may.

        Args:
            slots: number of all slots.
            gpu_slots: number of those that have a GPU.
            now_s: the time.
        """
        in_slots = self._in_slots(gpu_slots)
        if len(in_slots) >= slots:
            return None
        held = self._held(in_slots, now_s)
        lanes = [lane for lane in self._live_lanes() if held.has_room(lane, slots, gpu_slots)]
        if not lanes:
            return None
        prefers_awaited = now_s - self._background_s <= _BACKGROUND_S

        def rank(lane: _Lane) -> tuple[bool, int, int, tuple[float, str, int]]:
            turn = self._turns.get((lane.client, lane.is_awaited), -1)
            return lane.is_awaited != prefers_awaited, held.by_client[lane.client], turn, lane.steps[0][0]

        step = heapq.heappop(min(lanes, key=rank).steps)[2]
        self._waiting.remove(step)
        self._working.add(step)
        step.since_s = now_s
        if not step.is_awaited:
            self._background_s = now_s
        _remember(self._turns, (step.client, step.is_awaited), next(self._numbers))
        return step

    def one_to_give_way(self, slots: int, gpu_slots: int, now_s: float) -> QueuedStep | None:
        """Return the step in a slot that is to give way to one that waits; None = none is.

        Of those that come into question it is the one that began last, as the least work is lost with it. Arguments
        are those of `take`.
        """
        in_slots = self._in_slots(gpu_slots)
        if len(in_slots) < slots or any(step.is_leaving for step in in_slots):
            return None
        held = self._held(in_slots, now_s)
        for lane in self._live_lanes():
            patience_s = lane.patience_s
            if lane.gave_way or now_s - lane.steps[0][2].since_s < patience_s:
                continue
            found = [step for step in in_slots if _gives_way(step, lane, held.by_client[lane.client], now_s)]
            if lane.needs_gpu and gpu_slots < slots:
                found = [step for step in found if step.needs_gpu]
            if found and held.without(step := max(found, key=lambda step: step.since_s)).has_room(
                lane, slots, gpu_slots
            ):
                return step
        return None

    def _in_slots(self, gpu_slots: int) -> set[QueuedStep]:
        """Return the steps that have slots, without those that lost theirs with its GPU: these wait in the engine."""
        with_gpu = sorted((step for step in self._working if step.needs_gpu), key=lambda step: step.since_s)
        return self._working.difference(with_gpu[gpu_slots:])

    def _held(self, steps: set[QueuedStep], now_s: float) -> _Held:
        """Return what steps in slots hold, and who is here."""
        lanes = self._live_lanes()
        long_clients = {client for client, ended_s in self._long_s.items() if now_s - ended_s < _KNOWN_S}
        long = {item for item in steps if item.is_long or item.gave_way or now_s - item.since_s > _LONG_S}
        return _Held(
            Counter(step.client for step in steps),
            background=sum(not step.is_awaited for step in steps),
            background_long=sum(
                not step.is_awaited and (step in long or step.client in long_clients) for step in steps
            ),
            gpu=sum(step.needs_gpu for step in steps),
            gave_way=sum(step.gave_way for step in steps),
            clients={lane.client for lane in lanes}.union(
                (step.client for step in steps),
                (client for client, seen_s in self._seen_s.items() if now_s - seen_s < _KEPT_S),
            ),
            is_awaited=now_s - self._awaited_s < _KEPT_S
            or any(lane.is_awaited for lane in lanes)
            or any(step.is_awaited for step in steps),
            long_clients=long_clients,
        )

    def _note(self, step: QueuedStep, now_s: float) -> None:
        """Remember who was here."""
        self._seen_s = {client: seen_s for client, seen_s in self._seen_s.items() if now_s - seen_s < _KEPT_S}
        self._seen_s[step.client] = now_s
        if step.is_awaited:
            self._awaited_s = now_s

    def _live_lanes(self) -> list[_Lane]:
        """Return the lanes in which steps wait; what was removed is dropped."""
        for key, lane in list(self._lanes.items()):
            while lane.steps and lane.steps[0][2] not in self._waiting:
                heapq.heappop(lane.steps)
            if not lane.steps:
                del self._lanes[key]
        return list(self._lanes.values())


def _remember[K, V](values: dict[K, V], key: K, value: V) -> None:
    """Enter a value as the latest one; the oldest is dropped where there are too many."""
    values.pop(key, None)
    values[key] = value
    if len(values) > _REMEMBERED:
        del values[next(iter(values))]


def _gives_way(step: QueuedStep, lane: _Lane, held: int, now_s: float) -> bool:
    """Say whether a step in a slot gives way to one that has waited long enough.

    Args:
        step: the one in a slot.
        lane: of the one that waits.
        held: number of slots that the client of this one holds.
        now_s: the time.
    """
    if step.gave_way or step.is_awaited > lane.is_awaited:
        return False
    if lane.is_awaited and not step.is_awaited:
        return True
    return step.client != lane.client and not held and now_s - step.since_s > _LONG_S
