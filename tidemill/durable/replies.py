"""Replies: a run answers the sender of its event, once, and remembers what it has answered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tidemill.durable.steps import OneStep, Step
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.reply import STEP, Reply, replied

if TYPE_CHECKING:
    from tidemill.durable.branch import Place
    from tidemill.durable.script import Script

__all__ = ["STEP", "reply"]

_log = logging.getLogger(__name__)
_DELIVERED: Final = "delivered"


async def reply(script: Script, place: Place, body: object, status: object, media_type: object) -> bool:
    """Answer the sender of the run's event, unless the run has answered before."""
    sent: list[Reply] = []
    one = OneStep(script, place, Step(STEP), _deliver)
    if (known := await one.find()) is not None:
        return bool((await one.read(known))[_DELIVERED])
    one.begins()
    outcome: dict[str, Any] = await one.keep(await _deliver(script, (body, status, media_type), sent))
    for answer in sent:
        # Whoever has looked for it in the journal before it was there waits for it by now.
        await script.port.reply_again(answer)
    return bool(outcome[_DELIVERED])


async def _deliver(script: Script, given: tuple[object, object, object], sent: list[Reply]) -> dict[str, Any]:
    """Send an answer and return what is to be remembered of it."""
    name = f"the reply of run {script.port.run_id} of task {script.port.task_id}"
    if script.replied or replied(script.state.steps.values()) is not None:
        _log.warning("%s isn't sent: it has answered before, and the first answer counts", name)
        return {_DELIVERED: False}
    try:
        answer = Reply.made(*given)
    except PayloadError as error:
        _log.error("%s isn't sent: %s", name, error.sentence)
        return {_DELIVERED: False}
    script.replied = True
    sent.append(answer)
    delivered = await script.port.reply(answer)
    _log.debug("%s: %s", name, "sent" if delivered else "nobody waits for it")
    return {_DELIVERED: delivered, **answer.to_json()}
