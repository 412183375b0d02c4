"""Signals from outside: news that a run gets by name, and keeps until its code asks for them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import orjson

from tidemill.kernel.decision import check_text
from tidemill.kernel.errors import ConflictError, PayloadError
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.services.mail import MOST_BYTES, bring

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.run_view import RunView
    from tidemill.kernel.services.runs import Runs


class RunSignals:
    """Sends signals to runs."""

    def __init__(self, broker: Broker, runs: Runs) -> None:
        self._broker = broker
        self._runs = runs

    async def send(
        self, run: str, name: str, data: bytes = b"null", key: str | None = None
    ) -> dict[str, Any]:
        """Send a signal with data, which are JSON text, and return what came of it.

        With a `key` it reaches the run once, however often it is sent. The answer is `done` when it stands in
        the run's journal, `queued` when it is stored and will.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: the run has ended, or the key was used with other data.
            PayloadError: name, key or data can't be used.
            BrokerError: it wasn't stored, or it is unknown whether it was.
        """
        content = _checked(name, data, key)
        box, item_id = f"signal:{name}", f"signal-{_id_of(name, key)}"
        view = await self._runs.get(run)
        told = {"run_id": run, "signal": name, "id": item_id}
        known = view.state.boxes.get(box, {}).get(item_id)
        if known is not None:
            before = orjson.loads(await self._broker.blobs.get(known.blob)) if known.blob else known.data
            if before != orjson.loads(content):
                raise ConflictError(
                    f"the idempotency key {key!r} was used for another signal {name!r} of {run}",
                    hint="use another key for another signal",
                )
            return told | {"answer": "done"}
        if view.ended:
            raise _ended(view, name)
        item = Item(id=item_id, box=box, who=item_id, at=time.time())
        answer = await bring(self._broker, run, item, content)
        if answer == "gone":
            raise _ended(await self._runs.get(run), name)
        return told | {"answer": answer}


def _checked(name: str, data: bytes, key: str | None) -> bytes:
    check_text("a signal's name", name, hint="name it as the code does")
    if key is not None:
        check_text("an idempotency key", key)
    if len(data) > MOST_BYTES:
        raise PayloadError(
            f"the data have {len(data)} bytes",
            hint=f"at most {MOST_BYTES}: send where they are",
        )
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the data are no JSON: {error}", hint="send a JSON value") from error
    return data


def _id_of(name: str, key: str | None) -> str:
    return f"{name}-{key}" if key is not None else secrets.token_hex(12)


def _ended(view: RunView, name: str) -> ConflictError:
    return ConflictError(
        f"{view.id} takes no signal {name!r}: it has ended and is {view.status}",
        hint="a signal reaches runs that go on; `tidemill runs retry` reopens one that has failed",
    )
