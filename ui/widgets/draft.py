"""Keeps what a person has typed but not saved, a second after they pause, so that no restart takes it away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from broker.domain.actors import Actor
from broker.store.database import StoreError
from broker.workflow import accounts
from ui.services import Services
from ui.text import words

PAUSE = 1.0  # seconds after the last change


class Draft:
    """One form's draft; `content` returns what is typed, or None if nothing is worth keeping."""

    def __init__(
        self,
        services: Services,
        actor: Actor,
        form: str,
        content: Callable[[], dict[str, Any] | None],
        show_note: Callable[[str, bool], None],
    ) -> None:
        self._services, self._actor, self._form = services, actor, form
        self._content = content
        self._show_note = show_note
        self._changed: float | None = None
        self._lock = asyncio.Lock()
        self.held = False  # while the form is being saved, a pause does not keep the draft
        self.kept = False  # the database has one

    def start(self) -> None:
        """Begin to watch for pauses; called when the page is complete."""
        ui.timer(PAUSE / 2, self._keep_if_quiet)

    def touch(self) -> None:
        """Note that something has changed."""
        self._changed = time.monotonic()

    async def keep(self) -> None:
        """Keep the draft now; delete it if it has become empty. Raise SessionEnded."""
        async with self._lock:
            self._changed = None
            store, content = self._services.store, self._content()
            try:
                if content is not None:
                    saved_at = await run.io_bound(store.write, accounts.save_draft, self._form, content, self._actor)
                    self.kept = True
                    if saved_at and not self.held:
                        at = words.moment(saved_at, self._services.clinic.zone, self._services.today())
                        self._show_note(f"Черновик сохранён {at}", False)
                elif self.kept:
                    await run.io_bound(store.write, accounts.drop_draft, self._form, self._actor)
                    self.kept = False
            except StoreError:
                self._show_note("Черновик не сохранён: база данных не принимает изменений", True)

    async def _keep_if_quiet(self) -> None:
        if self._changed is not None and not self.held and time.monotonic() - self._changed >= PAUSE:
            await self.keep()
