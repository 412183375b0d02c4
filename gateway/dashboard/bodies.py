"""A run's whole input or result: from its journal, from a blob, or what the history keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import orjson

from tidemill.history.rows import Body
from tidemill.kernel.envelope import edited_data
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from gateway.dashboard.services import Services
    from tidemill.kernel.services.run_view import RunView

Which = Literal["input", "result"]
NAMES: Final[tuple[Which, ...]] = ("input", "result")


async def find_body(services: Services, run: str, which: Which) -> Body:
    """Return an input or a result, whole where that is possible.

    Raises:
        NotFoundError: there is no such run, or nothing of it is kept any more.
        HistoryError: its journal is closed, and the history can't be asked.
        BrokerError: the broker can't be asked.
    """
    view = await _living(services, run)
    if view is None:
        detail = await services.history.run(run)
        return detail.payload if which == "input" else detail.result
    data = await _input(services, view) if which == "input" else _result(view)
    return Body(size=len(data), data=data)


async def _living(services: Services, run: str) -> RunView | None:
    """Return a run whose journal hasn't been closed."""
    try:
        view = await services.runs.get(run)
    except NotFoundError:
        return None
    return view if view.state.created is not None else None


async def _input(services: Services, view: RunView) -> bytes:
    created = view.state.created
    if created is None:
        raise NotFoundError(f"the input of {view.id} is gone")
    edited = edited_data(created.event) if created.event is not None else None
    if edited is not None:
        return edited
    return await services.broker.blobs.get(created.blob) if created.blob else created.raw


def _result(view: RunView) -> bytes:
    if not view.ended:
        raise NotFoundError(f"{view.id} has no result yet", hint=f"it is {view.status}")
    return orjson.dumps(view.result)
