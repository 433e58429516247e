"""`outreach operator …` and `outreach key …`: who may work here."""

import secrets
import sys
from datetime import timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_rows, terminal_actor
from outreach import clock, operators
from outreach.db import transaction
from outreach.models import ApiKey, Operator
from outreach.permissions import Permission
from outreach.schemas import ApiKeyOut, OperatorOut
from outreach.vocabulary import Role

operator_commands = typer.Typer(no_args_is_help=True, help="People who work with Outreach.")
key_commands = typer.Typer(no_args_is_help=True, help="API keys for programs.")


@operator_commands.command("create")
def create_operator(
    email: Annotated[str, typer.Argument(help="The address they sign in with.")],
    name: Annotated[str, typer.Option(help="What colleagues call them.")] = "",
    role: Role = Role.VIEWER,
    generate: Annotated[bool, typer.Option(help="Make a password and print it, instead of asking for one.")] = False,
    password_stdin: Annotated[bool, typer.Option(help="Read the password from standard input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add an operator; the password is asked for, and never an option, which other users could see."""
    if generate:
        password = secrets.token_urlsafe(15)
    elif password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with transaction() as session:
        operator = operators.create_operator(
            session,
            email=email,
            name=name or email.partition("@")[0],
            role=role,
            password=password,
            actor=terminal_actor(),
            now=clock.now(session),
        )
    shown: dict[str, Any] = {"email": operator.email, "name": operator.name, "role": role.value}
    print_fields(shown | ({"password": password} if generate else {}), as_json=as_json)


@operator_commands.command("list")
def list_operators(as_json: AsJson = False) -> None:
    """List operators."""
    with transaction() as session:
        found = session.scalars(select(Operator).order_by(Operator.email))
        rows = [OperatorOut.model_validate(operator).model_dump() for operator in found]
    print_rows(rows, ("email", "name", "role", "created_at", "disabled_at"), as_json=as_json)


@operator_commands.command("role")
def change_role(email: str, role: Role, as_json: AsJson = False) -> None:
    """Give an operator another role; their sessions end."""
    with transaction() as session:
        operator = operators.find_operator(session, email)
        operators.change_role(session, operator=operator, role=role, actor=terminal_actor(), now=clock.now(session))
    print_fields({"email": operator.email, "role": role.value}, as_json=as_json)


@operator_commands.command("disable")
def disable_operator(email: str, as_json: AsJson = False) -> None:
    """Shut an operator out; their sessions end."""
    with transaction() as session:
        operator = operators.find_operator(session, email)
        operators.disable_operator(session, operator=operator, actor=terminal_actor(), now=clock.now(session))
    print_fields({"email": operator.email, "disabled_at": operator.disabled_at}, as_json=as_json)


@key_commands.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Which program it is for.")],
    allow: Annotated[list[Permission], typer.Option(help="What it may do; give the option once per permission.")],
    days: Annotated[int | None, typer.Option(min=1, help="How long it is valid; unset: until it is revoked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it; it cannot be shown again."""
    with transaction() as session:
        now = clock.now(session)
        row, key = operators.create_api_key(
            session,
            name=name,
            permissions=allow,
            actor=terminal_actor(),
            now=now,
            expires_at=now + timedelta(days=days) if days else None,
        )
    shown = {"key": key, "prefix": row.prefix, "permissions": row.permissions, "expires_at": row.expires_at}
    print_fields(shown, as_json=as_json)


@key_commands.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List API keys, without their secrets."""
    with transaction() as session:
        found = session.scalars(select(ApiKey).order_by(ApiKey.id))
        rows = [ApiKeyOut.model_validate(key).model_dump() for key in found]
    print_rows(rows, ("name", "prefix", "permissions", "used_at", "expires_at", "revoked_at"), as_json=as_json)


@key_commands.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The part between the underscores.")], as_json: AsJson = False
) -> None:
    """End an API key."""
    with transaction() as session:
        row = operators.revoke_api_key(session, prefix=prefix, actor=terminal_actor(), now=clock.now(session))
    print_fields({"prefix": row.prefix, "name": row.name, "revoked_at": row.revoked_at}, as_json=as_json)
