"""What a run's fork takes over of its journal: what stood before the point, as far as it was over there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from tidemill.kernel.protocol.records import Created, Entry, Item, News, Record, Spawned, Step, Taken, Wait
from tidemill.kernel.protocol.state import State, fold

_TRIGGER: Final = "trigger:"
_ASKED: Final = ("approval", "token")
_RACE: Final = "first"
_RACED: Final = {"winner", "keys"}


@dataclass(frozen=True, slots=True)
class Point:
    """The record before which everything is taken over, and the part that is done anew, where one was chosen.

    `who` is one of the part's children: then the others' ends are taken over.
    """

    seq: int
    key: str = ""
    who: str = ""


def taken_over(run: str, entries: Sequence[Entry], point: Point, started: Collection[str] = ()) -> Taken:
    """Return what a fork of a run takes over; `started` are triggers of which it is known that they were."""
    before = [entry for entry in entries if entry.seq < point.seq]
    state = fold(before)
    origin = state.created.taken if state.created is not None else None
    over = _passed(entries, point) | state.steps.keys() | started_in(entries) | set(started)
    over.discard(point.key)
    return Taken(
        run=run,
        at=point.seq,
        key=point.key,
        seed=origin.seed if origin is not None else run,
        time=state.attempt_at,
        loose=tuple(sorted(state.loose)),
        waits=tuple(_waits_over(state, over, point)),
        parts=tuple(_Sieve(run, state, point, over, _undecided(state)).parts(before)),
    )


def parts_of(entries: Sequence[Entry]) -> Iterator[Record]:
    """Yield a journal's records, those before its own that it was forked with."""
    for entry in entries:
        if isinstance(entry.record, Created) and entry.record.taken is not None:
            yield from entry.record.taken.parts
        elif entry.record is not None:
            yield entry.record


def wait_of(state: State, key: str) -> Wait | None:
    """Return the wait of a part; a step that is tried again is none."""
    wait = state.waits.get(key)
    return None if wait is None or wait.kind == "retry of step" else wait


def is_trigger(key: str) -> bool:
    """Say whether a part starts a run that nobody waits for."""
    return key.rpartition("/")[2].startswith(_TRIGGER)


def is_race(step: Step) -> bool:
    """Say whether a part is the decision of a race, which names what its branches had asked for."""
    result = step.result
    named = step.key.rpartition("/")[2].partition("#")[0] == _RACE
    return named and isinstance(result, dict) and result.keys() == _RACED


def raced(record: Step | Spawned) -> Collection[str]:
    """Return what the branches of a race had asked for that is decided with this record."""
    return record.result["keys"] if isinstance(record, Step) and is_race(record) else ()


def started_in(entries: Sequence[Entry]) -> set[str]:
    """Return the triggers of which the journal says, sooner or later, that they have started their run."""
    later = {record.after for record in parts_of(entries) if isinstance(record, Step | Spawned)}
    return {key for key in later | fold(entries).boxes.keys() if is_trigger(key)}


def _passed(entries: Sequence[Entry], point: Point) -> set[str]:
    """Return the parts that the code had behind it: it went on after them, or a race was decided on them."""
    keys = set[str]()
    for entry in entries:
        if entry.seq <= point.seq:
            records = parts_of((entry,)) if entry.seq < point.seq else iter((entry.record,))
            for record in records:
                if isinstance(record, Step | Spawned):
                    keys.add(record.after)
                    if entry.seq < point.seq:
                        keys.update(raced(record))
    return keys - {""}


def _undecided(state: State) -> set[str]:
    """Return the mailboxes of questions that are open: who has answered has answered for the other run."""
    waits = [wait for wait in state.waits.values() if wait.kind in _ASKED]
    decided = {wait.box for wait in waits if state.decided(wait)}
    return {wait.box for wait in waits} - decided


def _waits_over(state: State, over: Collection[str], point: Point) -> Iterator[Wait]:
    """Yield the waits whose time was over; a mailbox that has decided says so itself."""
    for key, wait in state.waits.items():
        if wait.until is None or wait_of(state, key) is None or key == point.key:
            continue
        passed = key in over and not wait.box
        if key in state.elapsed or passed or wait.until <= state.changed_at:
            yield wait


@dataclass(frozen=True, slots=True)
class _Sieve:
    """What of a journal's records is taken over, given the run's state before the point and what was over."""

    run: str
    state: State
    point: Point
    over: Collection[str]
    undecided: Collection[str]

    def parts(self, before: Sequence[Entry]) -> Iterator[Step | Spawned | News]:
        """Yield what still counts of the records, in their order; news that follow one another are one."""
        for of_news, records in groupby(
            parts_of(before), lambda record: not isinstance(record, Step | Spawned)
        ):
            if not of_news:
                yield from self._finished(records)
            elif items := tuple(self._heard(records)):
                yield News(rid="", items=items)

    def _heard(self, records: Iterator[Record]) -> Iterator[Item]:
        for record in records:
            for item in record.items if isinstance(record, News) else ():
                if self._counts(item):
                    # What ten thousand children have told has to fit into one record.
                    yield replace(item, id="") if item.box in self.state.spawned else item

    def _finished(self, records: Iterator[Record]) -> Iterator[Step | Spawned]:
        for record in records:
            if isinstance(record, Step) and self._is_final(record):
                yield replace(record, rid="")
            elif isinstance(record, Spawned) and self._is_final(record):
                yield replace(record, rid="", run=self._owner(record))

    def _is_final(self, record: Step | Spawned) -> bool:
        """Say whether a part's record is the one that counts, and the part isn't done anew as a whole."""
        known = self.state.steps if isinstance(record, Step) else self.state.spawned
        whole = isinstance(record, Step) or not self.point.who
        return known.get(record.key) is record and not (whole and record.key == self.point.key)

    def _counts(self, item: Item) -> bool:
        """Say whether an item is a box's first of its sender, and not an answer to what is asked anew."""
        key, chosen = self.point.key, wait_of(self.state, self.point.key)
        if item.box == key and key in self.state.spawned:
            if not self.point.who or item.who == self.point.who:
                return False
        elif (
            chosen is not None and chosen.kind != "signal" and item.box == chosen.box
        ) or item.box in self.undecided:
            return False
        return self.state.boxes.get(item.box, {}).get(item.who) is item

    def _owner(self, spawned: Spawned) -> str:
        """Return whose the children of a call stay; those that it still waits for are the fork's own."""
        if spawned.key == self.point.key:
            return ""
        ended = len(self.state.boxes.get(spawned.key, ())) >= spawned.count
        return (spawned.run or self.run) if ended or spawned.key in self.over else spawned.run
