"""The services that the composition root gives to the pages. Pages read and change data through `ui.live`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from nicegui import Event

from broker.domain.actors import Actor
from broker.domain.clinic.device_advice import Explanation, Suggestion
from broker.domain.clinic.settings import Clinic
from broker.domain.health import Health
from broker.domain.orders import Order
from broker.domain.patients.region_people import RegionAnswer, RegionQuestion
from broker.domain.studies.received import StoredObject
from broker.domain.studies.received_text import OpenedObject, ReceivedText
from broker.security.throttle import Throttle
from broker.store.database import Reader, Store
from broker.store.queries.device_registry import DeviceContacts
from broker.store.queries.studies.archive_gaps import ImagesDue
from ui.settings import ScreenSettings
from ui.writing_windows import WritingWindows

COOKIE = "wlb_session"


class RegionLookup(Protocol):
    """Asks the region who a person is, in the background."""

    @property
    def by_name(self) -> bool:
        """Return True if the region searches by name and date of birth, too."""

    def ask(self, question: RegionQuestion, actor: Actor) -> RegionAnswer | None:
        """Return the answer; None if there is none yet: pages are notified when it has come."""


@dataclass(frozen=True)
class Services:
    """Everything that a page may use."""

    store: Store
    clinic: Clinic
    settings: ScreenSettings
    throttle: Throttle
    health: Callable[[], Health]  # the last result of the background checks
    changed: Event[[]] = field(default_factory=Event)
    writing: WritingWindows = field(default_factory=WritingWindows)
    suggest: Callable[[DeviceContacts], list[Suggestion]] = (
        lambda contacts: []
    )  # settings suggested by a device's messages
    explain: Callable[[Reader, Order], list[Explanation]] = lambda reader, order: []  # why devices see an order or not
    # What a received report or document says.
    open_received: Callable[[Reader, StoredObject], OpenedObject] = lambda reader, stored: OpenedObject(ReceivedText())
    ask_archive: Callable[[], bool] | None = None  # ask it now; returns if it answered; None without an archive
    request_history: Callable[[int], object] | None = None  # ask the region about a patient; None without a bus
    bus_ahead: Callable[[], timedelta] = timedelta  # how far the bus's clock is ahead of ours; zero while they agree
    region: RegionLookup | None = None  # ask the region who somebody is; None if it is not to be asked

    def now(self) -> datetime:
        """Return the local clinic time, naive, as use cases take it."""
        return self.clinic.local(self.store.clock())

    @property
    def over_read_within(self) -> timedelta:
        """How long a request to read a signed report over may wait."""
        return timedelta(hours=self.clinic.reading.over_read_hours)

    def images_due(self) -> ImagesDue | None:
        """Return which studies must have images in the archive by now; None without one."""
        within = self.clinic.images_within
        holds_region = self.clinic.waits_for_images and self.clinic.sends_to_bus
        return None if within is None else ImagesDue(self.store.clock() - within, holds_region)

    def today(self) -> date:
        """Return the date in the clinic."""
        return self.now().date()
