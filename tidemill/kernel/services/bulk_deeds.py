"""What is done to one run, dead letter or entry of the quarantine when it is done to many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.services.bulk import BulkActions
from tidemill.kernel.subjects import run_of_bulk

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.bulk import Selection
    from tidemill.kernel.services.quarantine import Quarantine
    from tidemill.kernel.services.runs import Runs


@dataclass(frozen=True, slots=True)
class RunDeeds:
    """Cancels, retries and replays runs; a dead letter is retried as its run is."""

    runs: Runs

    async def do(self, selection: Selection, item: str, *, again: bool) -> str:  # noqa: ARG002 - the run itself knows
        """Do it under the selection's name, which makes it count once."""
        name = f"bulk-{selection.token}"
        match selection.verb:
            case "replay":
                await self.runs.replay(item, again=run_of_bulk(selection.token, item))
                return "done"
            case "cancel" | "retry" as verb:
                try:
                    return await self.runs.tell(item, verb, selection.reason, name=name)
                except ConflictError:
                    # Done before by an execution that was cut short: the run says so itself.
                    if name in (await self.runs.get(item)).state.rids:
                        return "done"
                    raise
            case verb:
                raise ConflictError(f"{verb} isn't for runs")


@dataclass(frozen=True, slots=True)
class EntryDeeds:
    """Releases and discards entries of the quarantine."""

    quarantine: Quarantine

    async def do(self, selection: Selection, item: str, *, again: bool) -> str:
        """Do it to an entry that is there; nothing tells who has taken out one that isn't."""
        try:
            entry = await self.quarantine.at(int(item))
        except NotFoundError:
            if again:
                return "done"
            raise
        try:
            await (self.quarantine.discard if selection.verb == "discard" else self.quarantine.release)(entry)
        except (ConflictError, NotFoundError) as error:
            return f"{entry.key}: {error.sentence}"
        return "done"


def bulk_actions(bucket: Bucket, runs: Runs, quarantine: Quarantine) -> BulkActions:
    """Return selections of everything that something can be done to."""
    of_runs = RunDeeds(runs)
    return BulkActions(bucket, {"runs": of_runs, "dead": of_runs, "quarantine": EntryDeeds(quarantine)})
