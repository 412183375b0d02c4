"""What gateways have reported about drift, added up by place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS: Final = ("source", "type", "kind", "path", "events", "example", "first_seen", "last_seen")
_Key = tuple[str, str, str, str]


def summed(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add reports up, and return what they found, what was seen last first."""
    found: dict[_Key, dict[str, Any]] = {}
    for report in reports:
        for one in report.get("findings", []):
            key = (report["source"], report["type"], one["kind"], one["path"])
            row = found.setdefault(
                key,
                dict(zip(COLUMNS, (*key, 0, one.get("example"), report["at"], report["at"]), strict=True)),
            )
            row["events"] += one["events"]
            row["first_seen"] = min(row["first_seen"], report["at"])
            row["last_seen"] = max(row["last_seen"], report["at"])
    return sorted(found.values(), key=lambda row: str(row["last_seen"]), reverse=True)
