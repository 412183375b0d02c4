"""Alerts: what fires, what was told, how the channels are doing, and what is silenced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api.alerts import who_asks
from gateway.dashboard.part import part
from gateway.problem import of_error
from tidemill.kernel.clock import seconds
from tidemill.kernel.errors import PayloadError, SettingsError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/alerts"
_SEE_OTHER: Final = 303
_SAID: Final = {
    "silenced": "It is silenced.",
    "ended": "The silence has ended.",
    "taken": "The channel has taken the test.",
    "refused": "The channel didn't take the test.",
}


@dataclass(frozen=True, slots=True)
class AlertPages:
    """Pages under `/alerts`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_alerts),
            Route("/alerts/silences", self.silence, methods=["POST"]),
            Route("/alerts/silences/{id}/end", self.end_silence, methods=["POST"]),
            Route("/alerts/channels/{channel}/test", self.test, methods=["POST"]),
        ]

    async def list_alerts(self, request: Request) -> Response:
        """Everything about alerts."""
        return await self._page(request)

    async def silence(self, request: Request) -> Response:
        """Silence alerts for a while."""
        form = form_of(request)
        given = {name: form.get(name) for name in ("rule", "key", "length", "comment")}
        try:
            document = {**given, "seconds": _seconds(given["length"])}
            del document["length"]
            await self.services.alerts.silence(document, who_asks(request))
        except PayloadError as error:
            return await self._page(request, given, error)
        return _back("silenced")

    async def end_silence(self, request: Request) -> Response:
        """End a silence."""
        await self.services.alerts.end_silence(request.path_params["id"])
        return _back("ended")

    async def test(self, request: Request) -> Response:
        """Send a test to a channel."""
        answer = await self.services.alerts.test(request.path_params["channel"])
        return _back("taken") if answer["taken"] else _back("refused", str(answer["problem"]))

    async def _page(
        self, request: Request, given: dict[str, str] | None = None, error: PayloadError | None = None
    ) -> Response:
        found, parameters = await part(self.services.alerts.show()), request.query_params
        return self.services.frame.page(
            request,
            "alerts.html",
            of_error(error).status if error is not None else 200,
            title="Alerts",
            active="alerts",
            live="" if error is not None else "/live?streams=ALERTS",
            found=found,
            alerts=_sorted(found.content["alerts"]) if found.content is not None else [],
            shown=found.content or {},
            given=given or {"rule": parameters.get("rule", "*"), "key": parameters.get("key", "*")},
            problem=error.sentence if error is not None else "",
            said=_SAID.get(parameters.get("said", ""), ""),
            because=parameters.get("because", "")[:300] if parameters.get("said") == "refused" else "",
        )


def _sorted(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return alerts, those first that fire and that nobody has silenced."""
    return sorted(alerts, key=lambda one: (one["silenced"] is not None, one["status"], one["since"] or ""))


def _back(said: str, because: str = "") -> Response:
    given = {"said": said, **({"because": because[:300]} if because else {})}
    return RedirectResponse(f"{PATH}?{urlencode(given)}", _SEE_OTHER)


def _seconds(text: str) -> float:
    """Return a duration that somebody wrote.

    Raises:
        PayloadError: it is none.
    """
    try:
        return seconds(text)
    except SettingsError as error:
        raise PayloadError(f"for how long: {error.sentence}", hint=error.hint) from error
