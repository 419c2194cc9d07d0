"""Devices for screens and commands: settings, last contacts, samples and notes.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from broker.domain.clinic.devices import Device
from broker.domain.clinic.turned_away import TurnedAway
from broker.store.database import Reader
from broker.store.tables import (
    devices,
)
from broker.store.tables.devices import DeviceNote, DeviceSample

TURNED_AWAY = devices.TURNED_AWAY  # the service of a contact that came to nothing


class ServiceContact(NamedTuple):
    """A device's last contact on one service."""

    at: datetime  # UTC
    address: str
    summary: str


class UntitledCaller(NamedTuple):
    """The last call from an address that named no AE title to know the device by."""

    address: str
    at: datetime  # UTC
    turned_away: TurnedAway


@dataclass(frozen=True, slots=True)
class DeviceContacts:
    """A device, its last contact on each service, what it sent there, and the notes on it."""

    device: Device
    services: dict[str, ServiceContact]
    samples: tuple[DeviceSample, ...] = ()  # oldest first
    notes: tuple[DeviceNote, ...] = ()  # newest first

    @property
    def turned_away(self) -> TurnedAway | None:
        """Why it was turned away, if that was its last contact."""
        last = self.services.get(devices.TURNED_AWAY)
        later = (each.at for service, each in self.services.items() if service != devices.TURNED_AWAY)
        if last is None or any(at >= last.at for at in later):
            return None
        return devices.turned_away(last.summary)


def device(reader: Reader, ae_title: str) -> Device | None:
    """Return a device, approved or not; None if its AE title is unknown."""
    return devices.get(reader, ae_title)


def approved(reader: Reader) -> list[Device]:
    """Return every approved device, by name."""
    return [
        devices.from_row(row) for row in reader.rows("SELECT * FROM device WHERE approved = 1 ORDER BY name, ae_title")
    ]


def untitled(reader: Reader) -> list[UntitledCaller]:
    """Return who called without a usable AE title, the latest first; not where a device has called from there since."""
    rows = reader.rows(
        "SELECT * FROM untitled_caller u WHERE NOT EXISTS"
        " (SELECT 1 FROM device_contact c WHERE c.address = u.address AND c.at >= u.at)"
        " AND NOT EXISTS (SELECT 1 FROM device d WHERE d.address = u.address AND d.created_at >= u.at)"
        " ORDER BY at DESC, address"
    )
    found = ((row, devices.turned_away(row["summary"])) for row in rows)
    return [UntitledCaller(row["address"], datetime.fromisoformat(row["at"]), why) for row, why in found if why]


def contacts(reader: Reader) -> list[DeviceContacts]:
    """Return every device, approved or not, with its contacts, samples and notes."""
    services: dict[str, dict[str, ServiceContact]] = {}
    for row in reader.rows("SELECT * FROM device_contact"):
        services.setdefault(row["ae_title"], {})[row["service"]] = ServiceContact(
            datetime.fromisoformat(row["at"]), row["address"], row["summary"]
        )
    rows = reader.rows("SELECT * FROM device ORDER BY approved, name, ae_title")
    samples, notes = devices.samples(reader), devices.notes(reader)
    return [
        DeviceContacts(
            devices.from_row(row),
            services.get(row["ae_title"], {}),
            tuple(samples.get(row["ae_title"], ())),
            tuple(notes.get(row["ae_title"], ())),
        )
        for row in rows
    ]
