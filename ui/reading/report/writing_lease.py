"""The lease of a form in which somebody writes about a study, and what others are shown meanwhile."""

from __future__ import annotations

import asyncio
from datetime import date, tzinfo

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, Occupied
from broker.domain.reading.leases import Lease, LeasePurpose
from broker.store.database import StoreError
from broker.workflow.reading import writing
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import words
from ui.writing_windows import Place

WHAT = {LeasePurpose.REPORT: "Протокол", LeasePurpose.OVER_READ: "Мнение"}


def notice(lease: Lease, zone: tzinfo, today: date, what: str = "") -> str:
    """Return who writes, since when, and until when it lasts if nothing more comes."""
    since = words.moment(lease.since, zone, today)
    what = what or WHAT[lease.purpose]
    return (
        f"{what} сейчас пишет {lease.reader_title}, с {since}. Прочитать можно. Писать и подписать можно, когда врач"
        f" закончит, или с {lease.until.astimezone(zone):%H:%M}, если больше ничего не напишет."
    )


class WritingLease:
    """The lease of one form in one window; the windows of a person share it."""

    def __init__(
        self, services: Services, actor: Actor, order_id: int, purpose: LeasePurpose = LeasePurpose.REPORT
    ) -> None:
        self._services, self._actor = services, actor
        self._place = Place(order_id, actor.name, purpose)
        self._window = ui.context.client.id
        self.is_held = False
        self._beginning = asyncio.Lock()

    def of_another(self, lease: Lease | None) -> Lease | None:
        """Return the lease if it is another person's, and note if it is no longer the own one."""
        if lease is None or lease.reader != self._actor.name:
            self.is_held = False
        return lease if lease is not None and lease.reader != self._actor.name else None

    async def begin(self) -> bool:
        """Note that somebody has begun to write; return False while another writes, or if it failed."""
        async with self._beginning:  # two keys in a row begin once
            return self.is_held or await self._begin()

    async def _begin(self) -> bool:
        services, (order_id, _, purpose) = self._services, self._place
        actor = current_actor(services)
        try:
            done = await attempt(
                lambda: services.store.write(writing.begin, order_id, actor, services.clinic, purpose),
                let_pass=(Occupied,),
                report=lambda why: None,  # what is typed is saved in a moment, and that says what is wrong
            )
        except Occupied:
            return False
        self.is_held = done is not None
        if self.is_held:
            services.writing.open(self._place, self._window)
        return self.is_held

    def leave(self) -> None:
        """End the lease when this window writes no more, unless its person writes in another one."""
        self.is_held = False
        order_id, _, purpose = self._place
        if self._services.writing.close(self._place, self._window):
            try:
                self._services.store.write(writing.leave, order_id, self._actor, purpose)
            except (BrokerError, StoreError):
                return  # it ends by itself
