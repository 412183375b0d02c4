"""`tidemill tokens`: what runs ask people for, and answering it."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import Limit, TaskFilter, examples
from tidemill.cli.output import Json, show_json, show_record, show_rows
from tidemill.cli.trigger import read_payload
from tidemill.kernel.decision import Decision

app = typer.Typer(
    name="tokens", help="Look at what runs ask people for; approve, reject, complete.", no_args_is_help=True
)
TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id: RUN.NAME.")]
By = Annotated[
    str | None,
    typer.Option(help="Who answers; by default whose the API key is, else your user name."),
]
Comment = Annotated[str, typer.Option(help="Kept with the answer.")]
Data = Annotated[str, typer.Option(metavar="JSON|@FILE|-", help="What is asked for; - reads standard input.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same answer counts once.")]


@app.command("list", epilog=examples("tokens list", "tokens list --task deploy --json"))
def list_tokens(
    context: typer.Context,
    *,
    task: TaskFilter = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only of this run.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the open tokens and approvals, the newest first."""
    rows = ask(context, lambda remote: remote.tokens(task=task, run=run, limit=limit))
    columns = ("id", "task", "kind", "approvers", "missing", "asked_at", "until")
    show_rows(rows, columns=columns, as_json=as_json, empty="nobody is asked for anything")


@app.command("show", epilog=examples("tokens show run_06emc3d....ship"))
def show_token(context: typer.Context, token: TokenId, *, as_json: Json = False) -> None:
    """Show a token: what is asked for, of whom, and every answer with who, when and comment."""
    row = ask(context, lambda remote: remote.token(token))
    if as_json:
        show_json(row)
        return
    show_record({name: value for name, value in row.items() if name != "answers"}, as_json=False)
    show_rows(
        row["answers"],
        columns=("at", "by", "approved", "comment", "data"),
        as_json=False,
        empty="\nno answer yet",
    )


@app.command(
    "complete",
    epilog=examples(
        'tokens complete run_06emc3d....address --data \'{"street": "Main St 1"}\'',
        "tokens complete run_06emc3d....address --data @address.json --by ann",
    ),
)
def complete(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    token: TokenId,
    *,
    data: Data = "null",
    by: By = None,
    comment: Comment = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Give a token the data that it asks for."""
    given = orjson.loads(read_payload(data))
    _answer(
        context, token, Decision(_who(context, by), comment=comment, data=given, key=key), as_json=as_json
    )


@app.command(
    "approve",
    epilog=examples("tokens approve run_06emc3d....ship", "tokens approve run_06emc3d....ship --by ann"),
)
def approve(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    token: TokenId,
    *,
    data: Data = "null",
    by: By = None,
    comment: Comment = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say yes to an approval."""
    given = orjson.loads(read_payload(data))
    _answer(
        context, token, Decision(_who(context, by), comment=comment, data=given, key=key), as_json=as_json
    )


@app.command("reject", epilog=examples("tokens reject run_06emc3d....ship --comment 'not on a Friday'"))
def reject(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    token: TokenId,
    *,
    by: By = None,
    comment: Comment = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say no to an approval: one no decides."""
    decision = Decision(_who(context, by), approved=False, comment=comment, key=key)
    _answer(context, token, decision, as_json=as_json)


def _who(context: typer.Context, by: str | None) -> str:
    """Return who answers; empty where the API key says it."""
    if by is not None:
        return by
    client = invocation(context).settings().client
    return "" if client.url is not None and client.key is not None else getpass.getuser()


def _answer(context: typer.Context, token: str, decision: Decision, *, as_json: bool) -> None:
    row: dict[str, Any] = ask(context, lambda remote: remote.answer(token, decision))
    show_record(row, as_json=as_json)
