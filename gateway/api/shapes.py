"""Schemas of the OpenAPI documents: what requests may carry, as exactly as a schema can say, and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.api.parameters import MAX_LIMIT, MAX_SEQUENCE, MAX_TEXT
from gateway.api.run_query import MARKS, NAMES, STATES
from gateway.events.attributes import MAX_ATTRIBUTE, MEDIA, SPEC_VERSION, TAKEN, URI, URI_REFERENCE
from gateway.events.binding import MAX_EVENTS
from gateway.events.endpoint import MAX_ID, MAX_NAME
from gateway.live import LIFETIME, STREAMS
from tidemill.kernel.clock import LONGEST, PART
from tidemill.kernel.services.alerts import LONGEST_SILENCE
from tidemill.kernel.services.bulk_verbs import VERBS
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.forks import LONGEST_POINT
from tidemill.kernel.services.overrides import MOST
from tidemill.kernel.services.quarantine_query import QuarantineQuery
from tidemill.kernel.subjects import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill.kernel.services.bulk_verbs import Kind

Schema = dict[str, Any]

ANY_TEXT: Final[Schema] = {"type": "string"}
NAMED: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}
_DURATION_TEXT: Final[Schema] = {"type": "string", "pattern": rf"^({PART.pattern})+$"}
_DURATION: Final[Schema] = {
    "description": "seconds, or text like 90s or 1h30m; a hundred years at most",
    "anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST}, _DURATION_TEXT],
}
_TTL: Final[Schema] = {
    "description": "as delay, a millisecond at least",
    "anyOf": [{"type": "number", "minimum": 0.001, "maximum": LONGEST}, _DURATION_TEXT],
}
QUERY: Final[dict[str, Schema]] = {
    "version": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    "before": {"type": "integer", "minimum": 1, "maximum": MAX_SEQUENCE},
    "type": {
        "type": "string",
        "pattern": r"^(>|([^.*>]+|\*)(\.([^.*>]+|\*))*(\.>)?)?$",
        "description": "a pattern as a task's `on`: github.issues.*",
    },
}
OF_LOGS: Final[dict[str, Schema]] = {**QUERY, "after": QUERY["before"]}
OF_DELIVERIES: Final[dict[str, Schema]] = {
    "limit": QUERY["limit"],
    "before": {"type": "string", "description": "where the listing before this one says that it goes on"},
    "since": {"type": "string", "description": "an instant, or how long ago: 2026-12-01T00:00:00Z, 90m"},
}
_MOMENT: Final[Schema] = {
    "type": "string",
    "description": "an instant, or how long ago: 2026-12-01T00:00:00Z, 90m",
}
OF_FILTERS: Final[dict[str, Schema]] = {
    **QUERY,
    "since": _MOMENT,
    "until": _MOMENT,
    "outcome": {"type": "string", "description": "how the run has ended, like failed or crashed"},
    "error": {"type": "string", "description": "words of the last error, in either case"},
    "reason": {"type": "string", "description": "the code of what is wrong, like schema or not_json"},
    "text": {"type": "string", "description": "words of what is wrong, in either case"},
}
OF_HISTORY: Final[dict[str, Schema]] = {
    "limit": QUERY["limit"],
    "cursor": {"type": "string", "description": "where the page before this one says that the list goes on"},
    "since": _MOMENT,
    "until": _MOMENT,
    "status": {"type": "string", "description": "one or several, with commas between them"},
    "text": {"type": "string", "description": "words of inputs and errors; wor* for beginnings"},
    "error": {"type": "string", "description": "an error's fingerprint"},
    "state": {"enum": list(STATES)},
    "span": {"type": "integer", "enum": [60, 3600]},
    "seconds": {"type": "integer", "minimum": 1, "maximum": LIFETIME, "default": LIFETIME},
    "streams": {"type": "string", "description": f"some of {', '.join(STREAMS)}, with commas between them"},
}
OF_THE_FEED: Final[dict[str, Schema]] = {
    "type": QUERY["type"],
    "since": OF_DELIVERIES["since"],
    "after": {"type": "integer", "minimum": 0, "description": "the `seq` of the last delivery"},
}
PROBLEM: Final[Schema] = {
    "description": "RFC 9457 problem details",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:tidemill:problem:signature-mismatch"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "check": {"type": "string", "description": "the check that failed, where a request was refused"},
    },
}
RECEIPT: Final[Schema] = {
    "type": "object",
    "required": ["id", "type", "status"],
    "properties": {
        "id": {"type": "string", "description": "the event's id"},
        "type": {"type": "string", "examples": ["github.push"]},
        "status": {"enum": ["accepted", "duplicate", "quarantined"]},
        "hint": {"type": "string", "description": "what to do about a duplicate"},
    },
}
RECEIPTS: Final[Schema] = {
    "type": "object",
    "required": ["events"],
    "properties": {"events": {"type": "array", "items": RECEIPT}},
}
RUN: Final[Schema] = {
    "type": "object",
    "required": ["run_id", "status"],
    "properties": {
        "run_id": {"type": "string", "pattern": f"^{RUN_ID.pattern}$"},
        "status": {"type": "string"},
    },
}
TRIGGER: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "payload": {"description": "the task's input, any JSON"},
        "options": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "idempotency_key": NAMED,
                "delay": _DURATION,
                "at": {
                    "type": "string",
                    "format": "date-time",
                    "description": "from 1970 on, a hundred years ahead at most; instead of delay",
                },
                "ttl": _TTL,
                "tags": {"type": "array", "maxItems": 32, "items": NAMED},
            },
            "not": {"required": ["delay", "at"]},
        },
    },
}
REASON: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"reason": {"type": "string", "maxLength": MAX_TEXT}},
}
_PLAIN: Final = r"^[!-~]{1,200}$"
REHEARSAL: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "type": {"description": "the provider's type, like push", "type": "string", "pattern": _PLAIN},
        "data": {"description": "what is sent, as JSON; the type's sample where it isn't given"},
        "body": {"description": "bytes to send as they are, instead", "type": "string"},
        "id": {
            "description": "the delivery's id; a fresh one by default",
            "type": "string",
            "pattern": _PLAIN,
        },
        "tenant": {"type": "string", "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"},
        "tamper": {"description": "change a byte after signing", "type": "boolean"},
    },
}
DRY_RUN: Final[Schema] = {
    "oneOf": [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["id"],
            "properties": {"id": {"description": "a stored event's", "type": "string", "minLength": 1}},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["event"],
            "properties": {
                "event": {
                    "type": "object",
                    "required": ["type"],
                    "properties": {
                        "type": {"type": "string", "pattern": _PLAIN},
                        "source": {"type": ["string", "null"]},
                        "subject": {"type": ["string", "null"]},
                        "tenant": {"type": ["string", "null"]},
                        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                        "data": {"description": "any JSON"},
                    },
                }
            },
        },
    ]
}
REPLAY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "payload": {"description": "the new run's input, any JSON; the old one's where it isn't given"}
    },
}
FORK: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "at": {
            "description": "what is done anew: a part's key, a child's id or a record's number; "
            "all that is finished is taken over where it isn't given",
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": LONGEST_POINT},
                {"type": "integer", "minimum": 1, "maximum": MAX_SEQUENCE},
                {"type": "null"},
            ],
        }
    },
}
RELEASE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "data": {"description": "edited data, any JSON but null; the entry goes on as it is without"},
        "force": {"description": "also where they don't fit their schema", "type": "boolean"},
    },
}


def _bulk(kind: Kind, names: Sequence[str]) -> Schema:
    """Return what to do to all of one kind; runs are meant where nothing is said."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["action", "where"] if kind == "runs" else ["what", "action", "where"],
        "properties": {
            "what": {"const": kind},
            "action": {"enum": list(VERBS[kind])},
            "where": {
                "description": "filters as in an address; several statuses with commas",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"enum": list(names)},
                "additionalProperties": {"type": "string", "maxLength": 500},
            },
            "reason": {"type": "string", "maxLength": MAX_TEXT},
        },
    }


