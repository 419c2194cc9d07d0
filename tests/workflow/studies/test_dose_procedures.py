"""The account of a year is made of what was completed here, by the rows that the administrator gives."""

from __future__ import annotations

import pytest

from broker.domain.errors import Forbidden, Invalid
from broker.domain.studies.dose_account import AccountRow, AgeGroup
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.studies import dose_account
from broker.store.tables.studies import dose_procedures as table
from broker.workflow.referrals import referrals
from broker.workflow.studies import dose_procedures, performed_steps
from broker.workflow.studies import received_objects as use_cases
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft
from tests.workflow.studies.test_received_objects import dap, report
from tests.workflow.studies.test_received_objects import table as coefficients


def rows(store: Store, year: int) -> list[AccountRow]:
    with store.read() as reader:
        return dose_account.of_year(reader, year)


def test_a_completed_study_counts_in_its_year_with_its_calculated_dose(store: Store) -> None:
    coefficients(store, "1")
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    store.write(referrals.register, draft(), REGISTRAR, CLINIC)  # not made
    store.write(dose_procedures.set_form_row, order.procedure_code, " 12.3 ", SYSTEM)
    step = factory.performed("1.2.3.4", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=1)
    request = performed_steps.ChangeRequest("1.2.3.4", done, factory.message("2"))
    store.write(performed_steps.change, request, XRAY, CLINIC)
    store.write(use_cases.receive, report(order), dap(1e-5), XRAY)
    year = factory.soon().year
    assert rows(store, year) == [AccountRow("12.3", "DX", order.body_site, AgeGroup.ADULT, 0, 1, 0, 0, 0.01)]
    assert rows(store, year - 1) == []


def test_the_administrator_says_what_is_prophylactic_and_keeps_the_rows(store: Store) -> None:
    store.write(dose_procedures.set_form_row, "WLB-KNEE", "12", SYSTEM)
    store.write(dose_procedures.set_prophylactic, frozenset({"WLB-KNEE", "WLB-FLG1"}), SYSTEM)
    store.write(dose_procedures.set_prophylactic, frozenset({"WLB-FLG1"}), SYSTEM)
    with store.read() as reader:
        assert table.prophylactic(reader) == {"WLB-FLG1"}
        assert table.form_rows(reader) == {"WLB-KNEE": "12"}
    with pytest.raises(Forbidden):
        store.write(dose_procedures.set_prophylactic, frozenset({"WLB-KNEE"}), REGISTRAR)
    with pytest.raises(Invalid):
        store.write(dose_procedures.set_form_row, "WLB-KNEE", "x" * 33, SYSTEM)
