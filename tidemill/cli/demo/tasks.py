"""The handlers of the demonstration: written as a user would write them."""

from __future__ import annotations

from typing import TypedDict

from tidemill import Abort, Context, Event, Retry, task


class Report(TypedDict):
    """What a deployment says of itself."""

    commit: str
    commits: int


@task(on="github.push", where="data.ref == 'refs/heads/main'")
async def deploy(event: Event[dict[str, object]], ctx: Context) -> Report:
    """Deploy what was pushed to the main branch."""
    commits = event.data["commits"]
    ctx.log.info("deploying %s", event.data["after"])
    return {"commit": str(event.data["after"]), "commits": len(commits) if isinstance(commits, list) else 0}


@task(on="github.issues.opened", retry=Retry(max_attempts=5, min_delay=0.5, max_delay=1))
async def triage(issue: dict[str, dict[str, object]], ctx: Context) -> str:
    """Label a new issue; the labelling service is down for the first two attempts."""
    if ctx.attempt <= 2:  # noqa: PLR2004 - the story of the demonstration
        raise ConnectionError(f"the labelling service is down (attempt {ctx.attempt})")
    return f"labelled #{issue['issue']['number']}"


@task(on="stripe.invoice.paid")
def book(invoice: dict[str, dict[str, dict[str, object]]]) -> str:
    """Book a paid invoice: a plain function, executed in a thread."""
    return f"booked {invoice['data']['object']['amount_paid']}"


@task(on="crm.>")
async def greet(contact: dict[str, object]) -> str:
    """Greet a new contact."""
    return f"greeted after {contact['type']}"


@task(on="github.release.published", retry=Retry(max_attempts=3))
async def announce() -> None:
    """Announce a release; nobody may do that from here."""
    raise Abort("announcements are switched off")
