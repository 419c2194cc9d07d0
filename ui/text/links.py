"""Addresses of the pages of one study; its number may have whatever an import accepts: `/`, blanks, Cyrillic."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.viewer import Viewer
from broker.store.queries.order_card import Card


def card(number: str) -> str:
    """Return the address of a study's card, by its accession number."""
    return f"/order/{quote(number, safe='')}"


def label(number: str) -> str:
    """Return the address of a study's label."""
    return f"/label/{quote(number, safe='')}"


def report(number: str) -> str:
    """Return the address of a signed report as PDF."""
    return f"/report/{quote(number, safe='')}.pdf"


def reading(number: str, only: str = "") -> str:
    """Return the address of the page that describes a study; `only` is the modality of the list that it goes on in."""
    return f"/reading/{quote(number, safe='')}" + (f"?{urlencode({'only': only})}" if only else "")


def together(number: str) -> str:
    """Return the address of the page on which two readers who differ decide together."""
    return f"/together/{quote(number, safe='')}"


def amendment(number: str) -> str:
    """Return the address of the form that changes a referral."""
    return f"/desk?{urlencode({'order': number})}"


def another(number: str) -> str:
    """Return the address of the form that registers one more study under the same number."""
    return f"/desk?{urlencode({'another': number})}"


def comparison(number: str) -> str:
    """Return the address of the comparison of a study with what the archive holds."""
    return f"/archive?{urlencode({'order': number})}"


def images(viewer: Viewer | None, card: Card) -> str:
    """Return the address of a study's images in the clinic's viewer; empty without one, or without images."""
    if viewer is None or not card.has_images:
        return ""
    return viewer.link(card.images_uid, card.order.shown_number, card.order.patient.patient_id)


def archived_images(viewer: Viewer | None, study: ArchiveStudy) -> str:
    """Return the address of what the archive holds in the clinic's viewer, by the archive's own numbers of it."""
    return viewer.link(study.study_instance_uid, study.accession_number, study.patient_id) if viewer else ""
