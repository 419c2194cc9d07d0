"""What the commands for devices do: register, list, look through a device's eyes. As in `commands.py`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields, replace

from pydicom.dataset import Dataset

from broker.app.settings import clinic_of
from broker.cli.commands import FAILED, OK, open_house
from broker.dicom.codec import settings
from broker.dicom.worklist import explain, service, verdicts
from broker.domain.devices import Device
from broker.domain.errors import NotFound
from broker.store.queries import device_registry
from broker.store.tables import devices as store_devices
from broker.store.tables import orders
from broker.workflow import devices


def device_add(args: argparse.Namespace) -> int:
    """Register a device, approve one that was heard of, or change it; what is not given stays as it is."""
    with open_house(args.config) as house:
        with house.store.read() as reader:
            known = store_devices.get(reader, args.ae_title)
        asked = {each.name: getattr(args, each.name, None) for each in fields(Device)}
        asked["modality"] = args.modality.upper() if args.modality is not None else None
        asked["own_only"] = None if args.any_station is None else not args.any_station
        given = {name: value for name, value in asked.items() if value is not None}
        if known is None or not known.approved:
            given.setdefault("name", "")  # the name of one that was only heard of is its AE title
        device = replace(known or Device(args.ae_title, "", ""), **given, approved=True)
        house.store.write(devices.put_device, device, house.actor)
    word = "changed" if known and known.approved else "approved" if known else "registered"
    print(f"Device {args.ae_title} is {word}.")
    return OK


def device_list(args: argparse.Namespace) -> int:
    """List the devices, their policies that are not the default, and when each was last heard."""
    with open_house(args.config) as house, house.store.read() as reader:
        for each in device_registry.contacts(reader):
            device = each.device
            heard = ", ".join(
                f"{service} {at.astimezone(house.config.clinic.zone):%Y-%m-%d %H:%M}"
                for service, (at, _, _) in sorted(each.services.items())
            )
            state = "" if device.approved else "\tnot approved"
            policies = " ".join(_policies(device))
            print(
                f"{device.ae_title}\t{device.modality or '-'}\t{device.name}\t{heard or 'never heard'}{state}"
                + (f"\t{policies}" if policies else "")
            )
    return OK


_PLAIN = ("ae_title", "name", "modality", "room", "approved")


def _policies(device: Device) -> Iterator[str]:
    """Write what differs from the defaults as the options of `device add`."""
    usual = Device("", "", "")
    for each in fields(Device):
        value = getattr(device, each.name)
        if each.name in _PLAIN or value == getattr(usual, each.name):
            continue
        if each.name == "own_only":
            yield "--any-station"
        elif each.name == "strict_mpps":
            yield "--strict-mpps"
        else:
            yield shlex.join([f"--{each.name.replace('_', '-')}", str(value)])


def why(args: argparse.Namespace) -> int:
    """Tell why a device sees an order or does not; give FAILED where it does not."""
    with open_house(args.config) as house, house.store.read() as reader:
        order = orders.by_accession_number(reader, args.accession.strip())
        if order is None:
            raise NotFound(f"order {args.accession}")
        zone, learns = house.config.clinic.zone, house.config.dicom.unknown_devices == "learn"
        clinic, now = clinic_of(house.config), house.store.clock()
        found = explain.of(reader, order, args.ae_title, now, clinic, learns=learns)
    print(f"{order.accession_number} for {args.ae_title}:")
    for verdict in found.verdicts:
        mark = "ok " if verdict.ok else "NO " if verdict.decides else "!  "
        print(f"  {mark} {verdicts.sentence(verdict, zone)}")
        if remedy := verdicts.remedy(verdict, args.ae_title):
            print(f"       do: {remedy}")
    print(f"The device {'sees' if found.seen else 'does not see'} it when it asks so.")
    return OK if found.seen else FAILED


def worklist(args: argparse.Namespace) -> int:
    """Print what a device sees on its list, as it is answered, without telling anybody that it was asked for."""
    settings.set_up()
    with open_house(args.config) as house:
        with house.store.read() as reader:
            if store_devices.get(reader, args.ae_title) is None:
                raise NotFound(f"device {args.ae_title}; worklist-broker device list tells which there are")
            asked = explain.latest(reader, args.ae_title)
        term = str(asked.query.get("SpecificCharacterSet") or "") if asked else ""
        answers = list(
            service.find(
                explain.typical(args.date, term),
                service.Caller(args.ae_title, ""),
                house.store,
                clinic_of(house.config),
                house.config.clinic.name,
                noted=False,
            )
        )
    items = [answer.identifier for answer in answers if answer.identifier is not None]
    if args.json:
        print(json.dumps([item.to_json_dict() for item in items], ensure_ascii=False, indent=1))
    for item in [] if args.json else items:
        print("\t".join(_line(item)))
    if comment := answers[-1].status.get("ErrorComment"):
        print(f"worklist-broker: {comment}", file=sys.stderr)
    return OK


def _line(item: Dataset) -> Iterator[str]:
    """Write an answer in one line."""
    step = item.ScheduledProcedureStepSequence[0]
    day, hour = str(step.ScheduledProcedureStepStartDate), str(step.ScheduledProcedureStepStartTime)
    yield f"{day[:4]}-{day[4:6]}-{day[6:]} {hour[:2]}:{hour[2:4]}"
    yield str(item.AccessionNumber)
    yield str(item.PatientName)
    for ds, keyword in (
        (item, "PatientID"),
        (item, "PatientBirthDate"),
        (item, "PatientSex"),
        (step, "Modality"),
        (step, "ScheduledStationAETitle"),
        (step, "ScheduledProcedureStepStatus"),
        (item, "RequestedProcedureDescription"),
    ):
        yield str(ds.get(keyword) or "")
