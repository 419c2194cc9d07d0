"""Which earlier studies a planned one would repeat, and what dose the year has brought."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.domain.studies.prior_studies import OwnStudy, dose_of_year, is_final, latest_reports, repeated_studies

TODAY = date(2026, 11, 24)
DAYS = {"CT": 90, "DX": 14, "DX/4": 30}
STRANGER = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"


def own(modality: str = "CT", ago: int = 10, **changes: Any) -> OwnStudy:
    base: dict[str, Any] = {"order_id": 1, "accession_number": "K1", "studied_on": days_ago(ago)}
    return OwnStudy(**(base | {"modality": modality} | changes))


def foreign(modality: str = "CT", ago: int = 10, **changes: Any) -> ExternalStudy:
    base: dict[str, Any] = {"reference": "DiagnosticReport/1", "status": "final", "organisation": STRANGER}
    return ExternalStudy(**(base | {"studied_on": days_ago(ago), "modality": modality} | changes))


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_a_study_inside_the_interval_is_found_with_where_and_what() -> None:
    found = repeated_studies(
        "CT",
        "4",
        TODAY,
        [own(ago=3, body_site="4", conclusion="Норма", effective_dose=2.0)],
        [foreign(ago=80, body_site="4", conclusion="Пневмония", effective_dose=3.1)],
        DAYS,
    )
    assert [(each.organisation, each.conclusion, each.effective_dose) for each in found] == [
        ("", "Норма", 2.0),
        (STRANGER, "Пневмония", 3.1),
    ]
    assert all(each.site_known for each in found)
    assert (found[0].order_id, found[1].reference) == (1, "DiagnosticReport/1")


def test_the_interval_ends_on_its_last_day_and_the_future_is_not_a_repetition() -> None:
    assert repeated_studies("CT", "", TODAY, [own(ago=90)], [], DAYS)
    assert not repeated_studies("CT", "", TODAY, [own(ago=91)], [], DAYS)
    assert not repeated_studies("CT", "", TODAY, [own(ago=-1)], [foreign(studied_on=None)], DAYS)


def test_without_an_interval_for_the_modality_there_are_no_warnings() -> None:
    assert not repeated_studies("MR", "", TODAY, [own("MR")], [foreign("MR")], DAYS)
    assert not repeated_studies("CT", "", TODAY, [own()], [foreign()], {})
    assert not repeated_studies("CT", "", TODAY, [own(ago=0)], [], {"CT": 0})


def test_the_line_for_a_body_site_decides_before_that_of_the_modality() -> None:
    assert repeated_studies("DX", "4", TODAY, [own("DX", 20, body_site="4")], [], DAYS)
    assert not repeated_studies("DX", "5", TODAY, [own("DX", 20, body_site="5")], [], DAYS)
    assert not repeated_studies("DX", "4", TODAY, [own("DX", 3, body_site="4")], [], {"DX": 14, "DX/4": 0})


def test_another_body_site_is_not_a_repetition_and_an_unknown_one_may_be() -> None:
    assert not repeated_studies("DX", "4", TODAY, [own("DX", 3, body_site="25")], [], DAYS)
    for planned, done in (("4", ""), ("", "4"), ("", "")):
        [found] = repeated_studies("DX", planned, TODAY, [own("DX", 3, body_site=done)], [], DAYS)
        assert not found.site_known
        assert not repeated_studies("DX", planned, TODAY, [own("DX", 20, body_site=done)], [], DAYS)
        assert not repeated_studies("DX", planned, TODAY, [own("DX", 3, body_site=done)], [], {"DX/4": 30})


def test_radiography_is_one_modality_and_an_xray_of_unknown_kind_counts_for_all() -> None:
    assert repeated_studies("DX", "", TODAY, [own("CR", 3)], [], DAYS)
    assert repeated_studies("CR", "", TODAY, [own("DX", 3)], [], DAYS)
    assert repeated_studies("MG", "", TODAY, [], [foreign("RG", 3)], {"MG": 30})
    assert not repeated_studies("MG", "", TODAY, [own("DX", 3)], [], {"MG": 30})
    assert not repeated_studies("CT", "", TODAY, [], [foreign("RG", 3)], DAYS)


def test_a_study_with_several_reports_is_warned_of_once() -> None:
    reports = [
        foreign(reference="DiagnosticReport/2", conclusion="Пневмония", study_instance_uid="1.2.3"),
        foreign(reference="DiagnosticReport/1", status="partial", study_instance_uid="1.2.3"),
    ]
    for reported in (reports, reports[::-1]):
        [found] = repeated_studies("CT", "", TODAY, [], reported, DAYS)
        assert found.conclusion == "Пневмония"
        assert [study.reference for study in latest_reports(reported)] == ["DiagnosticReport/2"]
    [ours] = repeated_studies("CT", "", TODAY, [own(study_instance_uid="1.2.3")], reports, DAYS)
    assert ours.order_id == 1


def test_two_clinics_studies_with_one_number_are_two() -> None:
    reports = [foreign(accession_number="7"), foreign(reference="2", organisation="other", accession_number="7")]
    assert len(repeated_studies("CT", "", TODAY, [], reports, DAYS)) == 2


def test_of_two_finished_reports_the_later_is_the_last_word_and_each_clinic_has_its_own() -> None:
    first = foreign(conclusion="Норма", accession_number="A1")
    second = foreign(reference="DiagnosticReport/2", status="amended", conclusion="Перелом", accession_number="A1")
    other = foreign(reference="DiagnosticReport/3", organisation="other", accession_number="A1")
    assert latest_reports([first, second]) == [second]
    assert len(latest_reports([first, second, other])) == 2
    assert not is_final(foreign(status="partial"))
    assert is_final(second)


def test_the_dose_of_a_year_adds_known_doses_and_counts_unknown_ones() -> None:
    ours = [
        own(effective_dose=1.5, study_instance_uid="1.2"),
        own("US"),
        own("DX", 20),
        own(ago=366, effective_dose=9.0),
    ]
    theirs = [
        foreign(effective_dose=0.3, study_instance_uid="1.3"),
        foreign(reference="DiagnosticReport/2", organisation="other", study_instance_uid="1.3"),
        foreign(reference="DiagnosticReport/3", effective_dose=1.5, study_instance_uid="1.2"),
        foreign("MR", reference="DiagnosticReport/4"),
        foreign(reference="DiagnosticReport/5", studied_on=None, effective_dose=5.0),
    ]
    sum_ = dose_of_year(TODAY, ours, theirs)
    assert (sum_.millisieverts, sum_.known, sum_.unknown) == (1.8, 2, 1)
    assert dose_of_year(TODAY, [], []).millisieverts == 0


@given(
    st.lists(st.tuples(st.sampled_from(["CT", "DX", "MR"]), st.integers(-400, 400), st.sampled_from(["", "4", "5"]))),
    st.dictionaries(st.sampled_from(["CT", "DX", "DX/4", "MR/5"]), st.integers(0, 400)),
    st.sampled_from(["CT", "DX", "MR"]),
    st.sampled_from(["", "4", "5"]),
)
def test_nothing_outside_the_longest_interval_is_ever_found(
    done: list[tuple[str, int, str]], days: dict[str, int], planned: str, site: str
) -> None:
    studies = [own(modality, ago, body_site=place) for modality, ago, place in done]
    for each in repeated_studies(planned, site, TODAY, studies, [], days):
        assert 0 <= (TODAY - each.studied_on).days <= max(days.values())
        assert each.modality == planned
        assert each.body_site in ("", site or each.body_site)


def test_only_studies_marked_prophylactic_count_against_their_limit_and_no_dose_is_invented() -> None:
    made = [
        own("DX", 200, procedure_code="FLG", effective_dose=0.05, prophylactic=True),
        own("DX", 20, procedure_code="FLG", effective_dose=0.06, prophylactic=True),
        own("MG", 30, procedure_code="MMG", prophylactic=True),  # its dose is not known
        own("CT", 10, procedure_code="CT1", effective_dose=7.0),
        own("DX", 400, procedure_code="FLG", effective_dose=0.9, prophylactic=True),
    ]
    year = prior_studies.prophylactic_of_year(TODAY, made)
    assert (year.millisieverts, year.known, year.unknown) == (0.11, 2, 1)
    assert prior_studies.prophylactic_after("FLG", TODAY, made) == 0.17
    assert prior_studies.prophylactic_after("MMG", TODAY, made) == 0.11
