"""Who calls, and the registry of devices as the port reads it with every message: from memory until it has changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from broker.domain.clinic.devices import Device
from broker.store.database import Store
from broker.store.tables import devices

MOST = 1000  # callers that are remembered


@dataclass(frozen=True, slots=True)
class Caller:
    """A calling AE title, the address that it calls from, and the list that it calls."""

    ae_title: str
    address: str
    asked_list: tuple[str, ...] = ()  # its stations and rooms; the worklist as a whole has none


class KnownDevices:
    """Remembers devices, and callers that are not one, while the registry stays as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._revision = -1
        self._found: dict[str, Device | None] = {}

    def get(self, ae_title: str) -> Device | None:
        """Return a device, approved or only recorded when it called, or None; raise StoreError."""
        revision = devices.revision(self._store)
        with self._lock:
            if revision != self._revision or len(self._found) >= MOST:
                self._revision, self._found = revision, {}
            if ae_title in self._found:
                return self._found[ae_title]
        with self._store.read() as reader:  # at least as new as the revision
            device = devices.get(reader, ae_title)
        with self._lock:
            if revision == self._revision:
                self._found[ae_title] = device
        return device

    def or_default(self, ae_title: str) -> Device:
        """Return a device, with default settings if it is not registered."""
        return self.get(ae_title) or Device(ae_title, "", "")
