"""How often nothing was ordered because an earlier study was shown. Reads only."""

from __future__ import annotations

from datetime import datetime

from broker.domain.studies.avoided_repeats import AvoidedCount
from broker.store.database import Reader


def counts(reader: Reader, since: datetime, until: datetime) -> list[AvoidedCount]:
    """Return the counts from `since` (UTC) to before `until`, by modality, the most first.

    What was ordered after all, by the same form, is not counted.
    """
    found = reader.rows(
        "SELECT modality, count(*) AS count, sum(effective_dose IS NULL) AS unknown,"
        " total(effective_dose) AS millisieverts FROM avoided_repeat a WHERE at >= ? AND at < ?"
        " AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.submission_id = a.submission_id)"
        " GROUP BY modality ORDER BY count DESC, modality",
        [since.isoformat(), until.isoformat()],
    )
    return [AvoidedCount(row["modality"], row["count"], row["unknown"], row["millisieverts"]) for row in found]
