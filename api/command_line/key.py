"""`ledger key`: a fresh API key, and the entry for it that shows nothing of it."""

from typing import Annotated

import typer

from api.access import Scope
from api.command_line.terminal import AsJson, print_json, said, to_stderr
from api.keys import entry_of, new_key, read_keys
from ledger.clock import now_us
from ledger.errors import MalformedQuestion


def _scope(text: str) -> Scope:
    if text not in set(Scope):
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(Scope)}")
    return Scope(text)


def key(
    name: Annotated[str, typer.Argument(help="What its holder is called in the audit trail.")],
    *,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            "--scope",
            parser=_scope,
            metavar="|".join(Scope),
            help="What it may (repeatable); read unless told.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE|TIME", help="2027-01-31: to the end of that day.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key: the key for its holder, and its entry for the server.

    The key is shown this once, and kept nowhere. The entry has its SHA-256;
    put it into LEDGER_API_KEYS, and let the server read that again (SIGHUP).

    For example:

    $ ledger key support-anna --scope masked --until 2027-01-31

    Exit status: 0 made; 2 no entry can be made of that.
    """
    made = new_key()
    try:
        entry = entry_of(name, scope or [Scope.READ], until, made)
    except ValueError as error:
        raise MalformedQuestion(f"no entry can be made of that: {error}") from None
    if any(each.is_expired(now_us()) for each in read_keys(entry)):
        raise MalformedQuestion(f"no key was made: --until {until} is over already, and it would open nothing")
    if as_json:
        print_json({"key": made, "entry": entry})
        return
    typer.echo(f"key\t{made}")
    typer.echo(f"entry\t{entry}")
    to_stderr().print(
        said("Give the key to its holder; it is kept nowhere. Put the entry into LEDGER_API_KEYS.", "dim")
    )
