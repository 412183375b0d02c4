"""The doctor's look at what operators have decided about tasks: what is paused, and is it in force?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.cli.finding import Finding, ok, problem, warning
from tidemill.kernel.jetstream.inspection import consumer_infos
from tidemill.kernel.protocol.hooks import hooks_task
from tidemill.kernel.services.overrides import Overrides
from tidemill.kernel.services.registry import Definitions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.services.broker import Broker


async def paused(opened: Broker) -> AsyncIterator[Finding]:
    """Name tasks that are paused, and consumers that aren't as was decided."""
    stream, found = opened.names.stream("TICKETS"), False
    states = {info["name"]: bool(info.get("paused")) async for info in consumer_infos(opened.bus, stream)}
    definitions = Definitions(opened.tasks)
    await definitions.refresh()
    aliases = {definition.id: definition.aliases for definition in definitions.active()}
    for task, override in sorted((await Overrides(opened).all()).items()):
        served = (task, *aliases.get(task, ()))
        names = map(opened.names.consumer_of, (*served, *map(hooks_task, served)))
        actual = [states.pop(name) for name in names if name in states]
        if override.paused:
            found, hint = True, f"`tidemill tasks resume {task}` lets it go on"
            yield warning("paused", f"{task} is paused {override.told()}", hint)
        if any(one != override.paused for one in actual):
            found, verb = True, "pause" if override.paused else "resume"
            text = f"{task} was {verb}d, and the broker doesn't know it"
            yield problem("paused", text, f"repeat `tidemill tasks {verb} {task}`")
    for name in sorted(name for name, one in states.items() if one):
        found, hint = True, "resume its task, or `nats consumer resume`"
        yield warning("paused", f"consumer {name} is paused on the broker", hint)
    if not found:
        yield ok("paused", "no task is paused")
