"""Our orders as FHIR: the wire profile's field table, resource by resource, and what is left out when it is unknown."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.app.settings import bus_profile
from broker.bus.fhir import Resource, encode
from broker.bus.outbound.bundle import task_number, task_search
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import VERSION_NOT_CONFIGURED, systems_without_version
from broker.bus.transport.dialect import n3
from broker.config.configuration import Config
from broker.domain.messages import BusReferences, OutboxKind
from broker.domain.orders import Priority
from broker.domain.patients.people import PersonName, Sex
from broker.domain.studies.performed import StepReference
from tests.bus.samples import MIS, ORGANISATION, PROFILE, STUDY_UID, bare_order, completed, of, order, report, url_of
from tests.support.practice import practice_bus

N3 = "urn:oid:1.2.643.2.69.1.1.1"
NSI = "urn:oid:1.2.643.5.1.13.13.11"
REFERENCES = BusReferences(task="t-1", service_request="s-1", patient="p-1", acsn="ODII0000000001")
MADE_AT = datetime(2026, 11, 24, 6, 45, tzinfo=UTC)


def coding(system: str, code: str, version: str = VERSION_NOT_CONFIGURED) -> Resource:
    return {"system": system, "version": version, "code": code}


def concept(system: str, code: str, text: str = "", version: str = VERSION_NOT_CONFIGURED) -> Resource:
    return {"coding": [coding(system, code, version)]} | ({"text": text} if text else {})


@pytest.fixture(scope="module")
def bundle() -> Resource:
    return order_bundle(order(), PROFILE)


@pytest.fixture(scope="module")
def images() -> Resource:
    return images_bundle(order(), [completed()], REFERENCES, PROFILE, MADE_AT)


# ---- the order, resource by resource ----


def test_the_patient_has_the_own_number_with_the_mis_the_snils_and_the_policy(bundle: Resource) -> None:
    assert of(bundle, "Patient") == [
        {
            "resourceType": "Patient",
            "identifier": [
                {
                    "system": "urn:oid:1.2.643.5.1.13.2.7.100.5",
                    "value": "000017",
                    "assigner": {"display": MIS},
                },
                {"system": f"{N3}.6.223", "value": "11223344595"},
                {
                    "system": f"{N3}.6.228",
                    "value": "7800000012345671",
                    "assigner": {"display": "1.2.643.5.1.13.2.1.1.635.78007"},
                },
            ],
            "name": [{"family": "Кузнецова", "given": ["Марина", "Петровна"]}],
            "gender": "female",
            "birthDate": "1961-03-12",
            "managingOrganization": ORGANISATION,
        }
    ]


def test_the_insurer_is_the_assigner_of_the_policy_as_live_clients_send_it_and_no_name_without_a_code() -> None:
    def policy(insurer: str) -> Resource:
        insured = replace(order(), patient=replace(order().patient, insurer=insurer))
        [patient] = of(order_bundle(insured, PROFILE), "Patient")
        found: Resource = next(each for each in patient["identifier"] if each["system"] == f"{N3}.6.228")
        return found

    assert policy("78007")["assigner"] == {"display": "1.2.643.5.1.13.2.1.1.635.78007"}
    assert "assigner" not in policy("Городская страховая")


def test_the_doctor_has_a_number_and_a_snils_and_a_role_with_position_and_specialty(bundle: Resource) -> None:
    [doctor], [role] = of(bundle, "Practitioner"), of(bundle, "PractitionerRole")
    own = doctor["identifier"].pop(0)
    assert own["system"] == "urn:oid:1.2.643.5.1.13.2.7.100.5"
    assert own["assigner"] == {"display": MIS}
    assert uuid.UUID(own["value"]).version == 5
    assert doctor == {
        "resourceType": "Practitioner",
        "active": True,
        "identifier": [{"system": f"{N3}.6.223", "value": "08765430300"}],
        "name": [{"family": "Зимин", "given": ["Андрей", "Павлович"]}],
    }
    assert role == {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": url_of(bundle, "Practitioner"),
        "organization": ORGANISATION,
        "code": [concept(f"{NSI}.1002", "109", "Терапевт")],
        "specialty": [concept(f"{NSI}.1066", "27")],
    }


def test_the_diagnosis_is_a_provisional_condition(bundle: Resource) -> None:
    assert of(bundle, "Condition") == [
        {
            "resourceType": "Condition",
            "verificationStatus": concept("urn:oid:2.16.840.1.113883.4.642.1.1075", "provisional"),
            "category": [concept(f"{N3}.36", "diagnosis")],
            "code": concept(f"{NSI}.1005", "M17.1", "Первичный гонартроз"),
            "subject": url_of(bundle, "Patient"),
        }
    ]


def test_height_and_weight_are_observations(bundle: Resource) -> None:
    def measured(code: str, value: float, unit: str, ucum: str) -> Resource:
        quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": ucum}
        return {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(f"{N3}.37", code),
            "subject": url_of(bundle, "Patient"),
            "valueQuantity": quantity,
        }

    assert of(bundle, "Observation") == [measured("1", 165.0, "см", "cm"), measured("2", 70.5, "кг", "kg")]


def test_the_encounter_is_an_ambulatory_visit_with_the_diagnosis(bundle: Resource) -> None:
    assert of(bundle, "Encounter") == [
        {
            "resourceType": "Encounter",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001"}],
            "status": "in-progress",
            "class": coding("urn:oid:2.16.840.1.113883.1.11.13955", "AMB"),
            "type": [concept(f"{N3}.35", "2")],
            "subject": url_of(bundle, "Patient"),
            "diagnosis": [{"condition": url_of(bundle, "Condition")}],
            "serviceProvider": ORGANISATION,
        }
    ]


def test_the_service_request_has_procedure_finance_body_site_and_notes(bundle: Resource) -> None:
    [request] = of(bundle, "ServiceRequest")
    supporting = request.pop("supportingInfo")
    assert supporting[0] == url_of(bundle, "Condition")
    observed = [e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]
    assert [item["reference"] for item in supporting[1:]] == observed
    assert request == {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "filler-order",
        "priority": "routine",
        "code": concept(f"{NSI}.1471", "7003087", "Рентгенография коленного сустава", version="2.1"),
        "orderDetail": [concept(f"{N3}.32", "1")],
        "subject": url_of(bundle, "Patient"),
        "encounter": url_of(bundle, "Encounter"),
        "requester": url_of(bundle, "PractitionerRole"),
        "bodySite": [concept(f"{NSI}.1477", "25")],
        "note": [{"text": "Упал на лёд"}, {"text": "Сторона: правая"}],
    }


def test_the_task_bears_our_number_under_the_mis_and_the_clinics_offset(bundle: Resource) -> None:
    assert of(bundle, "Task") == [
        {
            "resourceType": "Task",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001"}],
            "status": "requested",
            "intent": "original-order",
            "authoredOn": "2026-11-24T09:00:30+03:00",
            "focus": url_of(bundle, "ServiceRequest"),
            "for": url_of(bundle, "Patient"),
            "requester": ORGANISATION,
            "owner": ORGANISATION,
        }
    ]


# ---- what is not known is not told ----


def test_without_a_named_doctor_the_organisation_refers_and_no_doctor_is_invented() -> None:
    bare = order_bundle(bare_order(), PROFILE)
    assert {e["resource"]["resourceType"] for e in bare["entry"]} == {"Patient", "Encounter", "ServiceRequest", "Task"}
    assert of(bare, "ServiceRequest")[0]["requester"] == ORGANISATION


def test_without_a_diagnosis_there_is_no_condition() -> None:
    bare = order_bundle(bare_order(), PROFILE)
    assert "diagnosis" not in of(bare, "Encounter")[0]
    assert {"supportingInfo", "bodySite", "note"}.isdisjoint(of(bare, "ServiceRequest")[0])


def test_a_diagnosis_in_words_gets_no_code() -> None:
    [condition] = of(order_bundle(order(diagnosis_code=""), PROFILE), "Condition")
    assert condition["code"] == {"text": "Первичный гонартроз"}


def test_a_patient_without_snils_and_policy_has_the_own_number_alone() -> None:
    [patient] = of(order_bundle(bare_order(), PROFILE), "Patient")
    assert [identifier["value"] for identifier in patient["identifier"]] == ["000017"]


def test_a_position_without_configured_codes_goes_in_words_and_no_specialty_is_guessed() -> None:
    [role] = of(order_bundle(order(referrer_position="глава семьи врачей"), PROFILE), "PractitionerRole")
    assert role["code"] == [{"text": "глава семьи врачей"}]
    assert "specialty" not in role
    [role] = of(order_bundle(order(referrer_position=""), PROFILE), "PractitionerRole")
    assert "code" not in role


def test_a_local_procedure_does_not_pass_for_one_of_the_official_dictionary() -> None:
    [request] = of(order_bundle(bare_order(), PROFILE), "ServiceRequest")
    assert request["code"]["coding"] == [coding(f"urn:oid:{MIS}", "WLB-KNEE")]


def test_a_missing_middle_or_given_name_leaves_no_empty_member() -> None:
    patient = replace(order().patient, name=PersonName("Ли", "Ен"))
    [person] = of(order_bundle(order(patient=patient), PROFILE), "Patient")
    assert person["name"] == [{"family": "Ли", "given": ["Ен"]}]
    [doctor] = of(order_bundle(order(referrer=PersonName("Зимин")), PROFILE), "Practitioner")
    assert doctor["name"] == [{"family": "Зимин"}]


@pytest.mark.parametrize(("sex", "gender"), [(Sex.MALE, "male"), (Sex.FEMALE, "female"), (Sex.OTHER, "other")])
def test_sex_is_sent_in_fhirs_words(sex: Sex, gender: str) -> None:
    [patient] = of(order_bundle(order(patient=replace(order().patient, sex=sex)), PROFILE), "Patient")
    assert patient["gender"] == gender


@pytest.mark.parametrize(
    ("side", "words"), [("L", ["Сторона: левая"]), ("B", ["Сторона: обе"]), ("R", ["Сторона: правая"]), ("", [])]
)
def test_the_side_is_sent_in_a_note(side: str, words: list[str]) -> None:
    [request] = of(order_bundle(order(laterality=side, comment=""), PROFILE), "ServiceRequest")
    assert [note["text"] for note in request.get("note", [])] == words


def test_priority_and_finance_are_sent() -> None:
    [request] = of(order_bundle(order(priority=Priority.URGENT, finance="4"), PROFILE), "ServiceRequest")
    assert request["priority"] == "urgent"
    assert request["orderDetail"] == [concept(f"{N3}.32", "4")]


def test_the_same_doctor_keeps_the_same_number_and_another_has_another() -> None:
    def number(**changes: Any) -> str:
        [doctor] = of(order_bundle(order(**changes), PROFILE), "Practitioner")
        value: str = doctor["identifier"][0]["value"]
        return value

    assert number() == number(accession_number="K2611-0002", study_instance_uid="1.2.3", referrer_position="хирург")
    nameless = {"referrer_snils": ""}
    assert number(**nameless) == number(**nameless, referrer=PersonName("ЗИМИН", "Андрей", "Павлович"))
    assert len({number(), number(**nameless), number(**nameless, referrer=PersonName("Зимина", "Анна"))}) == 3


# ---- images ----


def test_images_taken_is_a_reflex_task_on_the_original_one(images: Resource) -> None:
    assert of(images, "Task") == [
        {
            "resourceType": "Task",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001/in-progress"}],
            "basedOn": [{"reference": "Task/t-1"}],
            "status": "in-progress",
            "intent": "reflex-order",
            "authoredOn": "2026-11-24T09:45:00+03:00",
            "focus": url_of(images, "DiagnosticReport"),
            "for": {"reference": "Patient/p-1"},
            "requester": ORGANISATION,
            "owner": ORGANISATION,
        }
    ]


def test_images_taken_has_a_partial_report_without_observations(images: Resource) -> None:
    assert of(images, "DiagnosticReport") == [
        {
            "resourceType": "DiagnosticReport",
            "meta": {"security": [coding(f"{NSI}.1116", "N")]},
            "basedOn": [{"reference": "ServiceRequest/s-1"}],
            "status": "partial",
            "category": [concept(f"{NSI}.1472", "4")],
            "code": concept(f"{NSI}.1471", "7003087", "Рентгенография коленного сустава", version="2.1"),
            "subject": {"reference": "Patient/p-1"},
            "effectiveDateTime": "2026-11-24T09:41:07+03:00",
            "issued": "2026-11-24T09:45:00+03:00",
            "imagingStudy": [url_of(images, "ImagingStudy")],
        }
    ]
    assert of(images, "Observation") == []


def test_images_taken_names_the_study_by_the_buss_number_and_its_uid(images: Resource) -> None:
    assert of(images, "ImagingStudy") == [
        {
            "resourceType": "ImagingStudy",
            "identifier": [
                {"type": concept(f"{N3}.122", "ACSN"), "system": f"urn:oid:{MIS}", "value": "ODII0000000001"},
                {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"},
            ],
            "status": "available",
            "modality": [coding("urn:oid:1.2.840.10008.2.16.4", "DX")],
            "subject": {"reference": "Patient/p-1"},
            "started": "2026-11-24T09:41:07+03:00",
            "numberOfInstances": 2,
        }
    ]


def test_without_a_number_of_the_bus_the_study_bears_ours() -> None:
    made = images_bundle(order(), [completed()], replace(REFERENCES, acsn=""), PROFILE, MADE_AT)
    assert of(made, "ImagingStudy")[0]["identifier"][0]["value"] == "K2611-0001"


def test_several_steps_of_one_study_are_summed_up() -> None:
    ours = StepReference(study_instance_uid=STUDY_UID)
    later = completed("1.2.3.5", ours, start=datetime(2026, 11, 24, 9, 50), images=3, modality="CR")
    made = images_bundle(order(), [later, completed()], REFERENCES, PROFILE, MADE_AT)
    [study] = of(made, "ImagingStudy")
    assert study["numberOfInstances"] == 5
    assert study["started"] == "2026-11-24T09:41:07+03:00"
    assert [one["code"] for one in study["modality"]] == ["CR", "DX"]


def test_a_study_that_was_linked_later_is_sent_under_the_uid_of_its_images() -> None:
    walk_in = completed("1.2.3.5", StepReference(study_instance_uid="2.25.77"))
    nonsense = completed("1.2.3.6", StepReference(study_instance_uid="1.02.a"))
    made = images_bundle(order(), [walk_in, nonsense], REFERENCES, PROFILE, MADE_AT)
    uids = [study["identifier"][1]["value"] for study in of(made, "ImagingStudy")]
    assert uids == ["urn:oid:2.25.77", f"urn:oid:{STUDY_UID}"]
    assert len(of(made, "DiagnosticReport")[0]["imagingStudy"]) == 2


def test_a_step_that_names_our_study_among_others_is_ours() -> None:
    both = completed("1.2.3.5", StepReference(study_instance_uid="2.25.77"), StepReference(STUDY_UID))
    [study] = of(images_bundle(order(), [both], REFERENCES, PROFILE, MADE_AT), "ImagingStudy")
    assert study["identifier"][1]["value"] == f"urn:oid:{STUDY_UID}"


def test_what_the_modality_did_not_say_is_left_out() -> None:
    made = images_bundle(order(), [completed(start=None, images=0, modality="")], REFERENCES, PROFILE, MADE_AT)
    [study] = of(made, "ImagingStudy")
    assert "started" not in study
    assert "numberOfInstances" not in study
    assert study["modality"] == [coding("urn:oid:1.2.840.10008.2.16.4", "DX")]
    assert of(made, "DiagnosticReport")[0]["effectiveDateTime"] == "2026-11-24T09:45:00+03:00"
    assert len(of(images_bundle(order(), [], REFERENCES, PROFILE, MADE_AT), "ImagingStudy")) == 1


CATEGORIES = {
    "CT": "1",
    "MR": "2",
    "US": "3",
    "DX": "4",
    "MG": "4",
    "CR": "4",
    "NM": "5",
    "PT": "5",
    "ECG": "6",
    "ES": "7",
}


@pytest.mark.parametrize(("modality", "code"), [*CATEGORIES.items(), ("OT", None)])
def test_the_reports_category_follows_the_modality_and_an_unknown_one_has_none(modality: str, code: str | None) -> None:
    made = images_bundle(order(modality=modality), [completed()], REFERENCES, PROFILE, MADE_AT)
    categories = of(made, "DiagnosticReport")[0].get("category", [])
    assert [category["coding"][0]["code"] for category in categories] == [code] * bool(code)


# ---- every bundle ----

BUNDLES: dict[str, Callable[[], Resource]] = {
    "full order": lambda: order_bundle(order(), PROFILE),
    "bare order": lambda: order_bundle(bare_order(), PROFILE),
    "amendment": lambda: amendment_bundle(order(), REFERENCES, PROFILE),
    "images": lambda: images_bundle(order(), [completed()], REFERENCES, PROFILE, MADE_AT),
    "report": lambda: report_bundle(order(), report(), [completed()], REFERENCES, PROFILE, b"%PDF-1.7", MADE_AT),
}


@pytest.fixture(params=BUNDLES)
def any_bundle(request: pytest.FixtureRequest) -> Resource:
    return BUNDLES[request.param]()


def resolver(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    yield key, node
    if isinstance(node, dict):
        for name, value in node.items():
            yield from resolver(value, name)
    if isinstance(node, list):
        for item in node:
            yield from resolver(item, key)


def test_every_entry_has_a_request_in_strict_r4(any_bundle: Resource) -> None:
    assert any_bundle["type"] == "transaction"
    for entry in any_bundle["entry"]:
        kind = entry["resource"]["resourceType"]
        assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", entry["fullUrl"])
        assert set(entry["request"]) <= {"method", "url", "ifNoneExist"}
        assert entry["request"]["method"] in ("POST", "PUT")
        assert re.split(r"[/?]", entry["request"]["url"])[0] == kind
    assert len({entry["fullUrl"] for entry in any_bundle["entry"]}) == len(any_bundle["entry"])


def test_every_entry_but_the_document_is_found_again_by_a_number_that_it_bears(any_bundle: Resource) -> None:
    asked: set[tuple[str, str]] = set()
    for entry in any_bundle["entry"]:
        kind, request = entry["resource"]["resourceType"], entry["request"]
        if kind == "Binary":  # which R4 gives no identifier
            continue
        if known := re.fullmatch(rf"{kind}/(\w-\d)", request["url"]):
            assert entry["resource"]["id"] == known[1]
            continue
        criteria = request.get("ifNoneExist") or request["url"].partition("?")[2]
        numbers = [f"identifier={one.get('system')}|{one['value']}" for one in entry["resource"]["identifier"]]
        assert criteria in numbers
        assert (kind, criteria) not in asked
        asked.add((kind, criteria))


def test_every_inner_reference_leads_to_an_entry(any_bundle: Resource) -> None:
    urls = {entry["fullUrl"] for entry in any_bundle["entry"]}
    inner = [value for key, value in resolver(any_bundle) if key == "reference" and value.startswith("urn:uuid:")]
    assert inner
    assert set(inner) <= urls


def test_no_member_is_empty_and_every_coding_has_system_version_and_code(any_bundle: Resource) -> None:
    for key, value in resolver(any_bundle):
        assert value not in ("", [], {}, None), key
        if _is_coding(value) and key != "connectionType":
            assert set(value) == {"system", "version", "code"}
            assert value["system"].startswith("urn:oid:")


def test_equal_content_gives_equal_bytes_in_utf_8(any_bundle: Resource, request: pytest.FixtureRequest) -> None:
    again = BUNDLES[request.node.callspec.params["any_bundle"]]()
    assert encode(any_bundle) == encode(again)
    assert encode({"б": "ё", "a": 1}) == '{"a":1,"б":"ё"}'.encode()
    assert json.loads(encode(any_bundle).decode("utf-8")) == any_bundle


def test_other_content_of_the_same_order_keeps_the_full_urls() -> None:
    first, amended = order_bundle(order(), PROFILE), order_bundle(order(comment="Другое", finance="3"), PROFILE)
    assert encode(first) != encode(amended)
    assert [e["fullUrl"] for e in first["entry"]] == [e["fullUrl"] for e in amended["entry"]]
    other = order_bundle(order(study_instance_uid="1.2.3"), PROFILE)
    assert {e["fullUrl"] for e in first["entry"]}.isdisjoint(e["fullUrl"] for e in other["entry"])


def test_what_json_or_utf_8_cannot_hold_is_refused() -> None:
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):  # noqa: PT011 - either of two kinds
            encode({"value": value})


def test_the_strict_practice_bus_takes_a_full_order_and_its_images() -> None:
    bus = practice_bus()
    answered = bus.transaction(n3(order_bundle(order(), PROFILE)))
    [task], [request] = of(answered, "Task"), of(answered, "ServiceRequest")
    references = BusReferences(task["id"], request["id"], of(answered, "Patient")[0]["id"], "ODII0000000001")
    bus.transaction(n3(images_bundle(order(), [completed()], references, PROFILE, MADE_AT)))
    assert [task["status"] for task in bus.tasks()] == ["requested", "in-progress"]


def test_a_lenient_practice_bus_takes_an_order_with_nothing_but_the_necessary() -> None:
    bus = practice_bus(lenient=True)
    bus.transaction(n3(order_bundle(bare_order(), PROFILE)))
    bus.transaction(n3(order_bundle(order(accession_number="K2611-0002", diagnosis_code=""), PROFILE)))
    assert len(bus.tasks()) == 2


# ---- parameters, profile ----


def test_a_task_of_ours_is_searched_by_its_number_its_intent_and_who_ordered() -> None:
    search = {
        "intent": "original-order",
        "requester": ORGANISATION["reference"],
        "identifier": f"urn:oid:{MIS}|K2611-0001",
        "_count": "500",
    }
    assert task_search("K2611-0001", "original-order", PROFILE) == search
    foreign = task_search("K2611-0001/completed", "reflex-order", PROFILE, "0b1c")
    assert (foreign["requester"], foreign["identifier"]) == ("Organization/0b1c", f"urn:oid:{MIS}|K2611-0001/completed")


def test_each_message_has_a_number_of_its_own() -> None:
    assert task_number(order(), OutboxKind.ORDER) == "K2611-0001"
    assert task_number(order(), OutboxKind.IMAGES) == "K2611-0001/in-progress"
    assert task_number(order(), OutboxKind.REPORT) == "K2611-0001/completed"


def test_the_profile_comes_from_the_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    config = Config.model_validate(
        {
            "clinic": {"name": "Клиника", "oid": MIS, "time_zone": "Asia/Omsk"},
            "bus": {
                "url": "http://127.0.0.1/fhir",
                "token_file": str(token),
                "organisation": PROFILE.organisation,
                "versions": {"1.2.643.5.1.13.13.11.1005": "2.27"},
                "system_procedure": "1.2.643.2.69.1.1.1.57",
                "texts": "base64",
                "encounters": {"prophylactic": "8/AMB", "procedure/A07": "9/HH", "finance/1": "5/IMP"},
                "images_url": "https://pacs.example.org/wado?studyUID={study}",
            },
            "data": {"directory": str(tmp_path)},
        }
    )
    imported = {"1.2.643.5.1.13.13.11.1005": "1.0", "1.2.643.5.1.13.13.11.1066": "3.4"}
    profile = bus_profile(config, {"  ТЕРАПЕВТ ": ("109", "27")}, imported, {"A06", "A07"})
    assert profile.encounters == {
        "procedure/A06": ("8", "AMB"),
        "procedure/A07": ("9", "HH"),
        "finance/1": ("5", "IMP"),
    }
    assert profile.versions == imported | {"1.2.643.5.1.13.13.11.1005": "2.27"}  # the configuration has the last word
    assert (profile.texts, profile.images_url) == ("base64", "https://pacs.example.org/wado?studyUID={study}")
    assert (profile.organisation, profile.mis_oid, profile.zone) == (PROFILE.organisation, MIS, ZoneInfo("Asia/Omsk"))
    assert profile.positions == {"терапевт": ("109", "27")}
    bundle = order_bundle(order(), profile)
    assert of(bundle, "Condition")[0]["code"]["coding"] == [coding(f"{NSI}.1005", "M17.1", "2.27")]
    assert of(bundle, "ServiceRequest")[0]["code"]["coding"] == [coding(f"{N3}.57", "7003087")]
    assert of(bundle, "Task")[0]["authoredOn"] == "2026-11-24T12:00:30+06:00"


def test_code_systems_without_a_configured_version_are_named() -> None:
    missing = systems_without_version(PROFILE)
    assert "1.2.643.5.1.13.13.11.1005" in missing
    assert "1.2.643.5.1.13.13.11.1471" not in missing
    used = {value["system"] for _, value in resolver([make() for make in BUNDLES.values()]) if _is_coding(value)}
    assert {f"urn:oid:{system}" for system in [*missing, *PROFILE.versions]} | {f"urn:oid:{MIS}"} == used


def _is_coding(value: Any) -> bool:
    return isinstance(value, dict) and {"system", "code"} <= set(value) and "value" not in value


def test_dates_before_the_year_1000_keep_four_digits() -> None:
    patient = replace(order().patient, birth_date=date(999, 1, 2))
    assert of(order_bundle(order(patient=patient), PROFILE), "Patient")[0]["birthDate"] == "0999-01-02"
