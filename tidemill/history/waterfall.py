"""A run's waterfall, folded from its row and its timeline: a pure function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from tidemill.history.rows import RunRow, Span, TimelineRow

_INNER: Final = 1


def waterfall(run: RunRow, timeline: Sequence[TimelineRow], children: Sequence[RunRow] = ()) -> list[Span]:
    """Return a run's spans in the order of their beginnings; what still goes on has no end."""
    # Who claimed the run first is only told with its second claim.
    first = next((row.data.get("worker") for row in timeline if row.kind == "first_claim"), run.worker)
    fold = _Fold(run, first)
    for row in timeline:
        fold.take(row)
    spans = fold.finish() + [_child(child) for child in children]
    return sorted(spans, key=lambda span: (span.started_at, span.depth))


class _Fold:
    """What is open while the records go by."""

    def __init__(self, run: RunRow, worker: str | None) -> None:
        self._run = run
        self._spans: list[Span] = []
        self._attempt = 1
        self._attempt_at = self._claimed_at = run.started_at
        self._worker = worker
        self._parts: dict[str, float] = {}
        self._waits: dict[str, TimelineRow] = {}
        self._news: dict[str, list[TimelineRow]] = {}
        self._backoff: TimelineRow | None = None
        self._claims: list[float] = []

    def take(self, row: TimelineRow) -> None:
        """Take in the next record."""
        reader = self._readers.get(row.kind)
        if reader is not None:
            reader(self, row)

    def finish(self) -> list[Span]:
        """Return the spans; what is open ends with the run, or stays open."""
        ended, status = self._run.ended_at, self._run.status
        self._end_execution(ended, status)
        self._end_attempt(ended, status, {})
        self._spans += [self._wait(key, row) for key, row in self._waits.items()]
        if self._backoff is not None:
            self._spans.append(_backoff(self._backoff, ended))
        return self._spans

    def _claim(self, row: TimelineRow) -> None:
        self._end_execution(row.at, "lost")
        self._claimed_at, self._worker = row.at, row.data.get("worker")
        self._attempt_at = self._attempt_at or row.at
        self._claims.append(row.at)
        if self._backoff is not None:
            self._spans.append(_backoff(self._backoff, row.at))
            self._backoff = None

    def _step(self, row: TimelineRow) -> None:
        begun = self._parts.get(row.data.get("after", ""), self._claimed_at or row.at)
        self._parts[row.key] = row.at
        self._add("step", row.key, max(begun, self._claimed_at or begun), row.at, row.outcome or "", row.data)

    def _take_over(self, row: TimelineRow) -> None:
        self._add("taken", row.key, row.at, row.at, "taken over", row.data)

    def _hear(self, row: TimelineRow) -> None:
        self._news.setdefault(row.key, []).append(row)
        if not row.data.get("children"):
            said = "ok" if row.data.get("ok") else "not ok"
            self._add("news", row.key, row.at, row.at, said, row.data)

    def _open_wait(self, row: TimelineRow) -> None:
        self._waits.setdefault(row.key, row)
        self._parts[row.key] = row.at

    def _suspend(self, row: TimelineRow) -> None:
        failed = row.key == "retry"
        self._end_execution(row.at, "failed" if failed else "suspended")
        if failed:
            self._end_attempt(row.at, "failed", row.data)
            self._attempt += 1
            self._backoff = row

    def _let_go(self, row: TimelineRow) -> None:
        self._end_execution(row.at, "released" if row.kind == "released" else "lost")

    def _end(self, row: TimelineRow) -> None:
        self._end_execution(row.at, row.outcome or "")
        self._end_attempt(row.at, row.outcome or "", row.data)

    def _reopen(self, _row: TimelineRow) -> None:
        self._attempt, self._attempt_at, self._claimed_at, self._backoff = 1, None, None, None

    _readers: ClassVar[dict[str, Callable[[_Fold, TimelineRow], None]]] = {
        "claim": _claim,
        "step": _step,
        "taken": _take_over,
        "news": _hear,
        "wait": _open_wait,
        "suspend": _suspend,
        "released": _let_go,
        "orphaned": _let_go,
        "end": _end,
        "reopened": _reopen,
    }

    def _end_execution(self, at: float | None, status: str) -> None:
        if self._claimed_at is not None:
            self._add("execution", self._worker or "", self._claimed_at, at, status, {})
            self._claimed_at = None

    def _end_attempt(self, at: float | None, status: str, data: dict[str, Any]) -> None:
        if self._attempt_at is not None:
            facts: dict[str, Any] = {name: data[name] for name in ("error", "traceback") if name in data}
            span = Span(
                kind="attempt",
                name=f"attempt {self._attempt}",
                started_at=self._attempt_at,
                ended_at=at,
                status=status,
                attempt=self._attempt,
                data=facts,
            )
            self._spans.append(span)
            self._attempt_at = None

    def _wait(self, key: str, row: TimelineRow) -> Span:
        ended, status = self._wait_end(row)
        data = row.data | {"until": row.until}
        return Span(
            kind="wait",
            name=key,
            started_at=row.at,
            ended_at=ended,
            status=status,
            depth=_INNER,
            data=data,
        )

    def _wait_end(self, row: TimelineRow) -> tuple[float | None, str]:
        """Say when a wait was over: when its mailbox held enough, when its time had come, or with the run."""
        good = bad = 0
        need, spare = row.data.get("need", 1), row.data.get("spare")
        for news in self._news.get(row.data.get("box") or "", ()):
            good += news.data.get("ok", 0)
            bad += news.data.get("count", 0) - news.data.get("ok", 0)
            if (good + bad >= need) if spare is None else (good >= need or bad > spare):
                return max(row.at, news.at), "decided"
        until = row.until
        if until is not None and any(at >= until for at in self._claims):
            return until, "elapsed"
        return self._run.ended_at, "waiting" if self._run.ended_at is None else "left"

    def _add(  # noqa: PLR0913, PLR0917 - a span's fields
        self, kind: str, name: str, begun: float, ended: float | None, status: str, data: dict[str, Any]
    ) -> None:
        self._spans.append(
            Span(
                kind=kind,
                name=name,
                started_at=begun,
                ended_at=ended,
                status=status,
                depth=_INNER,
                attempt=self._attempt,
                data=data,
            )
        )


def _backoff(row: TimelineRow, ended: float | None) -> Span:
    data = {"kind": "retry", "until": row.until}
    return Span(
        kind="wait",
        name="retry",
        started_at=row.at,
        ended_at=ended,
        status="waiting" if ended is None else "elapsed",
        depth=_INNER,
        data=data,
    )


def _child(run: RunRow) -> Span:
    return Span(
        kind="child",
        name=run.task,
        started_at=run.created_at,
        ended_at=run.ended_at,
        status=run.status,
        depth=_INNER,
        run_id=run.id,
        data={"error": list(run.error)} if run.error else {},
    )
