"""The inbox of approvals and tokens: what runs ask people, answered in the name of the login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.behalf import answers_as
from gateway.access.form import form_of
from gateway.access.identity import visit_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import show_value
from gateway.pages.form import PREFIX, WHOLE, asks_for_nothing, fields_of, read_data
from gateway.problem import of_error
from tidemill.kernel.decision import parse_decision
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.access.form import Form
    from gateway.dashboard.services import Services
    from tidemill.kernel.services.token_view import TokenView

PATH: Final = "/approvals"
_MOST: Final = 100
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class Approvals:
    """Pages under `/approvals`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes; a token's name may be any text, slashes included."""
        return [
            Route(PATH, self.list_tokens),
            Route("/approvals/{id:path}", self.show_token, methods=["GET"]),
            Route("/approvals/{id:path}", self.answer, methods=["POST"]),
        ]

    async def list_tokens(self, request: Request) -> Response:
        """What is asked for now, the newest first."""
        found = await part(self.services.tokens.list(limit=_MOST))
        return self.services.frame.page(
            request,
            "approvals.html",
            title="Approvals",
            active="approvals",
            live="/live?streams=JOURNAL",
            found=found,
            tokens=found.content or [],
            most=_MOST,
        )

    async def show_token(self, request: Request) -> Response:
        """One token, open or decided, with the form that answers it."""
        view = await self.services.tokens.find(request.path_params["id"])
        return self._page(request, view)

    async def answer(self, request: Request) -> Response:
        """Approve or reject it, or give it its data."""
        token, form, visit = request.path_params["id"], form_of(request), visit_of(request)
        view = await self.services.tokens.find(token)
        try:
            approved = _said_yes(form)
            document: dict[str, Any] = {"approved": approved, "comment": form.get("comment")}
            said = form.get("by")
            document["by"] = answers_as(visit.identity, said) if visit is not None else said
            document["data"] = read_data(view.schema, _fields(form)) if approved else None
            await self.services.tokens.complete(token, parse_decision(document))
        except PayloadError as error:
            return self._page(request, view, error)
        return RedirectResponse(f"/runs/{view.run}?said=answer", _SEE_OTHER)

    def _page(self, request: Request, view: TokenView, error: PayloadError | None = None) -> Response:
        form, visit = form_of(request), visit_of(request)
        mask = self.services.reception.masks.of_token(request, view)
        return self.services.frame.page(
            request,
            "approval.html",
            of_error(error).status if error is not None else 200,
            title=view.name,
            active="approvals",
            live="" if error is not None else f"/live?run={view.run}",
            token=view,
            summary=view.summary(),
            answers=[
                one | {"shown": show_value(mask.value(one["data"]))} for one in view.details()["answers"]
            ],
            fields=fields_of(view.schema),
            nothing=view.kind == "approval" and (view.schema is None or asks_for_nothing(view.schema)),
            named=visit is not None and visit.identity.kind != "local",
            given=_fields(form),
            problem=error.sentence if error is not None else "",
        )


def _said_yes(form: Form) -> bool:
    """Return the answer of a form.

    Raises:
        PayloadError: there is none.
    """
    answer = form.get("answer")
    if answer not in ("yes", "no"):
        raise PayloadError("the form says neither yes nor no")
    return answer == "yes"


def _fields(form: Form) -> dict[str, str]:
    """Return what a form says in the fields of a token."""
    return {
        name: form.get(name)
        for name in form.names()
        if name in (WHOLE, "by", "comment") or name.startswith(PREFIX)
    }
