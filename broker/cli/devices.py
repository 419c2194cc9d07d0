"""The commands for the registry of modalities."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import asdict, fields, replace

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.clinic.devices import Device
from broker.store.queries import device_registry
from broker.store.queries.device_registry import DeviceContacts, UntitledCaller
from broker.workflow import devices

_ADD = """\
What is not given stays as it is; for a new device it is the default. A device that called and is not yet registered
is approved. Examples:

  worklist-broker device add XRAY_14 --name Рентген --modality DX --room "каб. 14" --address 10.0.4.14
  worklist-broker device add XRAY_14 --charset latin --longest 32
"""
_NOT_POLICIES = ("ae_title", "name", "modality", "room", "approved")


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("device", "the modalities that may ask for the worklist")
    add = group.changing("add", _add, "register a device, approve one that was learned, or change it", _ADD)
    _add_options(add)
    group.reading("list", _list, "list the devices and when each called last")


def _add_options(add: argparse.ArgumentParser) -> None:
    yes_no = argparse.BooleanOptionalAction
    add.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    add.add_argument("--name", help="what people call it; needed for a new one")
    add.add_argument("--modality", help="DX, CR, MG, CT, US, ...; needed for a new one")
    add.add_argument("--room", help="the room that it is in")
    add.add_argument("--address", help="accept this AE title from these IP addresses only: one, or several with commas")
    add.add_argument("--charset", choices=devices.CHARSETS, help="how it is answered; auto: as it asks (default auto)")
    add.add_argument(
        "--fallback-charset",
        choices=devices.FALLBACKS,
        help="character set of 8-bit characters in a query without one (default ISO_IR 144)",
    )
    add.add_argument(
        "--longest", type=int, metavar="N", help="characters that it shows of a text, 8 to 64 (default 64)"
    )
    add.add_argument(
        "--any-station",
        action=yes_no,
        help="without a station in its query it sees the items of every device, not only its own",
    )
    add.add_argument(
        "--for-others",
        action=yes_no,
        help="it may ask for the lists of other devices and end their steps (default no: it sees none of them, and the"
        " end that it reports waits for a person)",
    )
    add.add_argument("--days-before", type=int, metavar="N", help="how many days items stay on its list (default 1)")
    add.add_argument(
        "--days-after", type=int, metavar="N", help="how far ahead it sees when its query gives no date (default 30)"
    )
    add.add_argument(
        "--closed-hours", type=int, metavar="N", help="hours that completed items stay on its list (default 0)"
    )
    add.add_argument(
        "--strict-mpps", action=yes_no, help="refuse MPPS that breaks the standard instead of correcting it"
    )
    add.add_argument(
        "--own-study-uids",
        action=yes_no,
        help="it makes Study Instance UIDs of its own and reports none: its studies in the archive are taken by the"
        " accession number if they are alone with it and everything else fits",
    )
    add.add_argument(
        "--mpps-hours", type=int, metavar="N", help="a study that runs longer is closed: its device failed (default 12)"
    )


def _add(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        with context.store.read() as reader:
            known = device_registry.device(reader, args.ae_title)
        options = {each.name: getattr(args, each.name, None) for each in fields(Device)}
        options["modality"] = args.modality.upper() if args.modality is not None else None
        options["own_only"] = None if args.any_station is None else not args.any_station
        given = {name: value for name, value in options.items() if value is not None}
        if known is None or not known.approved:
            given.setdefault("name", "")  # the name of a learned device is its AE title; a person has to name it
        device = replace(known or Device(args.ae_title, "", ""), **given, approved=True)
        context.change(devices.put_device, device, context.actor)
        outcome = "changed" if known and known.approved else "approved" if known else "registered"
        context.report(f"Device {args.ae_title} is {outcome}.")
    return Exit.OK


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found, untitled = device_registry.contacts(reader), device_registry.untitled(reader)
    show(
        args.json,
        [*map(_as_json, found), *map(_untitled_as_json, untitled)],
        (*(_line(context, each) for each in found), *(_untitled_line(context, each) for each in untitled)),
    )
    return Exit.OK


def _as_json(contacts: DeviceContacts) -> dict[str, object]:
    return {
        **asdict(contacts.device),
        "last_contact": {
            service: {"at": at.isoformat(), "address": address, "summary": summary}
            for service, (at, address, summary) in sorted(contacts.services.items())
        },
        "turned_away": None if contacts.turned_away is None else asdict(contacts.turned_away),
    }


def _untitled_as_json(caller: UntitledCaller) -> dict[str, object]:
    """Return a caller that has no AE title, in the form of a device that is not approved."""
    return {
        "ae_title": None,
        "address": caller.address,
        "approved": False,
        "last_contact": {device_registry.TURNED_AWAY: {"at": caller.at.isoformat(), "address": caller.address}},
        "turned_away": asdict(caller.turned_away),
    }


def _untitled_line(context: CommandContext, caller: UntitledCaller) -> str:
    came = "".join(f" {detail!r}" for detail in caller.turned_away.details)
    at = f"refused {context.local(caller.at):%Y-%m-%d %H:%M}"
    return "\t".join(
        ["(no AE title)", "-", caller.address, at, "not approved", f"turned away: {caller.turned_away.reason}{came}"]
    )


def _line(context: CommandContext, contacts: DeviceContacts) -> str:
    device = contacts.device
    calls = ", ".join(
        f"{service} {context.local(at):%Y-%m-%d %H:%M}" for service, (at, _, _) in sorted(contacts.services.items())
    )
    words = [device.ae_title, device.modality or "-", device.name, calls or "never called"]
    words += [] if device.approved else ["not approved"]
    if found := contacts.turned_away:
        words.append(f"turned away: {' '.join((found.reason, *found.details))}")
    words += [policies] if (policies := " ".join(_policies(device))) else []
    return "\t".join(words)


def _policies(device: Device) -> Iterator[str]:
    """Yield what differs from the defaults, as options of `device add`."""
    default = Device("", "", "")
    for each in fields(Device):
        value = getattr(device, each.name)
        if each.name in _NOT_POLICIES or value == getattr(default, each.name):
            continue
        if each.name == "own_only":
            yield "--any-station"
        elif value is True:
            yield f"--{each.name.replace('_', '-')}"
        else:
            yield shlex.join([f"--{each.name.replace('_', '-')}", str(value)])
