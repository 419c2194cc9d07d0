"""What two readers who differ decide together: one writes it, the other confirms these very words. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.reading.opinions import Opinion


@dataclass(frozen=True, slots=True)
class JointDecision:
    """A decision that one reader proposes, and that counts once the other has confirmed it."""

    order_id: int
    images: int  # the revision of the images, and the card, that it is about
    patient_id: int
    writer: str  # login
    confirmer: str  # login of the other reader
    opinion: Opinion
    said: Mapping[str, Any]  # the texts of the report, and its dose, as the fields of a report
    proposed_at: datetime  # UTC
    confirmed_at: datetime | None = None  # UTC
    revision: int = 0  # 0: was never saved
    id: int | None = None
