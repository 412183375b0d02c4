"""What the dashboard's views ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.bulk_desk import BulkDesk
    from gateway.dashboard.frame import Frame
    from gateway.reception import Reception
    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.services.alerts import Alerts
    from tidemill.kernel.services.audit import Audit
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.dead import DeadLetters
    from tidemill.kernel.services.dry_run import DryRun
    from tidemill.kernel.services.overrides import Overrides
    from tidemill.kernel.services.pulse import Pulses
    from tidemill.kernel.services.quarantine import Quarantine
    from tidemill.kernel.services.registry import Definitions
    from tidemill.kernel.services.run_logs import RunLogReader
    from tidemill.kernel.services.runs import Runs
    from tidemill.kernel.services.schedules import Schedules
    from tidemill.kernel.services.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What stands behind the pages: the broker, which knows how things are, and the history of how they were.

    `frame` renders what they say, `reception` is the public side, whose sources they show.
    """

    frame: Frame
    broker: Broker
    history: HistoryReader
    runs: Runs
    logs: RunLogReader
    definitions: Definitions
    tokens: Tokens
    letters: DeadLetters
    quarantine: Quarantine
    pulses: Pulses
    reception: Reception
    schedules: Schedules
    dry_run: DryRun
    bulk: BulkDesk
    alerts: Alerts
    overrides: Overrides
    audit: Audit
