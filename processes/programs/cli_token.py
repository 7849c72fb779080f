"""The commands `classify-objects token …`: who may use a service that asks who they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from processes.access.audit import AuditEvent, audit
from processes.access.person import Role
from processes.programs.cli_jobs import reported

if TYPE_CHECKING:
    from processes.jobs.database import Database


@click.group(invoke_without_command=True, short_help="Make, list and revoke tokens.")
@click.pass_context
def token(context: click.Context) -> None:
    """Make, list and revoke tokens, for a service whose access is `tokens`; sign people out of browsers."""
    if context.invoked_subcommand is None:
        context.invoke(list_tokens)


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.USER.value, show_default=True)
@click.option(
    "--days", type=click.IntRange(1, 36500), help="Days for which it is good; until it is revoked by default."
)
@click.pass_obj
def add(config: Path, name: str, role: str, days: int | None) -> None:
    """Make a token for somebody, and print it. It cannot be printed again."""
    from processes.jobs.token_store import TokenStore

    with _database(config) as database:
        made = TokenStore(database).add(name, Role(role), days)
        audit(AuditEvent.TOKEN, None, token=name, token_role=role)
        click.echo(str(made))


@token.command("list", short_help="List all tokens, also those that are good no longer.")
@click.pass_obj
def list_tokens(config: Path) -> None:
    """List all tokens, also those that are good no longer; never a token itself."""
    from datetime import UTC, datetime

    from processes.jobs.token_store import TokenStore

    with _database(config) as database:
        for item in TokenStore(database).tokens():
            until = "no end" if item.expires is None else f"until {item.expires:%Y-%m-%d %H:%M}"
            state = item.state(datetime.now(UTC))
            click.echo(f"{item.name:<20} {item.role:<8} {state:<7} made {item.made:%Y-%m-%d %H:%M}  {until}")


@token.command(short_help="Let somebody's token be good no longer.")
@click.argument("name")
@click.pass_obj
def revoke(config: Path, name: str) -> None:
    """Let somebody's token be good no longer; sessions of browsers that were begun with it end too."""
    from processes.jobs.token_store import TokenStore

    with _database(config) as database:
        if not TokenStore(database).revoke(name):
            raise click.ClickException(f"there is no good token {name!r}")
        audit(AuditEvent.TOKEN_REVOKED, None, token=name)
        click.echo(f"{name} revoked")


@token.command("sign-out")
@click.argument("name")
@click.pass_obj
def sign_out(config: Path, name: str) -> None:
    """Sign somebody out of all browsers. NAME is that of their token or, with `oidc`, the issuer's `sub` for them."""
    from processes.jobs.session_store import SessionStore

    with _database(config) as database:
        ended = SessionStore(database).end_all(name)
        audit(AuditEvent.SESSIONS_ENDED, None, of=name, sessions=ended)
        click.echo(f"{name} signed out of {ended} browser{'' if ended == 1 else 's'}")


@contextmanager
def _database(config: Path) -> Iterator[Database]:
    """Yield the configured job store; report in one line what is wrong with it."""
    from processes.errors import ServiceError
    from processes.jobs.database import Database
    from processes.programs.logs import set_up_logs
    from processes.settings import load_settings

    set_up_logs()
    with reported():
        database = Database(load_settings(config).job_store)
        try:
            yield database
        except ServiceError as err:
            raise click.ClickException(err.detail) from err
        finally:
            database.close()
