"""What becomes of what a local МИС orders here: desk, numbers, cancelling, images, report; and who may ask."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from broker.bus.api import TOKEN_LIMITS
from broker.bus.api import web as module
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PRACTICE_TOKEN
from broker.domain.incoming import IncomingState
from broker.domain.orders import BusRole, OrderState
from broker.domain.patients import names
from broker.domain.reading.reports import ReportChange
from broker.store.database import Store, StoreError
from broker.store.queries import access, inbox
from broker.store.tables import clients, incoming, orders
from broker.workflow.reading import reports
from broker.workflow.referrals import incoming_referrals
from broker.workflow.studies import step_links
from tests.bus.api.clinic import DOCTOR, NAME, ApiClinic
from tests.bus.bundles import (
    Resource,
    accepted,
    accession_numbers,
    call,
    concept,
    id_of,
    of,
    order,
    organisation,
    part,
    post,
    result,
    search,
    update,
)
from tests.peers.fhir_server import Validator, validator
from tests.support.clock import NOW, Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM

OTHER_TOKEN = "aaaa0000-1111-4222-8333-444455556666"
AS_OTHER = {"Authorization": f"N3 {OTHER_TOKEN}"}
# N3's own code system stands where R4 has a required binding to HL7's; the region wants it so.
ALLOWED = "(urn:oid:2.16.840.1.113883.4.642.1.1075) not found in value set"


@pytest.fixture
def open_clinic(store: Store) -> Iterator[Callable[..., ApiClinic]]:
    opened: list[ApiClinic] = []

    def open_one(**options: Any) -> ApiClinic:
        opened.append(ApiClinic(store, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def own_code(sent: Resource) -> Resource:
    """Ask for what the directory of this clinic has, by its name."""
    of(sent, "ServiceRequest")["code"] = concept("urn:oid:1.2.643.2.69.1.2.900", "FLG") | {
        "text": "Рентгенография коленного сустава"
    }
    return sent


def get(clinic: ApiClinic, reference: str, **options: Any) -> Resource:
    answer = call(clinic.server, "GET", f"/{reference}", **options)
    assert answer.status_code == 200, answer.text
    body: Resource = answer.json()
    return body


def answers(clinic: ApiClinic, answered: Resource) -> list[Resource]:
    return search(clinic.server, intent="reflex-order", based_on=id_of(answered, "Task"))


# ---- ordering ----


def test_an_order_waits_at_the_desk_with_the_number_that_its_sender_got(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order("order-1"))
    [number] = accession_numbers(part(answered, "Task"))
    [known] = clinic.waiting()
    assert (known.source, known.task, known.bus_accession_number) == (NAME, part(answered, "Task")["id"], number)
    assert (known.patient.name.family, known.diagnosis_code) == ("Ёлкина", "J18.9")
    assert known.requester == PRACTICE_ORGANISATION
    made = clinic.accept()
    assert (made.accession_number, made.bus_accession_number, made.requester) == (number, "", PRACTICE_ORGANISATION)
    assert get(clinic, id_of(answered, "Task")) == part(answered, "Task")
    next_one = accession_numbers(part(accepted(clinic.server, order()), "Task"))
    assert next_one != [number]


def test_a_rule_puts_an_order_onto_the_worklist_at_once(open_clinic: Callable[..., ApiClinic]) -> None:
    clinic = open_clinic(auto_accept={"DX": "XRAY_14"})
    answered = accepted(clinic.server, own_code(order()))
    assert clinic.waiting() == []
    with clinic.store.read() as reader:
        made = orders.by_accession_number(reader, *accession_numbers(part(answered, "Task")))
    assert made is not None
    assert (made.state, made.steps[0].station_ae_titles) == (OrderState.SCHEDULED, ("XRAY_14",))


@pytest.mark.parametrize(
    ("members", "known"),
    [
        ({"birthDate": None}, ("Ёлкина Анна", None)),
        ({"birthDate": "1961"}, ("Ёлкина Анна", 1961)),
        ({"birthDate": "1961-03"}, ("Ёлкина Анна", 1961)),
        ({"name": [{"family": "Сухарто"}], "birthDate": "1961"}, ("Сухарто", 1961)),
        ({"name": [{"family": "Неизвестный", "given": ["№3"]}], "birthDate": None}, ("Неизвестный №3", None)),
    ],
)
def test_somebody_who_is_not_fully_known_stands_on_the_worklist(
    open_clinic: Callable[..., ApiClinic], members: dict[str, Any], known: tuple[str, int | None]
) -> None:
    clinic = open_clinic(auto_accept={"DX": "XRAY_14"})
    sent = own_code(order())
    person = of(sent, "Patient")
    person.update(members)
    for name in [name for name, value in members.items() if value is None]:
        del person[name]
    answered = accepted(clinic.server, sent)
    with clinic.store.read() as reader:
        made = orders.by_accession_number(reader, *accession_numbers(part(answered, "Task")))
    assert made is not None
    assert (names.short(made.patient.name).split()[0], made.patient.born) == (known[0].split()[0], known[1])


@pytest.mark.parametrize("born", ["1961-13-40", "19610312", "весной", "1900-01-01", 1961])
def test_a_birth_date_that_is_none_is_refused(clinic: ApiClinic, born: object) -> None:
    sent = order()
    of(sent, "Patient")["birthDate"] = born
    answer = post(clinic.server, sent)
    assert answer.status_code == 422
    assert "Patient.birthDate" in answer.text


@pytest.mark.parametrize(
    ("own", "send_to_bus", "role"),
    [(True, True, BusRole.PLACER), (True, False, BusRole.NONE), (False, False, BusRole.NONE)],
)
def test_the_region_gets_it_if_configured(clinic: ApiClinic, own: bool, send_to_bus: bool, role: BusRole) -> None:
    guid = PRACTICE_ORGANISATION_2 if own else PRACTICE_ORGANISATION
    clinic.add_client("second", OTHER_TOKEN, "" if own else guid, send_to_bus=send_to_bus)
    sent = json.loads(json.dumps(order()).replace(PRACTICE_ORGANISATION, guid))
    answer = call(clinic.server, "POST", "", sent, headers=AS_OTHER)
    assert answer.status_code == 200, answer.text
    made = clinic.accept()
    assert (made.bus_role, made.requester) == (role, None if own else guid)
    assert clinic.count("outbox") == int(send_to_bus)
    assert update_as_other(clinic, part(answer.json(), "Task")["id"]).status_code == 200
    assert clinic.order(made).state is OrderState.CANCELLED
    assert clinic.count("outbox") == 2 * int(send_to_bus)  # the cancellation follows its order


def update_as_other(clinic: ApiClinic, task_id: str) -> Any:
    given = [{"name": "_id", "valueString": task_id}, {"name": "status", "valueString": "cancelled"}]
    body = {"resourceType": "Parameters", "parameter": given}
    return call(clinic.server, "POST", "/$updatestatus", body, headers=AS_OTHER)


def test_what_is_not_for_this_clinic_or_not_an_order_is_refused(clinic: ApiClinic) -> None:
    answer = post(clinic.server, order(owner=PRACTICE_ORGANISATION))
    assert (answer.status_code, answer.json()["issue"][0]["location"]) == (422, ["Task.owner"])
    answered = accepted(clinic.server, order("order-1"))
    answer = post(clinic.server, result("order-1", answered))
    assert answer.status_code == 422
    assert "результаты выдаёт эта клиника" in answer.text
    sent = order()
    of(sent, "Task")["identifier"][0]["type"] = concept("urn:oid:1.2.643.2.69.1.1.1.122", "ACSN")
    assert "нет собственного номера" in post(clinic.server, sent).text
    assert clinic.count("incoming_referral") == 1


def test_an_order_that_is_sent_twice_at_once_is_one_order(clinic: ApiClinic) -> None:
    sent = order("order-race")
    given: list[int] = []
    threads = [threading.Thread(target=lambda: given.append(post(clinic.server, sent).status_code)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == [200, 422, 422, 422]
    assert len(clinic.waiting()) == 1


def test_a_number_that_was_taken_meanwhile_is_replaced_and_the_sender_reads_the_new_one(
    clinic: ApiClinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = accepted(clinic.server, order())
    [number] = accession_numbers(part(answered, "Task"))
    taken = orders.is_taken
    monkeypatch.setattr(orders, "is_taken", lambda tx, name, value, **more: value == number or taken(tx, name, value))
    made = clinic.accept()
    assert made.accession_number != number
    assert accession_numbers(get(clinic, id_of(answered, "Task"))) == [made.accession_number]


# ---- cancelling ----


def test_a_referral_that_waited_is_cancelled_and_so_is_its_order(clinic: ApiClinic) -> None:
    for accept in (False, True):
        task = part(accepted(clinic.server, order()), "Task")
        made = clinic.accept() if accept else None
        assert update(clinic.server, task["id"], "cancelled").json()["status"] == "cancelled"
        assert clinic.waiting() == []
        assert made is None or clinic.order(made).state is OrderState.CANCELLED


def test_a_cancellation_works_also_after_the_clock_was_set_back(clinic: ApiClinic) -> None:
    task = part(accepted(clinic.server, order()), "Task")
    clinic.store.clock = Clock(NOW - timedelta(hours=1))
    cancelled = update(clinic.server, task["id"], "cancelled").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["meta"]["lastUpdated"] >= task["meta"]["lastUpdated"]
    assert clinic.waiting() == []


def test_a_started_order_is_not_cancelled_but_people_are_warned(clinic: ApiClinic) -> None:
    task = part(accepted(clinic.server, order()), "Task")
    clinic.begin(clinic.accept())
    for _ in range(2):
        answer = update(clinic.server, task["id"], "cancelled")
        assert answer.status_code == 422
        assert "уже выполняется" in answer.text
    with clinic.store.read() as reader:
        [trouble] = inbox.too_late(reader)
    assert trouble.accession_number == accession_numbers(task)[0]
    assert get(clinic, f"Task/{task['id']}")["status"] == "requested"


def test_what_people_cancel_or_decline_here_its_sender_sees(clinic: ApiClinic) -> None:
    first = part(accepted(clinic.server, order()), "Task")
    clinic.cancel(clinic.accept())
    second = part(accepted(clinic.server, order()), "Task")
    [known] = clinic.waiting()
    clinic.store.write(incoming_referrals.decline, known.stored_id, "нет аппарата", REGISTRAR, CLINIC)
    changed = search(clinic.server, intent="original-order", status="cancelled,rejected")
    assert [(task["id"], task["status"]) for task in changed] == [
        (first["id"], "cancelled"),
        (second["id"], "rejected"),
    ]
    assert [task.get("statusReason") for task in changed] == [None, {"text": "нет аппарата"}]
    for task, before in zip(changed, (first, second), strict=True):
        assert task["meta"]["lastUpdated"] > before["meta"]["lastUpdated"]
        since = f"ge{task['meta']['lastUpdated']}"
        assert task["id"] in [found["id"] for found in search(clinic.server, _lastUpdated=since)]
    assert update(clinic.server, second["id"], "cancelled").json()["status"] == "cancelled"
    with clinic.store.read() as reader:
        kept = incoming.by_task(reader, NAME, second["id"])
    assert kept is not None
    assert kept.state is IncomingState.CANCELLED


# ---- results ----


def test_images_and_then_the_report_are_answers_to_the_order(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order())
    number = accession_numbers(part(answered, "Task"))[0]
    made = clinic.accept()
    assert answers(clinic, answered) == []
    clinic.perform(made)
    [images] = answers(clinic, answered)
    assert (images["status"], images["identifier"][0]["value"]) == ("in-progress", f"{number}/in-progress")
    partial = get(clinic, images["focus"]["reference"])
    assert (partial["status"], partial["basedOn"][0]["reference"]) == ("partial", id_of(answered, "ServiceRequest"))
    study = get(clinic, partial["imagingStudy"][0]["reference"])
    assert {"system": "urn:dicom:uid", "value": f"urn:oid:{made.study_instance_uid}"} in study["identifier"]
    assert [each["value"] for each in study["identifier"] if "type" in each] == [number]
    endpoint = get(clinic, study["endpoint"][0]["reference"])
    assert endpoint["address"] == f"https://pacs.example/{made.study_instance_uid}"
    clinic.sign(made)
    [before, completed] = answers(clinic, answered)
    assert (before, completed["status"]) == (images, "completed")
    report = get(clinic, completed["focus"]["reference"])
    assert report["status"] == "final"
    assert report["imagingStudy"] == partial["imagingStudy"]
    stated = [get(clinic, each["reference"]) for each in report["result"]]
    assert [each.get("valueString", each.get("valueQuantity", {}).get("value")) for each in stated] == [
        "Суставная щель сужена.",
        "Артроз II ст.",
        "Консультация травматолога",
        0.12,
    ]
    binary = get(clinic, report["presentedForm"][0]["url"])
    assert binary["contentType"] == "application/pdf"
    assert base64.b64decode(binary["data"]).decode() == f"%PDF-1.4 {number} Артроз II ст."
    for named in (f"{number}/completed", f"urn:oid:1.2.643.2.69.1.2.901|{number}/completed"):
        assert search(clinic.server, identifier=named) == [completed]
    since = f"ge{completed['meta']['lastUpdated']}"
    assert search(clinic.server, _lastUpdated=since) == [completed]
    assert update(clinic.server, part(answered, "Task")["id"], "cancelled").status_code == 422


def test_every_reference_of_every_answer_can_be_read_and_is_strict_r4(clinic: ApiClinic, judge: Validator) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    clinic.sign(made)
    wanted, read = [id_of(answered, "Task"), *(f"Task/{task['id']}" for task in answers(clinic, answered))], {}
    while wanted:
        name = wanted.pop()
        if name not in read:
            read[name] = get(clinic, name)
            assert f"{read[name]['resourceType']}/{read[name]['id']}" == name
            wanted += references(read[name])
    kinds = {name.partition("/")[0] for name in read}
    assert kinds >= {
        "Patient",
        "ServiceRequest",
        "DiagnosticReport",
        "ImagingStudy",
        "Endpoint",
        "Observation",
        "Binary",
    }
    assert kinds >= {"Organization", "Practitioner", "PractitionerRole", "Encounter", "Condition", "Task"}
    for name, resource in read.items():
        found = [(at, what) for at, what in judge.errors(resource) if not what.endswith(ALLOWED)]
        assert found == [], name


def references(node: Any, key: str = "") -> list[str]:
    """List every reference inside a resource, and every address of a Binary."""
    if isinstance(node, dict):
        return [found for name, value in node.items() for found in references(value, name)]
    if isinstance(node, list):
        return [found for value in node for found in references(value, key)]
    return [str(node)] if key == "reference" or str(node).startswith("Binary/") else []


@pytest.fixture
def judge() -> Iterator[Validator]:
    with validator() as started:
        yield started


def test_the_answers_of_a_patient_are_found(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    clinic.sign(made)
    for kind, statuses in (("DiagnosticReport", ["partial", "final"]), ("ImagingStudy", ["available"])):
        parameters = [{"name": "subject", "valueString": id_of(answered, "Patient")}]
        sent = {"resourceType": "Parameters", "parameter": parameters}
        found = call(clinic.server, "POST", f"/{kind}/_search", sent).json()
        assert sorted(entry["resource"]["status"] for entry in found["entry"]) == sorted(statuses)
        assert all(get(clinic, entry["fullUrl"]) == entry["resource"] for entry in found["entry"])


def test_images_that_a_person_has_unlinked_are_not_returned_any_more(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    [images] = answers(clinic, answered)
    clinic.store.write(step_links.unlink, "1.2.3.4", made.id, SYSTEM, CLINIC)
    assert answers(clinic, answered) == []
    assert call(clinic.server, "GET", f"/Task/{images['id']}").status_code == 404


def test_a_report_on_images_that_were_taken_away_is_no_answer_until_a_doctor_has_looked(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    clinic.perform(made, "1.2.3.5")
    clinic.sign(made)
    assert [task["status"] for task in answers(clinic, answered)] == ["in-progress", "completed"]
    clinic.store.write(step_links.unlink, "1.2.3.5", made.id, SYSTEM, CLINIC)
    assert [task["status"] for task in answers(clinic, answered)] == ["in-progress"]


def test_a_version_of_a_report_says_what_it_is_and_has_a_number_of_its_own(clinic: ApiClinic) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    report = clinic.sign(made)
    seen = []
    for revision in (
        None,
        reports.Revision(ReportChange.ADDITION, "Контроль через год."),
        reports.Revision(ReportChange.CORRECTION, "не та сторона", reports.ReportText("Слева целая.", "Норма слева.")),
        reports.Revision(ReportChange.WITHDRAWAL, "снимки другого пациента"),
    ):
        if revision:
            report = clinic.store.write(reports.revise, made.id, report.version, revision, DOCTOR, CLINIC)
        completed = answers(clinic, answered)[-1]
        read = get(clinic, completed["focus"]["reference"])
        assert completed["status"] == "completed"
        seen.append((read["status"], read["meta"]["versionId"], completed["meta"]["versionId"], read["id"]))
    assert [each[:3] for each in seen] == [
        ("final", "1", "1"),
        ("appended", "2", "2"),
        ("corrected", "3", "3"),
        ("entered-in-error", "4", "4"),
    ]
    assert len({each[3] for each in seen}) == 1


@pytest.mark.parametrize("change", list(ReportChange))
def test_a_report_that_a_doctor_revises_after_images_were_taken_away_is_an_answer_again(
    clinic: ApiClinic, change: ReportChange
) -> None:
    answered = accepted(clinic.server, order())
    made = clinic.accept()
    clinic.perform(made)
    clinic.perform(made, "1.2.3.5")
    clinic.sign(made)
    clinic.store.write(step_links.unlink, "1.2.3.5", made.id, SYSTEM, CLINIC)
    revision = reports.Revision(change, "одна проекция", reports.ReportText(conclusion="Норма"))
    clinic.store.write(reports.revise, made.id, 1, revision, DOCTOR, CLINIC)
    assert [task["status"] for task in answers(clinic, answered)] == ["in-progress", "completed"]


# ---- deviations from the profile ----


def test_in_what_a_client_deviates_is_counted_where_people_see_it(clinic: ApiClinic) -> None:
    for number in ("d-1", "d-2"):
        sent = order(number)
        del of(sent, "ServiceRequest")["priority"]
        assert post(clinic.server, sent).status_code == 200
    assert post(clinic.server, order("d-3")).status_code == 200
    with clinic.store.read() as reader:
        [(client, found)] = access.clients_and_deviations(reader)
    assert client.name == NAME
    counted = [(each.what, each.times) for each in found]
    assert ("ServiceRequest.priority: нет, читается как routine", 2) in counted


def test_a_client_cannot_fill_the_page_of_deviations(clinic: ApiClinic) -> None:
    kinds = [f"kind {number}" for number in range(clients.MAX_DEVIATIONS + 5)]
    clinic.store.write(lambda tx: clients.note_deviations(tx, NAME, kinds))
    clinic.store.write(lambda tx: clients.note_deviations(tx, NAME, ["kind 0", "x" * 300]))
    with clinic.store.read() as reader:
        found = {each.what: each.times for each in clients.deviations(reader, NAME)}
    assert (len(found), found["kind 0"]) == (clients.MAX_DEVIATIONS, 2)


# ---- who may ask ----


def test_a_client_sees_its_own_orders_and_nothing_else(clinic: ApiClinic) -> None:
    clinic.add_client("second", OTHER_TOKEN, PRACTICE_ORGANISATION)
    answered = accepted(clinic.server, order("order-1"))
    made = clinic.accept()
    clinic.perform(made)
    clinic.sign(made)
    everything = [entry["fullUrl"] for entry in answered["entry"]]
    for task in answers(clinic, answered):
        everything += [f"Task/{task['id']}", task["focus"]["reference"]]
    for name in everything:
        assert call(clinic.server, "GET", f"/{name}").status_code == 200
        assert call(clinic.server, "GET", f"/{name}", headers=AS_OTHER).status_code == 404
    assert update_as_other(clinic, part(answered, "Task")["id"]).status_code == 404
    for name, value in (("intent", "original-order,reflex-order"), ("based-on", id_of(answered, "Task"))):
        sent = {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}
        assert call(clinic.server, "POST", "/Task/_search", sent, headers=AS_OTHER).json()["total"] == 0
    # The same number and the same patient of another program are another order and another patient.
    again = call(clinic.server, "POST", "", order("order-1"), headers=AS_OTHER)
    assert again.status_code == 200
    assert id_of(again.json(), "Practitioner") != id_of(answered, "Practitioner")
    strange = order()
    of(strange, "Task")["for"] = {"reference": id_of(answered, "Patient")}
    assert call(clinic.server, "POST", "", strange, headers=AS_OTHER).status_code == 422


def test_a_disabled_client_is_answered_no_more(clinic: ApiClinic) -> None:
    assert call(clinic.server, "GET", "/Task/1").status_code == 404
    with clinic.store.read() as reader:
        [known] = access.clients(reader)
    assert known.last_contact_at is not None
    clinic.store.write(lambda tx: clients.set_disabled(tx, NAME, True))
    answer = call(clinic.server, "GET", "/Task/1")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "N3")
    clinic.store.write(lambda tx: clients.set_disabled(tx, NAME, False))
    assert call(clinic.server, "GET", "/Task/1").status_code == 404


def test_a_large_body_without_a_token_is_refused_because_of_the_token(clinic: ApiClinic) -> None:
    for size in (900_000, 3_000_000):
        answer = call(clinic.server, "POST", "", b" " * size, headers={"Authorization": "N3 x"})
        assert answer.status_code == 401


def test_a_token_is_kept_as_a_hash_only(clinic: ApiClinic) -> None:
    with clinic.store.read() as reader:
        [(kept, _)] = clients.enabled(reader)
    assert PRACTICE_TOKEN not in kept
    assert len(kept) == 64


def test_guessing_tokens_is_slowed_down_and_disturbs_no_one_who_has_one(clinic: ApiClinic) -> None:
    statuses = [
        call(clinic.server, "GET", "/Task/1", headers={"Authorization": f"N3 {i}"}).status_code
        for i in range(TOKEN_LIMITS.pair.free + 5)
    ]
    assert (statuses[0], statuses[-1]) == (401, 429)
    answer = call(clinic.server, "GET", "/Task/1", headers={"Authorization": "N3 x"})
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert call(clinic.server, "GET", "/Task/1").status_code == 404


# ---- the frame ----


def test_every_answer_forbids_use_by_a_browser(clinic: ApiClinic) -> None:
    for path, headers in (("/Task/1", {}), ("/Task/1", {"Authorization": ""})):
        answer = call(clinic.server, "GET", path, headers=headers)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert call(clinic.server, "PUT", "/Task/1").headers["allow"] == "GET, POST"


def test_a_body_that_is_too_long_or_does_not_come_is_an_outcome(
    clinic: ApiClinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = call(clinic.server, "POST", "", b" " * 1_000_001)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (413, "too-long")
    monkeypatch.setattr(module, "BODY_SECONDS", 0.2)
    port = int(clinic.server.page_url.split(":")[2].strip("/"))
    head = f"POST /fhir HTTP/1.1\r\nHost: x\r\nAuthorization: N3 {PRACTICE_TOKEN}\r\nContent-Length: 10\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.settimeout(5)
        peer.sendall(head.encode())
        assert b" 408 " in peer.recv(65536).split(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", port), 5) as peer:  # gone before its body came
        peer.sendall(head.encode())
    assert call(clinic.server, "GET", "/Task/1").status_code == 404


@pytest.mark.parametrize(("fault", "status"), [(StoreError("full"), 503), (ZeroDivisionError("Ёлкина"), 500)])
def test_an_error_of_ours_is_an_outcome_without_patients_data(
    clinic: ApiClinic, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(incoming_referrals, "receive", fail)
    answer = post(clinic.server, order())
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert "Ёлкина" not in answer.text
    assert clinic.count("client_resource") == 0


def test_what_is_beside_the_path_goes_to_the_application(clinic: ApiClinic) -> None:
    answer = call(clinic.server, "GET", "x")
    assert answer.status_code == 404
    assert "OperationOutcome" not in answer.text


def test_organisations_are_known_when_they_are_ours_or_their_directory_was_imported(clinic: ApiClinic) -> None:
    assert get(clinic, f"Organization/{PRACTICE_ORGANISATION_2}")["active"] is True
    sent = order()
    of(sent, "PractitionerRole")["organization"] = organisation("0f0e0d0c-1111-4222-8333-444455556666")
    assert "не зарегистрирована" in post(clinic.server, sent).text
