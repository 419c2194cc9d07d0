"""What the commands for local clients do: who may call `/fhir`, with which token. As in `commands.py`."""

from __future__ import annotations

import argparse
import sys

from broker.cli.commands import OK, open_house
from broker.domain.errors import Invalid
from broker.store.queries import access
from broker.workflow import api_clients


def client_add(args: argparse.Namespace) -> int:
    """Register a client and print its token, once."""
    with open_house(args.config) as house:
        ours, theirs = house.config.bus.organisation, args.organisation
        if not ours and not theirs:
            raise Invalid({"organisation": "bus.organisation is not configured: say --organisation GUID"})
        if theirs and theirs.casefold() == ours.casefold():
            theirs = ""  # this clinic
        if args.send_to_bus and not house.config.bus.url:
            print("worklist-broker: bus.url is not configured: nothing is told until it is", file=sys.stderr)
        token = house.store.write(api_clients.add_client, args.name, theirs, house.actor, send_to_bus=args.send_to_bus)
    print(f"Client {args.name} is registered. Its token, shown this once:\n{token}")
    return OK


def client_token(args: argparse.Namespace) -> int:
    """Print a new token, once; the old one is void."""
    with open_house(args.config) as house:
        token = house.store.write(api_clients.renew_token, args.name, house.actor)
    print(f"The old token of {args.name} is void. The new one, shown this once:\n{token}")
    return OK


def client_disable(args: argparse.Namespace) -> int:
    """Refuse a client's calls, or answer them again."""
    with open_house(args.config) as house:
        house.store.write(api_clients.disable_client, args.name, house.actor, disabled=not args.enable)
    print(f"Client {args.name} is {'enabled' if args.enable else 'disabled'}.")
    return OK


def client_list(args: argparse.Namespace) -> int:
    """List the clients, whose they are, and when each was last heard."""
    with open_house(args.config) as house, house.store.read() as reader:
        for each in access.clients(reader):
            zone = house.config.clinic.zone
            at = each.last_contact_at
            heard = f"heard {at.astimezone(zone):%Y-%m-%d %H:%M}" if at else "never heard"
            words = [each.name, each.organisation or "this clinic", heard]
            words += ["the region is told by us"] if each.send_to_bus else []
            words += ["disabled"] if each.disabled else []
            print("\t".join(words))
    return OK
