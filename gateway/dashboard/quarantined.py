"""The quarantine: what was genuine and couldn't be processed, why, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.form import form_of
from gateway.access.identity import name_of
from gateway.api.parameters import before_of, filters
from gateway.dashboard.addresses import address_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import editable, show_masked, show_value
from tidemill.history.rows import Body
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.looking import Found
from tidemill.kernel.services.quarantine_query import QuarantineQuery

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from gateway.masking import Mask
    from tidemill.kernel.services.quarantine import Quarantined

PATH: Final = "/quarantine"
_PAGE: Final = 50
_SHOWN: Final = 64 << 10
_EDITED: Final = 1 << 20
_UNPROCESSABLE: Final = 422
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class QuarantinePages:
    """Pages under `/quarantine`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_quarantine),
            Route("/quarantine/{key:path}/release", self.release, methods=["POST"]),
            Route("/quarantine/{key:path}/discard", self.discard, methods=["POST"]),
            Route("/quarantine/{key:path}", self.show_entry),
        ]

    async def list_quarantine(self, request: Request) -> Response:
        """A page of what stands there now, the newest first."""
        given, before = filters(request, QuarantineQuery.NAMES), before_of(request)
        query = QuarantineQuery.parse(given)
        await self.services.reception.masks.check_search(request, query.text)
        found = await part(self.services.quarantine.list(query, before=before, limit=_PAGE))
        content = found.content or Found()
        return self.services.frame.page(
            request,
            "quarantine.html",
            title="Quarantine",
            active="quarantine",
            live="" if before else "/live?streams=QUARANTINE",
            found=found,
            entries=[self._mask(request, entry).quarantined(entry.summary()) for entry in content.rows],
            given=dict.fromkeys(QuarantineQuery.NAMES, "") | given,
            filtered=any(given.values()),
            first=address_of(PATH, given),
            next=address_of(PATH, given, before=content.next) if content.next else "",
        )

    async def show_entry(self, request: Request) -> Response:
        """One entry: what is wrong with it, beside its body."""
        return await self._show(request, await self.services.quarantine.find(request.path_params["key"]))

    async def _show(
        self, request: Request, entry: Quarantined, text: str | None = None, problem: str = ""
    ) -> Response:
        """Show an entry; after an attempt to edit it with what was written, and what is wrong with that."""
        read = await part(self.services.quarantine.body(entry)) if not entry.pair else None
        mask = self._mask(request, entry)
        raw = read.content if read is not None and read.content is not None else b""
        return self.services.frame.page(
            request,
            "quarantined.html",
            _UNPROCESSABLE if problem else 200,
            title="In quarantine",
            active="quarantine",
            entry=entry.summary(),
            reason=show_value(mask.seen(entry.reason)),
            text=text if text is not None else _editable(entry, raw, mask),
            problem=problem,
            forced=bool(form_of(request).get("force")),
            missing=read.missing if read is not None else "",
            body=show_masked(Body(size=len(raw), data=raw if mask.active else raw[:_SHOWN]), mask),
            facts=show_value(_facts(entry, mask)),
            headers=show_value(
                self.services.reception.redaction.show(
                    entry.event.get("source"), entry.event.get("headers") or {}
                )
            ),
        )

    async def release(self, request: Request) -> Response:
        """Send it on, as it is or with what stands in the editor."""
        entry = await self.services.quarantine.find(request.path_params["key"])
        form, edit = form_of(request), None
        if form.get("edited"):
            text, by = form.get("payload"), name_of(request)
            try:
                amendment = await self.services.reception.amendments.prepare(
                    entry, text.encode(), by, force=bool(form.get("force"))
                )
            except (PayloadError, UnicodeEncodeError) as error:
                return await self._show(request, entry, text, _problem(error))
            note(request, **amendment.told())
            edit = amendment.edit
        sent = await self.services.quarantine.release(entry, edit)
        run = sent.get("run")
        return RedirectResponse(f"/runs/{run}" if run else PATH, _SEE_OTHER)

    async def discard(self, request: Request) -> Response:
        """Take it out for good."""
        entry = await self.services.quarantine.find(request.path_params["key"])
        outcome = await self.services.quarantine.discard(entry)
        note(request, **{name: str(one) for name, one in outcome.items() if one is not None})
        return RedirectResponse(PATH, _SEE_OTHER)

    def _mask(self, request: Request, entry: Quarantined) -> Mask:
        return self.services.reception.masks.of_event(
            request, entry.event.get("source"), entry.event.get("type")
        )


def _problem(error: PayloadError | UnicodeEncodeError) -> str:
    return f"{error.sentence}: {error.hint}" if isinstance(error, PayloadError) else str(error)


def _editable(entry: Quarantined, raw: bytes, mask: Mask) -> str | None:
    """Return an entry's data for the editor, as far as they may be seen; None where they can't be shown."""
    value = entry.event.get("value")
    data = orjson.dumps(value) if value is not None else raw
    seen = mask.raw(data) if len(data) <= _EDITED else None
    return editable(Body(size=len(seen), data=seen)) if seen is not None else None


def _facts(entry: Quarantined, mask: Mask) -> dict[str, Any]:
    """Return the attributes of an entry's event, without its reason, which stands apart."""
    facts = mask.facts(entry.event)
    return {name: one for name, one in facts.items() if name not in ("headers", "quarantine")}