BULK: Final[Schema] = {
    "oneOf": [
        _bulk("runs", NAMES),
        _bulk("dead", DeadQuery.NAMES),
        _bulk("quarantine", QuarantineQuery.NAMES),
    ]
}
LIMIT: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["limit"],
    "properties": {
        "limit": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MOST,
            "description": "null for what the task's code says",
        }
    },
}
MARK: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["state"],
    "properties": {"state": {"enum": list(MARKS)}, "note": {"type": "string", "maxLength": MAX_TEXT}},
}
SIGNAL: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"data": {"description": "what the signal brings, any JSON"}},
}
DECISION: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "by": {"type": "string", "maxLength": 255, "description": "who answers; that is the login"},
        "approved": {"type": "boolean", "default": True},
        "comment": {"type": "string"},
        "data": {"description": "what the token asks for"},
    },
}
_GIVEN: Final[Schema] = {
    "secret": {"type": ["string", "null"], "description": "a fresh one where none is given"},
    "until": {"type": ["string", "null"], "format": "date-time", "description": "in the future"},
}
SECRET: Final[Schema] = {"type": "object", "additionalProperties": False, "properties": _GIVEN}
ROTATION: Final[Schema] = {**SECRET, "properties": {**_GIVEN, "overlap": _DURATION}}
REVERIFY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "source": {"type": ["string", "null"], "description": "of this source only"},
        "dry_run": {"type": "boolean", "default": False},
        "after": {
            "type": ["string", "null"],
            "pattern": "^.+:[0-9]{1,18}$",
            "description": "what the call before gave as `next`",
        },
        "limit": {"type": "integer", "minimum": 1, "maximum": 200},
    },
}
REVERIFY_ONE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"dry_run": REVERIFY["properties"]["dry_run"]},
}
OBJECT: Final[Schema] = {"type": "object"}
_CLEAN: Final = r"^[^\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]+$"
_TEXT: Final[Schema] = {"type": "string", "maxLength": MAX_ATTRIBUTE, "pattern": _CLEAN}
_MAYBE: Final[Schema] = {**_TEXT, "type": ["string", "null"]}
EVENT: Final[Schema] = {
    "description": "a CloudEvent 1.0 in its JSON format; other attributes are extensions, 64 at most. "
    f"Source and type have at most {MAX_NAME} characters when they are percent-encoded.",
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": {**_TEXT, "maxLength": MAX_ID},
        "source": {
            "type": "string",
            "pattern": f"^{URI_REFERENCE.pattern}$",
            "description": "a URI reference",
        },
        "specversion": {"const": SPEC_VERSION},
        "type": {"type": "string", "pattern": _CLEAN},
        "subject": _MAYBE,
        "time": {"type": ["string", "null"], "format": "date-time"},
        "datacontenttype": {"type": ["string", "null"], "pattern": f"^{MEDIA.pattern}$"},
        "dataschema": {"type": ["string", "null"], "pattern": f"^{URI.pattern}$"},
        "data": {"description": "any JSON"},
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
    "propertyNames": {
        "pattern": "^([a-z0-9]{1,40}|data_base64)$",
        "not": {"enum": sorted(TAKEN)},
    },
    "additionalProperties": {
        "anyOf": [_MAYBE, {"type": "boolean"}, {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}]
    },
    "not": {"required": ["data", "data_base64"]},
}
EVENTS: Final[Schema] = {"type": "array", "maxItems": MAX_EVENTS, "items": EVENT}
SILENCE: Final[Schema] = {
    "description": "which alerts nobody is told of, and for how long",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rule": {**NAMED, "default": "*", "description": "the rule's name, with * for any text"},
        "key": {**NAMED, "default": "*", "description": "what alerts are about, with * for any text"},
        "seconds": {"type": "number", "minimum": 1, "maximum": LONGEST_SILENCE, "default": 3600},
        "comment": {"type": "string", "maxLength": 255},
    },
}
