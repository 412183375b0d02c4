"""All pages of the dashboard; a view's right stands in `gateway.access.table`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.dashboard.alerts import AlertPages
from gateway.dashboard.approvals import Approvals
from gateway.dashboard.audit import AuditPage
from gateway.dashboard.bulk import BulkPages
from gateway.dashboard.dead import Dead
from gateway.dashboard.deliveries import DeliveryPages
from gateway.dashboard.dry_run import DryRunPages
from gateway.dashboard.errors import Errors
from gateway.dashboard.events import EventPages
from gateway.dashboard.forks import RunForks
from gateway.dashboard.overview import Overview
from gateway.dashboard.quarantined import QuarantinePages
from gateway.dashboard.run_actions import RunActions
from gateway.dashboard.run_page import RunPage
from gateway.dashboard.runs import RunList
from gateway.dashboard.schedules import SchedulePages
from gateway.dashboard.schemas import SchemaPages
from gateway.dashboard.sources import SourcePages
from gateway.dashboard.task_actions import TaskActions
from gateway.dashboard.tasks import Tasks
from gateway.dashboard.theme import Theme
from gateway.dashboard.trial import Trial
from gateway.dashboard.workers import Workers

if TYPE_CHECKING:
    from starlette.routing import Route

    from gateway.dashboard.services import Services

VIEWS = (
    Overview, RunList, RunActions, RunForks, RunPage, Errors, Approvals, EventPages, DeliveryPages,
    QuarantinePages, Tasks, SchedulePages, Workers, Dead, Trial, DryRunPages, BulkPages, AlertPages,
    TaskActions, SourcePages, SchemaPages, AuditPage,
)  # fmt: skip


def dashboard_routes(services: Services, *, https: bool) -> list[Route]:
    """Return the routes of all pages.

    Args:
        services: what they show, and what renders them.
        https: whether browsers reach the listener with TLS.
    """
    return [*Theme(https).routes(), *(route for view in VIEWS for route in view(services).routes())]
