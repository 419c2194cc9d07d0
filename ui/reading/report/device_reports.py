"""What modalities have stored of a study: the dose of their dose reports, and the reports and documents. Draws only."""

from __future__ import annotations

from datetime import date, tzinfo

from nicegui import ui

from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated, TypedDose
from broker.domain.studies.received import ReceivedKind, StoredObject
from broker.store.queries.studies.received import Received
from ui.text import received as said
from ui.text import words
from ui.widgets import theme
from ui.widgets.theme import text


def draw(
    found: Received,
    effective: CalculatedDose | NotCalculated,
    zone: tzinfo,
    today: date,
    typed: TypedDose | None = None,
) -> None:
    """Draw the dose of a study, and what was received; nothing where nothing was."""
    draw_dose(found, effective, typed)
    draw_objects(found, zone, today)


def draw_objects(found: Received, zone: tzinfo, today: date) -> None:
    """Draw what was received; nothing where nothing was."""
    if not found.objects:
        return
    with theme.section(said.OF_ORDER), ui.element("ul").classes("facts-list"):
        for each in found.objects:
            with text("li", ""):
                text("span", _line(each, zone, today))
                if not found.is_hidden or each.received.kind is ReceivedKind.DOSE:
                    ui.link("Открыть", said.address(each.id), new_tab=True).classes("small").style("margin-left: 8px")
        if found.is_hidden and any(each.received.kind is not ReceivedKind.DOSE for each in found.objects):
            text("p", said.HIDDEN, "muted small")


def draw_dose(found: Received, effective: CalculatedDose | NotCalculated, typed: TypedDose | None = None) -> None:
    """Draw the dose that dose reports state, with its units, and the effective one; nothing where there is neither.

    What a person has typed stands over what was calculated.
    """
    facts, doubts = said.dose_facts(found.dose), said.doubts(found.dose)
    if not facts and not doubts and not isinstance(effective, CalculatedDose) and typed is None:
        return
    if typed:
        facts.append(("Эффективная доза", f"{said.number(typed.millisieverts)} мЗв, вписана: {typed.typed_by}"))
    facts.append(("По расчёту" if typed else "Эффективная доза", said.effective(effective)))
    with theme.section(said.DOSE):
        theme.facts(facts)
        for each in doubts:
            text("p", each, "attention-reason")


def _line(each: StoredObject, zone: tzinfo, today: date) -> str:
    received, at = each.received, words.moment(each.received_at, zone, today)
    title = f" «{received.title}»" if received.title else ""
    parts = [f"{said.KINDS[received.kind]}{title}", f"аппарат {received.ae_title}", at, said.problem(each)]
    return ", ".join(part for part in parts if part)
