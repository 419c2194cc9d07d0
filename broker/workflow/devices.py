"""Use cases of the device registry: register, approve, change; and which address may use an AE title.

Settings are validated here; the CHECKs of the database are the second line of defence.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.devices import Device
from broker.domain.errors import Invalid, NotFound
from broker.domain.patients import names
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, devices

# PS3.5 6.2, AE: no backslash, no control characters, not only blanks; here ASCII only.
_AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
_MODALITY = re.compile(r"[A-Z]{2,4}")
USUAL_CHARSETS = ("auto", "ISO_IR 192", "ISO_IR 144", "latin")
# Those without Cyrillic letters get names in Latin ones; those of ISO 2022 are declared with code extensions.
RARE_CHARSETS = (
    *("ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 126", "ISO_IR 148", "ISO 2022 IR 144"),
    *("ISO 2022 IR 100", "ISO 2022 IR 101", "ISO 2022 IR 109", "ISO 2022 IR 126", "ISO 2022 IR 148"),
)
CHARSETS = (*USUAL_CHARSETS, *RARE_CHARSETS)
# Character sets for 8-bit characters in a message without Specific Character Set; devices send the last one too, which
# is not a DICOM character set.
FALLBACKS = ("ISO_IR 144", "ISO_IR 192", "windows-1251")
# The smallest and the largest value of numeric settings.
RANGES = {
    "longest": (8, 64),
    "days_before": (0, 365),
    "days_after": (0, 365),
    "closed_hours": (0, 720),
    "mpps_hours": (1, 168),
}


def adjust_device(tx: Tx, ae_title: str, changes: Mapping[str, Any], actor: Actor) -> Device:
    """Change some settings of a device (field -> value) and return it as it is stored.

    Raise NotFound, Invalid, Forbidden, SessionEnded.
    """
    known = devices.get(tx, ae_title)
    if known is None:
        raise NotFound(f"device {ae_title}")
    return put_device(tx, replace(known, **changes), actor)


def put_device(tx: Tx, device: Device, actor: Actor) -> Device:
    """Register a device, approve one that has called, or change one; return it as it is stored.

    Without a change nothing is written. Raise Invalid, Forbidden, SessionEnded.
    """
    permit(tx, actor, Permission.MANAGE)
    device = replace(
        device,
        name=names.tidy(device.name),
        room=names.tidy(device.room),
        address=", ".join(addresses(device)),
    )
    if problems := dict(_problems(device)):
        raise Invalid(problems)
    known = devices.get(tx, device.ae_title)
    if known != device:
        devices.put(tx, device)
        changed = _changes(known, device)
        audit.write(tx, actor, AuditAction.DEVICE_PUT, ae_title=device.ae_title, name=device.name, changed=changed)
        tx.notify()
    return device


def is_ae_title(text: str) -> bool:
    """Return True if a text may be an AE title."""
    return bool(_AE_TITLE.fullmatch(text))


def addresses(device: Device) -> list[str]:
    """Return the addresses that may use a device's AE title; empty means any."""
    return [part for part in re.split(r"[,;\s]+", device.address) if part]


def may_call(device: Device, address: str) -> bool:
    """Return True if a device may call from an address."""
    allowed = addresses(device)
    return not allowed or _canonical_address(address) in [_canonical_address(each) for each in allowed]


def _canonical_address(address: str) -> str:
    """Return an address in one spelling; an IPv4 address as an IPv6 socket reports it becomes the IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _problems(device: Device) -> Iterator[tuple[str, str]]:
    if not is_ae_title(device.ae_title):
        yield "ae_title", "letters"
    if not device.name:
        yield "name", "required"
    elif len(device.name) > 64:
        yield "name", "too_long"
    if len(device.room) > 64:
        yield "room", "too_long"
    if not _MODALITY.fullmatch(device.modality):
        yield "modality", "letters"
    for address in addresses(device):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield "address", "address"
    if device.charset not in CHARSETS:
        yield "charset", "unknown"
    if device.fallback_charset not in FALLBACKS:
        yield "fallback_charset", "unknown"
    for key, (least, most) in RANGES.items():
        if not least <= getattr(device, key) <= most:
            yield key, "range"


def _changes(before: Device | None, after: Device) -> dict[str, list[Any]]:
    """Return what differs: field -> [old, new]; of a new device every old value is None."""
    pairs = ((each.name, getattr(before, each.name, None), getattr(after, each.name)) for each in fields(Device))
    return {name: [old, new] for name, old, new in pairs if old != new and name != "ae_title"}
