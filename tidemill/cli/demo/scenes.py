"""What the demonstration sends: each scene is one HTTP request, and what has to become of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.recipes.presets import preset
from gateway.recipes.samples import body_of, find_sample, new_id
from gateway.recipes.sign import sign
from tidemill.kernel.settings.secrets import Secret

SOURCES = {"github": "github", "stripe": "stripe", "crm": "standard-webhooks"}
Change = Callable[[Any], None]


@dataclass(slots=True)
class Scene:
    """One request, and the story that it tells.

    `expect` names the delivery's status, or a run's where a run starts; `event_id` is set when it is built.
    """

    title: str
    source: str
    kind: str
    expect: str
    because: str
    task: str = ""
    sample: str = ""
    change: Change | None = None
    tampered: bool = False
    again: Scene | None = None
    event_id: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    answer: str = "…"
    outcome: str = "…"
    detail: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether what became of the request is what had to."""
        return self.outcome == self.expect

    def build(self, secret: str) -> None:
        """Write and sign the request as its provider does."""
        if self.again is not None:
            self.event_id, self.body, self.headers = self.again.event_id, self.again.body, self.again.headers
            return
        recipe, now = preset(SOURCES[self.source]), time.time()
        document = find_sample(SOURCES[self.source], self.sample or self.kind)
        if self.change is not None:
            self.change(document)
        self.event_id = new_id(recipe)
        self.body = body_of(recipe, document, event_id=self.event_id, timestamp=now)
        self.headers = sign(
            recipe, Secret(secret), self.body, event_type=self.kind, event_id=self.event_id, timestamp=now
        )
        if self.tampered:
            self.body = self.body.replace(b"main", b"evil", 1)


def _to_main(document: Any) -> None:
    document["ref"] = "refs/heads/main"


def _to_a_branch(document: Any) -> None:
    document["ref"] = "refs/heads/try-something"


def _without_number(document: Any) -> None:
    del document["issue"]["number"]


def scenes() -> Iterator[Scene]:
    """Return all requests of the demonstration, in their order."""
    push = Scene(
        "a push to main", "github", "push", "completed",
        "verified, stored, routed to the task deploy, executed", task="deploy", change=_to_main,
    )  # fmt: skip
    yield push
    yield Scene(
        "the same delivery again", "github", "push", "duplicate",
        "its delivery id is known: answered with the first one's id, no second run", again=push,
    )  # fmt: skip
    yield Scene(
        "a tampered push", "github", "push", "refused",
        "one word was changed after it was signed: 401, nothing stored", change=_to_main, tampered=True,
    )  # fmt: skip
    yield Scene(
        "a push to a branch", "github", "push", "filtered",
        "genuine, but the where of deploy is false: kept with clause and value", change=_to_a_branch,
    )  # fmt: skip
    yield Scene(
        "an issue, service down", "github", "issues.opened", "completed",
        "two attempts failed; waiting for the third held no slot and no message", task="triage",
    )  # fmt: skip
    yield Scene(
        "an issue without a number", "github", "issues.opened", "quarantined",
        "genuine, but it doesn't fit its schema: kept, and can be released", change=_without_number,
    )  # fmt: skip
    yield Scene(
        "a paid invoice", "stripe", "invoice.paid", "completed",
        "Stripe's scheme with a timestamp; a sync handler in a thread", task="book",
    )  # fmt: skip
    yield Scene(
        "a new contact", "crm", "contact.created", "completed",
        "Standard Webhooks; matched by the pattern crm.>", task="greet",
    )  # fmt: skip
    yield Scene(
        "a published release", "github", "release.published", "failed",
        "the handler raised Abort: no retry, a dead letter that can be retried", task="announce",
    )  # fmt: skip
