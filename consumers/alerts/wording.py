"""What messages say. Names come from users and strangers: each is made one line of bounded, visible text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.clock import rfc3339_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumers.alerts.state import Alert, Attempt, Example, Message

LONGEST_NAME: Final = 120
LONGEST_TEXT: Final = 240
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that nobody sees, or that change how others are seen: bidirectional marks too."""
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text as one line without hidden characters, cut to a length."""
    cut = text[: 4 * longest]
    seen = "".join(" " if unicodedata.category(one) in _HIDDEN else one for one in cut)
    words = " ".join(seen.split())
    return words if len(words) <= longest and len(cut) == len(text) else f"{words[: longest - 1]}…"


def name(text: str) -> str:
    """Return a name that may come from anywhere as it can be shown."""
    return line(text, LONGEST_NAME) or "(no name)"


def took(seconds: float) -> str:
    """Return a duration in the two units that tell the most."""
    rest = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def summary(alert: Alert, window: float) -> str:
    """Return what an alert says, in one line."""
    said = _SAID[alert.kind](alert, name(alert.key), window)
    return f"{said}; this is over" if alert.over is not None else said


def title_of(message: Message) -> str:
    """Return what a message says, in one line."""
    if message.status == "held_back":
        return "messages were held back"
    if message.status == "test":
        return "this is a test"
    number = len(message.alerts) + message.more
    one = number == 1
    said = summary(message.alerts[0], message.window) if one else f"{number} alerts of {message.rule}"
    over = message.status == "resolved" and not one
    return line(f"{said}, all over" if over else said)


def held_note(attempt: Attempt, per_hour: int) -> str:
    """Return what is said of messages that haven't reached the channel, empty where all have."""
    if not attempt.held:
        return ""
    since = f" since {rfc3339_at(attempt.held_since)[:16]}Z" if attempt.held_since is not None else ""
    one = attempt.held == 1
    return (
        f"{attempt.held} earlier {'message' if one else 'messages'} did not reach this channel{since}: "
        f"it gets {per_hour} an hour at most, or took none"
    )


def document(message: Message, attempt: Attempt, base: str, instance: str) -> dict[str, Any]:
    """Return a message as data, as webhooks carry it: ids, names, numbers, errors and addresses of pages.

    Args:
        message: the message.
        attempt: how far it has come towards the channel.
        base: where browsers reach the dashboard; empty where that isn't known.
        instance: the installation's name.
    """
    return {
        "id": message.id,
        "status": message.status,
        "title": message.title,
        "instance": instance,
        "rule": message.rule,
        "kind": message.kind,
        "severity": message.severity,
        "alerts": [_alert(alert, message, base) for alert in message.alerts],
        "more": message.more,
        "held_back": attempt.held,
        "url": address(base, "/alerts"),
    }


def address(base: str, path: str) -> str | None:
    """Return the address of a page, None where nobody knows how browsers reach it."""
    return f"{base.rstrip('/')}{path}" if base and path else None


def _alert(alert: Alert, message: Message, base: str) -> dict[str, Any]:
    return {
        "key": name(alert.key),
        "rule": alert.rule,
        "kind": alert.kind,
        "status": "firing" if alert.over is None else "resolved",
        "summary": summary(alert, message.window),
        "value": round(alert.value, 3),
        "count": alert.total,
        "since": rfc3339_at(alert.since),
        "url": address(base, alert.path),
        "examples": [_example(example, base) for example in alert.examples],
    }


def _example(example: Example, base: str) -> dict[str, Any]:
    return {"id": name(example.id), "text": line(example.text), "url": address(base, example.path)}


def _runs(alert: Alert, key: str, _: float) -> str:
    return f"a run of {key} failed" if alert.total == 1 else f"{alert.total} runs of {key} failed"


def _share(alert: Alert, key: str, window: float) -> str:
    within = f" within {took(window)}" if window else ""
    return f"{alert.value:.0%} of the runs of {key} failed{within}"


def _age(alert: Alert, key: str, _: float) -> str:
    return f"a run of {key} has waited for {took(alert.value)}"


def _silent(alert: Alert, key: str, _: float) -> str:
    return f"nothing was received from {key} for {took(alert.value)}"


def _quarantined(alert: Alert, key: str, _: float) -> str:
    one = alert.total == 1
    return (
        f"a delivery of {key} is in quarantine"
        if one
        else f"{alert.total} deliveries of {key} went into quarantine"
    )


def _drift(_: Alert, key: str, __: float) -> str:
    return f"events {key} differ from what was known of them"


def _expiring(alert: Alert, _: str, __: float) -> str:
    said = line(alert.examples[0].text) if alert.examples else name(alert.key)
    return f"{said}: nobody has answered yet"


_SAID: Final[dict[str, Callable[[Alert, str, float], str]]] = {
    "run_failed": _runs,
    "failure_rate": _share,
    "queue_age": _age,
    "source_silent": _silent,
    "quarantine": _quarantined,
    "drift": _drift,
    "approval_expiring": _expiring,
}
