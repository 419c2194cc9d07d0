"""The search above the form: a name, a number or a barcode finds a patient, or begins a new one; and a mother's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from broker.domain.patients.people import Patient
from broker.store.queries.patients import patient_search
from ui.desk.referral.form import ReferralForm
from ui.live import read_as_viewer
from ui.services import Services
from ui.text import patient_cards as card_words
from ui.widgets import theme
from ui.widgets.autocomplete import Autocomplete
from ui.widgets.form_field import labelled_field

SHOWN = 8  # patients that are listed


class PatientSearch:
    """The search field; `take` is called with the chosen patient, or with None and what was typed for a new one."""

    def __init__(
        self, services: Services, take: Callable[[Patient | None, str], Awaitable[None]], *, autofocus: bool
    ) -> None:
        self._services = services
        self._former: dict[int, str] = {}  # by what name of before patients were found
        self.field = labelled_field(
            "Поиск: ФИО, СНИЛС, полис или штрих-код",
            name="patient-search",
            narrow=12,
            props="data-start maxlength=200" + (" autofocus" if autofocus else ""),
        )
        with self.field.control.add_slot("prepend"):
            ui.icon("search").style("font-size: 20px")
        Autocomplete(
            self.field,
            self._find,
            self._draw,
            take,
            name="patient",
            at_most=SHOWN,
            eager=True,
            no_match="Никого нет. Новый пациент:",
            other="Новый пациент:",
        )

    async def _find(self, typed: str) -> list[Patient]:
        found = await read_as_viewer(self._services, lambda reader: patient_search.search(reader, typed, SHOWN + 1))
        self._former = card_words.former_names(found)
        return found.patients

    def _draw(self, patient: Patient) -> None:
        former = self._former.get(patient.stored_id, "")
        theme.patient_line(str(patient.name), patient.born, self._services.today(), former)


def suggest_mothers(services: Services, form: ReferralForm) -> None:
    """Offer known patients as the mother of a newborn; one who is not known is typed."""
    field = form.fields["mother"]
    field.box.classes("combo")

    async def find(typed: str) -> list[Patient]:
        found = await read_as_viewer(services, lambda reader: patient_search.mothers(reader, typed, SHOWN + 1))
        return found.patients

    async def take(mother: Patient | None, typed: str) -> None:
        form.fill_newborn(mother, typed)

    with field.box:
        Autocomplete(
            field,
            find,
            lambda each: theme.patient_line(str(each.name), each.born, services.today()),
            take,
            name="mother",
            at_most=SHOWN,
            eager=True,
            no_match="Карты нет. Мать:",
            other="Другая, карты нет:",
            filling=lambda: form.filling,
        )
