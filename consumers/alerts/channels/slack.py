"""A message for Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.

What comes from elsewhere stands in `plain_text` objects, which Slack reads no markup, mention or link from.
The one `mrkdwn` object holds an address of the dashboard alone. `text`, which notifications show, is escaped
as Slack wants it, and no markup is read in it either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from consumers.alerts.channels.posting import post
from consumers.alerts.wording import line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumers.alerts.budget import Outcome
    from consumers.alerts.channels.posting import Way
    from tidemill.kernel.settings.alerts import SlackSettings

_HEADER: Final = 150
_SECTION: Final = 2900
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_IN_LINK: Final = {"<": "%3C", ">": "%3E", "|": "%7C", "&": "&amp;"}


def body_of(document: Mapping[str, Any], heading: str, note: str) -> bytes:
    """Return what is posted."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(line(heading, _HEADER))}]
    blocks += [_section("\n".join(_lines(alert))) for alert in document["alerts"]]
    rest = [f"and {document['more']} more"] if document["more"] else []
    if rest := [*rest, *([note] if note else [])]:
        blocks.append(_section("\n".join(rest)))
    if document["url"]:
        text = f"<{_linked(document['url'])}|Open the alerts>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}})
    return orjson.dumps(
        {
            "text": _escaped(heading),
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "blocks": blocks,
        }
    )


async def send(settings: SlackSettings, way: Way, body: bytes) -> Outcome:
    """Post a message.

    Raises:
        SettingsError: the address can't be used.
    """
    url, headers = settings.address(way.environ), {"content-type": "application/json"}
    return await post(url, headers, body, way, allow_private=settings.allow_private)


def _lines(alert: Mapping[str, Any]) -> list[str]:
    """Return an alert in lines; addresses of pages are plain text, which Slack leaves as it is."""
    lines = [alert["summary"], *(f"• {one['id']}: {one['text']}" for one in alert["examples"])]
    return [*lines, *([alert["url"]] if alert["url"] else [])]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(text[:_SECTION])}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(one, one) for one in text)


def _linked(url: str) -> str:
    return "".join(_IN_LINK.get(one, one) for one in url)
