"""The commands for programs that may call our own `/fhir`, and for their tokens."""

from __future__ import annotations

import argparse
import sys

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.errors import Invalid
from broker.store.queries import access
from broker.store.queries.access import Client
from broker.workflow import api_clients

_ADD = """\
A МИС that was bought later talks to this broker as to the regional bus: its address of the bus becomes
http://this-computer:8080/fhir, its token the one that is printed. What it orders waits at the desk, or goes straight
onto a worklist by bus.auto_accept; it asks for statuses and results as at the bus.

  worklist-broker client add mis
  worklist-broker client add mis --send-to-bus
  worklist-broker client add clinic-7 --organisation 3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("client", "programs that may order studies at our own /fhir, as a МИС of the clinic")
    add = group.changing("add", _add, "register a program and print its token, once", _ADD)
    add.add_argument("name", metavar="NAME", help="2 to 32 small Latin letters, digits, dots or dashes")
    add.add_argument(
        "--organisation", metavar="GUID", default="", help="the clinic that it works for (default: bus.organisation)"
    )
    add.add_argument(
        "--send-to-bus", action="store_true", help="send its orders to the region: it does not do so itself"
    )

    group.reading("list", _list, "list the programs and when each called last")

    renew = group.changing("token", _renew_token, "print a new token, once; the old one becomes void")
    renew.add_argument("name", metavar="NAME")

    disable = group.changing("disable", _disable, "refuse a program's calls from now on")
    disable.add_argument("name", metavar="NAME")
    disable.add_argument("--enable", action="store_true", help="answer it again")


def _add(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        bus, organisation = context.config.bus, args.organisation
        if not bus.organisation and not organisation:
            raise Invalid({"organisation": "bus.organisation is not configured: name one with --organisation GUID"})
        if organisation and organisation.casefold() == bus.organisation.casefold():
            organisation = ""  # this clinic
        if args.send_to_bus and not bus.url:
            print("worklist-broker: bus.url is not configured: nothing is sent until it is", file=sys.stderr)
        token = context.change(
            api_clients.add_client, args.name, organisation, context.actor, send_to_bus=args.send_to_bus
        )
        shown = "" if args.dry_run else f" Its token, shown this once:\n{token}"
        context.report(f"Client {args.name} is registered.{shown}")
    return Exit.OK


def _renew_token(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        token = context.change(api_clients.renew_token, args.name, context.actor)
        shown = "" if args.dry_run else f" The new one, shown this once:\n{token}"
        context.report(f"The old token of {args.name} is void.{shown}")
    return Exit.OK


def _disable(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        context.change(api_clients.disable_client, args.name, context.actor, disabled=not args.enable)
        context.report(f"Client {args.name} is {'enabled' if args.enable else 'disabled'}.")
    return Exit.OK


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found = access.clients(reader)
    show(args.json, [_as_json(client) for client in found], (_line(context, client) for client in found))
    return Exit.OK


def _as_json(client: Client) -> dict[str, object]:
    return {
        "name": client.name,
        "organisation": client.organisation or None,
        "send_to_bus": client.send_to_bus,
        "disabled": client.disabled,
        "last_contact": client.last_contact_at.isoformat() if client.last_contact_at else None,
    }


def _line(context: CommandContext, client: Client) -> str:
    at = client.last_contact_at
    contact = f"called {context.local(at):%Y-%m-%d %H:%M}" if at else "never called"
    words = [client.name, client.organisation or "this clinic", contact]
    words += ["its orders are sent to the region"] if client.send_to_bus else []
    words += ["disabled"] if client.disabled else []
    return "\t".join(words)
