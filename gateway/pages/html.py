"""A token's page as text: what comes from elsewhere is escaped, nothing is loaded, nothing runs."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.pages.form import PREFIX, WHOLE, asks_for_nothing, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidemill.kernel.services.token_view import TokenView

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}"
    "label{display:block;margin:1rem 0}input,textarea{font:inherit;width:100%;box-sizing:border-box}"
    "input[type=checkbox]{width:auto}button{font:inherit;padding:.4rem 1.2rem;margin-right:1rem}"
    "pre{overflow:auto}.problem{border-left:.3rem solid;padding-left:1rem}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


def asking(view: TokenView, by: str, problem: str = "", form: Mapping[str, str] | None = None) -> str:
    """Return the page that asks; `by` is who answers, empty where they say so themselves."""
    said = form or {}
    parts = [
        f"<h1>{escape(view.name)}</h1>",
        f"<p>{_question(view)}</p>",
        f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else "",
        *_answers(view),
        '<form method="post">',
        _who(by, said),
        *_data(view.schema, said),
        _comment(said),
        _buttons(view),
        "</form>",
    ]
    return _page(view.name, parts)


def told(title: str, sentence: str, hint: str = "", view: TokenView | None = None) -> str:
    """Return a page that says something and asks for nothing."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(sentence)}</p>",
        f"<p>{escape(hint)}</p>" if hint else "",
    ]
    return _page(title, [*parts, *(_answers(view) if view is not None else ())])


def _question(view: TokenView) -> str:
    task = escape(str(view.summary()["task"]))
    until = f", until {escape(view.until)}" if view.until else ""
    missing = f" {view.missing} of {view.quorum} still have to say yes." if view.quorum > 1 else ""
    what = "your decision" if view.kind == "approval" else "your data"
    return f"A run of <strong>{task}</strong> waits for {what}{until}.{missing}"


def _who(by: str, said: Mapping[str, str]) -> str:
    if by:
        return f"<p>You answer as <strong>{escape(by)}</strong>.</p>"
    known = escape(said.get("by", ""))
    return f'<label>Your name<input name="by" maxlength="255" required value="{known}"></label>'


def _comment(said: Mapping[str, str]) -> str:
    text = escape(said.get("comment", ""))
    return f'<label>Comment<textarea name="comment" rows="3">{text}</textarea></label>'


def _data(schema: Mapping[str, Any] | None, said: Mapping[str, str]) -> Iterable[str]:
    if asks_for_nothing(schema):
        return
    fields = fields_of(schema)
    if fields is None:
        text = escape(said.get(WHOLE, ""))
        plain = (schema or {}).get("type") == "string"
        label = "Data" if plain else "Data, as JSON"
        yield f'<label>{label}<textarea name="{WHOLE}" rows="5">{text}</textarea></label>'
        if schema is not None and not plain:
            shown = escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())
            yield f"<details><summary>What fits</summary><pre>{shown}</pre></details>"
        return
    for field in fields:
        name = escape(PREFIX + field.name)
        value = escape(said.get(PREFIX + field.name, ""))
        if field.type == "boolean":
            checked = " checked" if value == "on" else ""
            yield f'<label><input type="checkbox" name="{name}"{checked}> {escape(field.label)}</label>'
        else:
            # No `required`: a no needs no data.
            yield f'<label>{escape(field.label)}<input name="{name}" value="{value}"></label>'


def _buttons(view: TokenView) -> str:
    if view.kind == "token":
        return '<button name="answer" value="yes">Send</button>'
    return (
        '<button name="answer" value="yes">Approve</button><button name="answer" value="no">Reject</button>'
    )


def _answers(view: TokenView) -> Iterable[str]:
    answers = view.details()["answers"]
    if not answers:
        return
    yield "<ul>"
    for one in answers:
        word = ("yes" if one["approved"] else "no") if view.kind == "approval" else "data"
        comment = f": {escape(str(one['comment']))}" if one["comment"] else ""
        yield f"<li>{escape(one['by'])}, {escape(one['at'])}: {word}{comment}</li>"
    yield "</ul>"


def _page(title: str, parts: Iterable[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
