"""Tokens and approvals: what people are asked for, and what they answer.

The directory of waits says what is asked for; what was answered stands in the run's journal, which alone
decides: who was first, who has answered before, how many of them are enough.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import orjson

from tidemill.kernel import clock
from tidemill.kernel.decision import LONGEST, Decision, parse_decision
from tidemill.kernel.errors import (
    ConflictError,
    ExpiredError,
    NotAllowedError,
    NotFoundError,
    PayloadError,
)
from tidemill.kernel.json_faults import path_text
from tidemill.kernel.protocol.operations import ReadLeader
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.services.mail import MOST_BYTES, bring
from tidemill.kernel.services.token_view import KINDS, TokenView
from tidemill.kernel.subjects import RUN_ID

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker

_ID_HINT: Final = "a token's id is its run's id, a dot and its name; see `tidemill tokens list`"


class Tokens:
    """The tokens and approvals that runs wait for."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def list(
        self, *, task: str | None = None, run: str | None = None, limit: int = 50
    ) -> list[TokenView]:
        """Return what is asked for at present, the newest first."""
        now = time.time()
        found = [
            TokenView(facts["run"], facts["name"], facts)
            for facts in await self._broker.waiting.all()
            if facts.get("kind") in KINDS
            and task in (None, facts.get("task"))
            and run in (None, facts["run"])
            and (facts["until"] is None or facts["until"] > now)
        ]
        found.sort(key=lambda view: -view.asked_at)
        open_ones: list[TokenView] = []
        for view in found:  # an entry may outlive its wait: the journal knows
            seen = await self._look(view.run, view.name)
            if seen is not None and seen.status == "open":
                open_ones.append(seen)
            if len(open_ones) >= limit:
                break
        return open_ones

    async def find(self, token: str) -> TokenView:
        """Return a token with what was answered so far, whether it is open or not.

        Raises:
            NotFoundError: there is none.
        """
        run, name = split_id(token)
        view = await self._look(run, name)
        if view is None:
            raise NotFoundError(f"there is no token {token!r}", hint=_ID_HINT)
        return view

    async def complete(self, token: str, decision: Decision) -> dict[str, Any]:
        """Bring somebody's answer to the run, and return what came of it.

        Raises:
            NotFoundError: there is no such token.
            NotAllowedError: somebody else is asked.
            PayloadError: the answer doesn't fit what is asked for.
            ExpiredError: nobody waits for it any more.
            ConflictError: it was decided before, or the run has ended.
            BrokerError: it wasn't stored, or it is unknown whether it was.
        """
        decision = parse_decision(decision.document(), decision.key)
        view = await self.find(token)
        item = Item(
            id=f"token-{view.name}-{decision.key or secrets.token_hex(12)}",
            box=view.box,
            who=decision.by,
            ok=decision.approved,
            at=time.time(),
        )
        if any(known.id == item.id for known in view.items):
            return _outcome(view, "done")
        check_decision(view, decision)
        facts = {"comment": decision.comment, "data": decision.data, **view.question}
        content = orjson.dumps(facts)
        answer = await bring(self._broker, view.run, item, content)
        if answer == "queued":
            return _outcome(view, answer)
        view = await self.find(token)
        if all(known.id != item.id for known in view.counted):
            raise _too_late(view)  # somebody else was faster, or the run has ended meanwhile
        if view.status != "open":
            await self._broker.waiting.close(view.run, view.box)
        return _outcome(view, answer)

    async def _look(self, run: str, name: str) -> TokenView | None:
        """Return a token as directory and journal have it, None where neither knows it."""
        state: State = fold(await self._broker.performer.perform(ReadLeader(run)))
        if state.phase is Phase.ABSENT:
            return None
        facts = await self._broker.waiting.find(run, f"token:{name}")
        view = TokenView(run, name, facts, state)
        return view if facts is not None or view.items else None


def split_id(token: str) -> tuple[str, str]:
    """Return a token's run and name.

    Raises:
        NotFoundError: it can't be a token's id.
    """
    run, dot, name = token.partition(".")
    if not (dot and RUN_ID.fullmatch(run) and 1 <= len(name) <= LONGEST):
        raise NotFoundError(f"there is no token {token!r}", hint=_ID_HINT)
    return run, name


def check_decision(view: TokenView, decision: Decision) -> None:
    """Hold an answer against what is asked for.

    Raises:
        NotAllowedError: somebody else is asked.
        PayloadError: the answer doesn't fit.
        ExpiredError: nobody waits for it any more.
        ConflictError: it was decided before, or the run has ended.
    """
    if view.status != "open":
        raise _too_late(view)
    if view.approvers and decision.by not in view.approvers:
        raise NotAllowedError(
            f"{decision.by} isn't asked to decide on {view.id}", hint=f"it is for {', '.join(view.approvers)}"
        )
    before = next((item for item in view.items if item.who == decision.by), None)
    if before is not None:
        raise ConflictError(
            f"{decision.by} has answered {view.id} with {'yes' if before.ok else 'no'} at {_stamp(before)}",
            hint="everybody's first answer counts",
        )
    if view.kind == "token" and not decision.approved:
        raise PayloadError(f"{view.id} asks for data, not for yes or no", hint="complete it with data")
    if decision.approved:
        _check_data(view, decision.data)
    if len(orjson.dumps(decision.data)) > MOST_BYTES:
        raise PayloadError("data: there are too many", hint=f"at most {MOST_BYTES} bytes")


def _check_data(view: TokenView, data: Any) -> None:
    if view.schema is None:
        return
    for misfit in jsonschema_rs.validator_for(view.schema).iter_errors(data):
        place = path_text(tuple(misfit.instance_path), "data")
        missing = "give it data (--data JSON); " if data is None else ""
        raise PayloadError(
            f"{place}: {misfit.message}", hint=f"{missing}`tidemill tokens show {view.id}` prints its schema"
        )


def _too_late(view: TokenView) -> ConflictError:
    """Return why a token takes no answer any more."""
    decided = view.deciding
    if decided is not None:
        word = "rejected" if not decided.ok else ("approved" if view.kind == "approval" else "completed")
        return ConflictError(
            f"{view.id} was {word} by {decided.who} at {_stamp(decided)}", hint="it is decided once"
        )
    if view.status == "ended":
        return ConflictError(
            f"{view.id} takes no answer: its run has ended", hint=f"`tidemill runs show {view.run}` tells how"
        )
    return ExpiredError(
        f"{view.id} was to be decided until {view.until}", hint="its run has gone on without an answer"
    )


def _outcome(view: TokenView, answer: str) -> dict[str, Any]:
    told = {"token": view.id, "run_id": view.run, "answer": answer}
    return told | {"status": view.status, "missing": view.missing}


def _stamp(item: Item) -> str:
    return clock.rfc3339_at(item.at)
