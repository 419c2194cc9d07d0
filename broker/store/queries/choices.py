"""The read side of the imported directories for the screens: what a person may choose from. It changes nothing."""

from __future__ import annotations

from broker.domain.directory import Entry
from broker.store.database import Reader
from broker.store.tables import directories

LIMIT = 20


def diagnoses(reader: Reader, typed: str, limit: int = LIMIT) -> list[Entry]:
    """Find diagnoses of ICD-10 by the beginning of the code or of words of the name."""
    return directories.search(reader, "diagnoses", typed, limit)


def organisations(reader: Reader, typed: str, limit: int = LIMIT) -> list[Entry]:
    """Find organisations by words of the name; the code is the GUID."""
    return directories.search(reader, "organisations", typed, limit)


def organisation_name(reader: Reader, guid: str) -> str:
    """Give an organisation's name; empty where its GUID is not in the directory."""
    return directories.organisation_name(reader, guid)


def doctors(reader: Reader, typed: str, limit: int = LIMIT) -> list[Entry]:
    """Find doctors by words of the name; `details` may have family, given, middle, snils, position."""
    return directories.search(reader, "doctors", typed, limit)


def procedures(reader: Reader, typed: str, limit: int = LIMIT) -> list[Entry]:
    """Find entries of the whole imported directory of procedures, those that the desk does not offer, too."""
    return directories.search(reader, "procedures", typed, limit)
