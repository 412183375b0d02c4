"""All pages of the dashboard, with what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.dashboard.overview import Overview
from gateway.dashboard.theme import Theme
from tidemill.kernel.services.runs import Runs

if TYPE_CHECKING:
    from starlette.routing import Route

    from gateway.dashboard.frame import Frame
    from tidemill.kernel.services.broker import Broker


def dashboard_routes(frame: Frame, broker: Broker, *, https: bool) -> list[Route]:
    """Return the routes of all pages; a view's right stands in `gateway.access.table`.

    Args:
        frame: renders them.
        broker: what they show.
        https: whether browsers reach the listener with TLS.
    """
    return [*Theme(https).routes(), *Overview(frame, Runs(broker)).routes()]
