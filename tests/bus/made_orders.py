"""Hypothesis strategies for everything that a message to the region can be made of, odd texts and gaps included."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import strategies as st

from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2
from broker.bus.profile import Profile
from broker.domain.orders import BusRole, Order, OrderState, Priority
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.performed import PerformedState, PerformedStep, StepReference
from tests.bus.samples import MIS, PROFILE

MODALITIES = ("CT", "MR", "US", "DX", "CR", "MG", "NM", "PT", "ECG", "ES", "OT", "RG")
_CYRILLIC = "АЁЖЩъыяё"
# All of Unicode but lone surrogates, which UTF-8 cannot hold; letters, odd blanks and marks come often.
texts = st.one_of(
    st.just(""),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text(st.sampled_from(_CYRILLIC + "ab1 \n\t\r\u00a0\u2028\x0b\x00\x85<&\"'\\|,$?#%"), max_size=60),
)
# … as a tidied field may hold them: something to read, single blanks.
words = st.tuples(texts, st.sampled_from("ЖЮё7z"), texts).map(lambda parts: " ".join("".join(parts).split()))
maybe_words = st.one_of(st.just(""), words)
codes = st.text(string.ascii_letters + string.digits + ".-", min_size=1, max_size=16)
maybe_codes = st.one_of(st.just(""), codes)
uids = st.one_of(st.just("2.25.77"), st.just("1.02.a"), st.just(""), st.integers(1, 2**100).map(lambda n: f"2.25.{n}"))
local_times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
instants = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
names = st.builds(PersonName, words, maybe_words, maybe_words)
maybe_names = st.one_of(st.just(NO_NAME), names)
snils = st.sampled_from(("", "11223344595", "08765430300"))
measures = st.one_of(st.none(), st.floats(0.1, 500), st.integers(1, 300).map(float))

patients = st.builds(
    Patient,
    name=names,
    birth_date=st.one_of(st.none(), st.dates(date(1850, 1, 1), date(2026, 11, 24))),
    sex=st.sampled_from(Sex),
    patient_id=st.one_of(codes, words),
    snils=snils,
    policy=st.sampled_from(("", "7800000012345671")),
    phone=maybe_words,
    weight=measures,
    height=measures,
    id=st.just(1),
)
orders = st.builds(
    Order,
    id=st.just(1),
    accession_number=st.just(""),  # given to each by the test
    study_instance_uid=st.just(""),
    requested_procedure_id=codes,
    patient=patients,
    state=st.sampled_from(OrderState),
    procedure_code=codes,
    procedure_name=words,
    modality=st.sampled_from(MODALITIES),
    steps=st.just(()),
    authored_on=instants,
    procedure_local=st.booleans(),
    body_site=maybe_codes,
    laterality=st.sampled_from(("", "R", "L", "B")),
    priority=st.sampled_from(Priority),
    finance=st.sampled_from("123456"),
    referrer=maybe_names,
    referrer_snils=snils,
    referrer_position=st.one_of(st.just("Терапевт"), maybe_words),
    diagnosis_code=maybe_codes,
    diagnosis_text=texts,
    comment=texts,
    bus_role=st.sampled_from((BusRole.PLACER, BusRole.PERFORMER, BusRole.WALK_IN)),
    requester=st.sampled_from(("", PRACTICE_ORGANISATION_2)),
    owner=st.sampled_from(("", PRACTICE_ORGANISATION_2)),
    bus_accession_number=st.sampled_from(("", "ODII0000000009")),
)
reports = st.builds(
    Report,
    order_id=st.just(1),
    description=texts,
    conclusion=texts,
    recommendations=texts,
    effective_dose=st.one_of(st.none(), st.floats(0, 100)),
    state=st.just(ReportState.SIGNED),
    author_name=maybe_names,
    author_snils=snils,
    author_position=maybe_words,
    signed_at=st.one_of(st.none(), instants),
)
performed_steps = st.lists(
    st.builds(
        PerformedStep,
        sop_instance_uid=uids,
        ae_title=st.just("XRAY_14"),
        state=st.just(PerformedState.COMPLETED),
        start=st.one_of(st.none(), local_times),
        modality=st.sampled_from(("", *MODALITIES)),
        images=st.integers(0, 5000),
        references=st.lists(uids.map(StepReference), max_size=2).map(tuple),
    ),
    max_size=3,
)
profiles = st.builds(
    Profile,
    organisation=st.just(PRACTICE_ORGANISATION),
    mis_oid=st.just(MIS),
    zone=st.just(PROFILE.zone),
    versions=st.sampled_from(({}, {"1.2.643.5.1.13.13.11.1005": "2.27"})),
    positions=st.sampled_from(({}, {"терапевт": ("109", "27")}, {"терапевт": ("109", "")})),
    texts=st.sampled_from(("plain", "base64")),
    images_url=st.sampled_from(("", "https://p.example/studies/{study}", "dicom://p.example:104/PACS")),
)
documents = st.binary(max_size=200)


def numbered(order: Order, number: int) -> Order:
    """Return an order numbers that no other one has."""
    return replace(order, accession_number=f"J{number}", study_instance_uid=f"1.2.643.99.{number}")
