"""What is known of one run: by its journal, which is the truth and may be closed, and by the history."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from gateway.dashboard.part import Part, part
from tidemill.history.from_journal import detail_from_journal
from tidemill.history.rows import Lineage, RunDetail
from tidemill.history.waterfall import waterfall
from tidemill.kernel.errors import BrokerUnavailableError, HistoryError, NotFoundError, TidemillError
from tidemill.kernel.protocol.records import Entry, decode
from tidemill.kernel.protocol.state import fold
from tidemill.kernel.services.why import could_go_on, why

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.dashboard.services import Services
    from tidemill.kernel.services.token_view import TokenView

_SAME: Final = 0.001
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class RunStory:
    """A run for its page.

    Attributes:
        detail: everything about it.
        origin: where that is from.
        why: a sentence that says what holds it or what it came to; empty where only the journal knew.
        lineage: all that belongs together with it, as far as it is known.
        tokens: what people are asked for by it now.
        closed: whether its journal is gone for good, so that nothing can be done with it any more.
        missing: sentences that say what couldn't be looked up.
    """

    detail: RunDetail
    origin: Literal["history", "journal"]
    why: str
    lineage: Lineage
    tokens: tuple[TokenView, ...]
    closed: bool
    missing: tuple[str, ...]


async def find_story(services: Services, run_id: str) -> RunStory:
    """Return what is known of a run.

    Raises:
        NotFoundError: neither journal nor history has it.
        HistoryError: its journal doesn't have it, and the history can't be asked.
        BrokerError: the history doesn't have it, and the broker can't be asked.
    """
    told, kept, family = await asyncio.gather(
        part(_by_journal(services, run_id)),
        part(_or_none(services.history.run(run_id))),
        part(_or_none(services.history.lineage(run_id))),
    )
    journal, sentence = told.content or (None, "")
    detail, origin = _newest(journal, kept.content)
    if detail is None:
        raise _unknown(run_id, told, kept)
    tokens: Part[tuple[TokenView, ...]] = Part(())
    if detail.run.ended_at is None and detail.run.waits:
        tokens = await part(_tokens(services, run_id))
    missing = [f"The broker can't be asked, so that this may be old: {told.missing}."] if told.missing else []
    if kept.missing or family.missing:
        away = kept.missing or family.missing
        missing.append(f"Children and replays aren't shown, since the history can't be asked: {away}.")
    return RunStory(
        detail=detail,
        origin=origin,
        why=sentence,
        lineage=family.content or Lineage(deliveries=(), events=(), runs=(detail.run,)),
        tokens=tokens.content or (),
        closed=journal is None and not told.missing,
        missing=tuple(missing),
    )


async def _by_journal(services: Services, run_id: str) -> tuple[RunDetail | None, str]:
    journal = services.broker.journal
    # A replica may not have heard of a new run yet: that there is none only the leader can say.
    stored = await journal.read(run_id) or await journal.read_leader(run_id)
    if not stored or (detail := detail_from_journal(run_id, stored)) is None:
        return None, ""
    state = fold(tuple(Entry(entry.seq, decode(entry.body), entry.at) for entry in stored))
    override = await services.overrides.of(state.task) if could_go_on(state) else None
    return detail, why(run_id, state, override)


async def _tokens(services: Services, run_id: str) -> tuple[TokenView, ...]:
    return tuple(await services.tokens.list(run=run_id))


async def _or_none(asked: Awaitable[Found]) -> Found | None:
    """Return what was found, None where there is no such thing."""
    try:
        return await asked
    except NotFoundError:
        return None


def _newest(
    journal: RunDetail | None, kept: RunDetail | None
) -> tuple[RunDetail | None, Literal["history", "journal"]]:
    """Return what is newest; children stand in the history alone."""
    if journal is None or kept is None:
        return journal or kept, "journal" if journal is not None else "history"
    if kept.run.changed_at >= journal.run.changed_at - _SAME:
        return kept, "history"
    spans = tuple(waterfall(journal.run, journal.timeline, kept.children))
    return replace(journal, spans=spans, children=kept.children, replays=kept.replays), "journal"


def _unknown(
    run_id: str, told: Part[tuple[RunDetail | None, str]], kept: Part[RunDetail | None]
) -> TidemillError:
    if told.missing:
        return BrokerUnavailableError(
            f"{run_id} can't be looked up: {told.missing}", hint="look again in a moment"
        )
    if kept.missing:
        return HistoryError(
            f"{run_id} has no journal, and the history, which may know it, can't be asked: {kept.missing}",
            hint="look again in a moment",
        )
    return NotFoundError(
        f"there is no run {run_id!r}", hint="ended runs are kept for as long as history.keep_runs says"
    )
