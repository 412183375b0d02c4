"""The example tasks of compose.yaml: mount your own module in this one's place."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill import Retry, task


@dataclass
class Push:
    """What the task below needs of GitHub's push event."""

    ref: str
    after: str


@task(on="github.push", retry=Retry(max_attempts=5, min_delay=1, max_delay=60))
async def announce(push: Push) -> str:
    """Say which branch moved to which commit."""
    branch = push.ref.removeprefix("refs/heads/")
    return f"{branch} is now at {push.after[:7]}"
