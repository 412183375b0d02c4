"""The handlers of the demonstration: written as a user would write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tidemill import Abort, Context, Event, Retry, task


class Push(BaseModel):
    """What the deployment needs of a push; the rest of the payload is let through."""

    after: str
    commits: list[dict[str, Any]]


@dataclass
class Report:
    """What a deployment says of itself."""

    commit: str
    commits: int


@task(on="github.push", where="data.ref == 'refs/heads/main'")
async def deploy(push: Push, ctx: Context) -> Report:
    """Deploy what was pushed to the main branch."""
    ctx.log.info("deploying %s", push.after)
    return Report(push.after[:7], len(push.commits))


@task(on="github.issues.opened", retry=Retry(max_attempts=5, min_delay=0.5, max_delay=1))
async def triage(issue: dict[str, Any], ctx: Context) -> str:
    """Label a new issue; the labelling service is down for the first two attempts."""
    if ctx.attempt <= 2:  # noqa: PLR2004 - the story of the demonstration
        raise ConnectionError(f"the labelling service is down (attempt {ctx.attempt})")
    return f"labelled #{issue['issue']['number']}"


@task(on="stripe.invoice.paid")
def book(invoice: Event[dict[str, Any]]) -> str:
    """Book a paid invoice: a plain function, executed in a thread."""
    return f"booked {invoice.data['data']['object']['amount_paid']} of {invoice.subject}"


@task(on="crm.>")
async def greet(contact: dict[str, Any]) -> str:
    """Greet a new contact."""
    return f"greeted after {contact['type']}"


@task(on="github.release.published", retry=Retry(max_attempts=3))
async def announce() -> None:
    """Announce a release; nobody may do that from here."""
    raise Abort("announcements are switched off")
