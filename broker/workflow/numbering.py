"""Generates numbers of orders and patients from counters; numbers that scripts have used are left out.

Called inside the transactions of the use cases.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from broker.domain.clinic.settings import Clinic
from broker.domain.patients import identifiers
from broker.store.database import Tx
from broker.store.tables import orders
from broker.store.tables.patients import patients


def accession_number(tx: Tx, clinic: Clinic) -> str:
    """Return the next accession number of the clinic's month."""
    today = tx.now.astimezone(clinic.zone).date()

    def make() -> str:
        number = orders.next_number(tx, f"accession {clinic.accession_prefix}{today:%y%m}")
        return identifiers.accession_number(clinic.accession_prefix, today, number)

    return _first_free(make, lambda number: orders.is_taken(tx, "accession_number", number))


def study_instance_uid(tx: Tx, clinic: Clinic) -> str:
    """Return a new Study Instance UID."""
    return identifiers.new_uid(clinic.uid_root, tx.now, secrets.randbits(128))


def requested_procedure_id(tx: Tx) -> str:
    """Return the next Requested Procedure ID."""
    return _first_free(
        lambda: f"RP{orders.next_number(tx, 'requested_procedure')}",
        lambda number: orders.is_taken(tx, "requested_procedure_id", number),
    )


def sps_id(tx: Tx) -> str:
    """Return the next Scheduled Procedure Step ID."""
    return _first_free(
        lambda: f"SPS{orders.next_number(tx, 'scheduled_procedure_step')}",
        lambda number: orders.is_taken(tx, "sps_id", number),
    )


def patient_id(tx: Tx) -> str:
    """Return the next card number."""
    return _first_free(
        lambda: f"{orders.next_number(tx, 'patient'):06d}",
        lambda number: patients.find_by(tx, "patient_id", number) is not None,
    )


def _first_free(make: Callable[[], str], is_taken: Callable[[str], bool]) -> str:
    while is_taken(number := make()):
        pass
    return number
