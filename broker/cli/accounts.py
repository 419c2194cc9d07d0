"""The commands for accounts: who may sign in."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.actors import Role
from broker.domain.errors import BrokerError
from broker.store.queries import access
from broker.store.queries.access import Account
from broker.workflow import accounts


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("account", "who may sign in")
    add = group.changing("add", _add, "make an account")
    add.add_argument("login", help="2 to 32 small Latin letters, digits, dots or dashes")
    add.add_argument("--name", required=True, help="full name, as shown in the audit trail")
    add.add_argument(
        "--role",
        action="append",
        required=True,
        choices=[role.value for role in Role],
        help="what the person does; may be repeated",
    )
    add.add_argument("--snils", default="", help="of a doctor who signs reports: the region requires it")
    add.add_argument("--position", default="", help="as printed under a report, e.g. врач-рентгенолог")
    _password_options(add)

    group.reading("list", _list, "list the accounts")

    disable = group.changing("disable", _disable, "disable an account and end its sessions")
    disable.add_argument("login")
    disable.add_argument("--enable", action="store_true", help="enable it again")

    password = group.changing("password", _set_password, "change a password and end the sessions")
    password.add_argument("login")
    _password_options(password)


def _password_options(command: argparse.ArgumentParser) -> None:
    source = command.add_mutually_exclusive_group()
    source.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    source.add_argument("--generate", action="store_true", help="make a password and print it")


def _add(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        password = _password(args)
        roles = frozenset(Role(role) for role in args.role)
        account = accounts.new_account(args.login, args.name, roles, password, snils=args.snils, position=args.position)
        context.change(accounts.add_account, account, context.actor)
        context.report(f"Account {args.login.casefold()} is ready.")
        _print_generated(args, password)
    return Exit.OK


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found = access.accounts(reader)
    show(args.json, [_as_json(account) for account in found], map(_line, found))
    return Exit.OK


def _as_json(account: Account) -> dict[str, object]:
    return {
        "login": account.login,
        "full_name": account.full_name,
        "roles": sorted(account.roles),
        "disabled": account.disabled,
        "snils": account.snils or None,
        "position": account.position or None,
    }


def _line(account: Account) -> str:
    state = "disabled" if account.disabled else "active"
    return f"{account.login}\t{state}\t{','.join(sorted(account.roles))}\t{account.full_name}"


def _disable(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        context.change(accounts.disable_account, args.login, context.actor, disabled=not args.enable)
        context.report(f"Account {args.login} is {'enabled' if args.enable else 'disabled; its sessions have ended'}.")
    return Exit.OK


def _set_password(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        password = _password(args)
        context.change(accounts.set_password, args.login, accounts.new_password(password), context.actor)
        context.report(f"The password of {args.login} is changed; its sessions have ended.")
        _print_generated(args, password)
    return Exit.OK


def _password(args: argparse.Namespace) -> str:
    """Return the password that is asked for in one of three ways; a dry run does not prompt for one."""
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    if args.generate or args.dry_run:
        return secrets.token_urlsafe(9)
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise BrokerError("the two passwords differ")
    return password


def _print_generated(args: argparse.Namespace, password: str) -> None:
    if args.generate and not args.dry_run:
        print(f"Password: {password}")
