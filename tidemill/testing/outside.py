"""The outside of a stage's runs: what was prepared for them, who listens, what they have executed."""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tidemill.durable.waits import token_box
from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.task import FnTask
from tidemill.testing.session import Triggered
from tidemill.testing.words import Decision, Happened, Said, Stand, Word

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tidemill.durable.port import Child, Listening, OpenToken
    from tidemill.testing.memory import Memory
    from tidemill.testing.replied import Replied

    AnyTask = FnTask[Any, Any, Any, Any]


class Outside:
    """What is around a stage's runs.

    Attributes:
        tasks: those whose runs are executed, by id and alias.
        stands: what stands for the runs of other tasks.
        asked: the runs that something stood for, in order.
        executed: how often each step's function was called, by run and key.
        repeated: finished steps that were executed again: there must be none.
        replies: what runs have answered the senders of their events, in order.
        sender_waits: whether somebody waits for it.
        problem: what is wrong with what was prepared.
    """

    def __init__(self, memory: Memory, chance: random.Random | None) -> None:
        self.tasks: dict[str, AnyTask] = {}
        self.stands: dict[str, Stand] = {}
        self.asked: list[Triggered] = []
        self.executed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.repeated: list[tuple[str, str]] = []
        self.replies: list[Replied] = []
        self.sender_waits = True
        self.problem: Exception | None = None
        self._memory = memory
        self._chance = chance
        self._planned: list[tuple[float, int, Word]] = []
        self._numbers = itertools.count()
        self._decisions: list[Decision] = []
        self._signals: list[Said] = []
        self._events: list[Happened] = []
        self._given: defaultdict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        self._tokens: dict[tuple[str, str], OpenToken] = {}
        self._listening: list[tuple[str, Listening, float]] = []

    def serve(self, task: AnyTask) -> None:
        """Have a task's runs executed, and those of the tasks that its code names."""
        if self.tasks.get(task.id) is task:
            return
        for name in (task.id, *task.definition.aliases):
            self.tasks[name] = task
        hooks = task.hooks_task()
        for name in (hooks.id, *hooks.definition.aliases):
            self.tasks[name] = hooks
        for other in _named_by(task):
            if other.id not in self.tasks:
                self.serve(other)

    def has_hooks(self, task: str) -> bool:
        """Say whether hooks hear of the end of a task's runs."""
        return task in self.tasks and self.tasks[task].definition.hooks

    def require(self, task: str) -> None:
        """Check that a task is known.

        Raises:
            NotFoundError: its runs would wait for ever.
        """
        if task not in self.tasks:
            raise NotFoundError(
                f"no task {task!r} is on the stage",
                hint=f"testing.play({task}) puts it there, stage.answer({task}, …) stands for its runs",
            )

    def stands_for(self, child: Child) -> bool:
        """Say whether something stands for the runs of a child's task; if so it has ended."""
        stand = self.stands.get(child.task)
        if stand is None:
            return False
        if all(one.run_id != child.run for one in self.asked):
            self.asked.append(Triggered(child.run, child.task, child.payload, dict(child.options), None))
        item = stand.item(child)
        if item is not None and child.parent is not None:
            self._memory.tell(child.parent.run, item)
        return True

    def plan(self, word: Word, at: float) -> None:
        """Have something said at a moment of the stage's clock."""
        heapq.heappush(self._planned, (at, next(self._numbers), word))
        self._memory.on_change()

    def next_word(self) -> float | None:
        """Return when the next thing is to be said."""
        return self._planned[0][0] if self._planned else None

    def speak(self) -> None:
        """Say what is due."""
        while self._planned and self._planned[0][0] <= self._memory.now:
            word = heapq.heappop(self._planned)[2]
            if isinstance(word, Decision):
                self._decisions.append(word)
            elif isinstance(word, Said):
                self._signals.append(word)
            else:
                self._events.append(word)
                self._spread(word)
        self._hand_out()

    def open_token(self, run: str, token: OpenToken) -> None:
        """Hear that a run asks for a decision."""
        self._tokens.setdefault((run, token.key), token)
        self._hand_out()

    def listen(self, run: str, listening: Listening, now: float) -> None:
        """Hear that a run waits for events; those of its lookback are told at once."""
        if any(one == run and other.box == listening.box for one, other, _ in self._listening):
            return
        self._listening.append((run, listening, now))
        for event in self._events:
            if event.at >= now - listening.lookback and event.fits(listening):
                self._memory.tell(run, event.item(listening, run))

    async def turns(self) -> None:
        """Let some time pass for the others, as an answer of a broker takes."""
        for _ in range(self._chance.randrange(4) if self._chance is not None else 1):
            await asyncio.sleep(0)

    def count(self, run: str, key: str) -> None:
        """Count the execution of a step."""
        self.executed[run][key] += 1
        finished = self._memory.state(run).steps.get(key)
        if finished is not None and finished.outcome == "done":
            self.repeated.append((run, key))

    def _spread(self, event: Happened) -> None:
        for run, listening, _ in self._listening:
            if (listening.until is None or event.at <= listening.until) and event.fits(listening):
                self._memory.tell(run, event.item(listening, run))

    def _hand_out(self) -> None:
        """Give decisions and signals to the runs that they are for."""
        for decision in tuple(self._decisions):
            if (place := self._asks_for(decision)) is not None:
                self._decisions.remove(decision)
                self._decide(place, decision)
        first = next(self._memory.runs(), None)
        for said in tuple(self._signals):
            if (run := said.run or first) is not None:
                self._signals.remove(said)
                self._memory.tell(run, said.item(self._memory.now))

    def _asks_for(self, decision: Decision) -> tuple[str, str] | None:
        """Return the mailbox of the run that asked first for such a decision, and needs more of them."""
        box = token_box(decision.name)
        for place, token in self._tokens.items():
            given = self._given[place].values()
            if place[1] == box and all(given) and len(given) < token.quorum:
                return place
        return None

    def _decide(self, place: tuple[str, str], decision: Decision) -> None:
        token = self._tokens[place]
        by = decision.by or next(iter(token.approvers), "somebody")
        if token.approvers and by not in token.approvers:
            self.problem = ConflictError(
                f"{by} doesn't decide on {token.name!r}",
                hint=f"ask {', '.join(token.approvers)}",
            )
            return
        self._given[place].setdefault(by, decision.approved)
        self._memory.tell(place[0], decision.item(by, self._memory.now))


def _named_by(task: AnyTask) -> Iterator[AnyTask]:
    """Return the tasks that a task's module and the function around it have names for."""
    function = inspect.unwrap(task)
    around = inspect.getclosurevars(function).nonlocals
    for value in (*vars(inspect.getmodule(function) or object).values(), *around.values()):
        if isinstance(value, FnTask):
            yield value
