"""The state of a visit as every page shows it, and what it lacks: images, a report. Only words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo

from broker.domain.orders import OrderState
from broker.store.queries.schedule import Visit
from broker.store.queries.studies.archive_gaps import Lack, MissingImages
from ui.text import archive, words


def is_done(visit: Visit) -> bool:
    """Return True for what was performed in this clinic."""
    return visit.order.state is OrderState.COMPLETED and not visit.order.owner


# A filter's word and what it shows.
LACKING: Mapping[str, Callable[[Visit], bool]] = {
    "Без снимков": lambda visit: is_done(visit) and not visit.has_images,
    "Без описания": lambda visit: is_done(visit) and not visit.reported,
}


def state(visit: Visit, lack: Lack | None, now: datetime, zone: tzinfo) -> tuple[str, str]:
    """Return a visit's state as a key of theme.STATES, and the word for it if that is not the state's own.

    `lack`: images that have not come, or another number of them; `now` is local clinic time, naive.
    """
    usual = words.visit_state(visit)
    if usual == "attention" or lack is None:
        return usual, ""
    return "imageless", lacking(lack, now.replace(tzinfo=zone))


def lacking(lack: Lack, now: datetime) -> str:
    """Return what images are lacking, or too many, as a state; `now` is an instant."""
    if isinstance(lack, MissingImages):
        return archive.missing_for(max(now - lack.since, timedelta(0)))
    return archive.other_count(lack.counted)
