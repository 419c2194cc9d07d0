"""The MPPS service (PS3.4 Annex F): N-CREATE, N-SET and N-GET in, a status out.

Functions of (attribute list, SOP Instance UID, caller): no socket. N-CREATE and N-SET do not wait for the store: a
PendingMessage is submitted, and answered after the commit; success is answered only then. A message that breaks the
table of `rules` is refused if the device is strict; else it is used as far as possible, because the study was made, and
its mistakes are noted with the device.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from broker.dicom.codec import charset, json_model
from broker.dicom.devices.registry import Caller
from broker.dicom.mpps import parsing, rules
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status, status
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.patients import identifiers
from broker.domain.studies import step_rules
from broker.domain.studies.performed import Message, MppsOutcome, PerformedState, StepSource
from broker.domain.studies.step_rules import Attributes, ChangeRules, Problem, ProblemKind
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import devices
from broker.store.tables.studies import performed
from broker.workflow.studies import performed_steps
from broker.workflow.studies.performed_steps import ChangeRequest, ChangeResult

log = logging.getLogger(__name__)

MOST_IMAGES_GIVEN = 10_000  # of one series, by N-GET; longer lists come back empty, with a warning
_STATUS = "PerformedProcedureStepStatus"
_CHARSET = Tag("SpecificCharacterSet")
_SERIES = Tag("PerformedSeriesSequence")
_ANSWERS = {
    MppsOutcome.ACCEPTED: status(Status.SUCCESS),
    MppsOutcome.REPEATED: status(Status.SUCCESS),
    MppsOutcome.DUPLICATE: status(Status.DUPLICATE_SOP_INSTANCE),
    MppsOutcome.UNKNOWN: status(Status.NO_SUCH_SOP_INSTANCE),
    MppsOutcome.FINAL: status(
        Status.PROCESSING_FAILURE,
        "Performed Procedure Step Object may no longer be updated",
        error_id=MAY_NO_LONGER_BE_UPDATED,
    ),
}


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A parsed message: the use case to run, and the answer to its result; `uid` is its SOP Instance UID."""

    use_case: Callable[[Tx], ChangeResult]
    uid: str
    answer: Callable[[ChangeResult], Dataset]

    def submit(self, store: Store) -> Future[ChangeResult]:
        """Submit it to the store; raises nothing: a closed store is an exception of the future."""
        try:
            return store.submit(self.use_case)
        except StoreError as error:
            closed: Future[ChangeResult] = Future()
            closed.set_exception(error)
            return closed

    def status(self, committed: Future[ChangeResult]) -> Dataset:
        """Return the status to answer, after the commit; waits for it."""
        try:
            result = committed.result()
        except StoreError as error:
            log.error("an MPPS message could not be stored: %s", error)
            return status(Status.RESOURCE_LIMITATION, "the database refuses changes, try again later")
        return self.answer(result)


def create(attributes: Attributes, uid: str, caller: Caller, device: Device, clinic: Clinic) -> PendingMessage:
    """Parse an N-CREATE; an empty `uid` (the device sent none) is replaced by one of ours."""
    message, actor = parsing.message(attributes, caller.address), _actor(device)
    # Derived from the content, so that a repetition after a lost answer is recognised.
    uid = uid or identifiers.uid_for(clinic.uid_root, f"{caller.ae_title} {message.digest}")
    problems = _uid_problems(uid) + rules.TABLE.creation_problems(message.attributes)
    refused = _unusable(message.attributes, problems) or (problems[0] if problems and device.strict_mpps else None)
    if refused is not None:
        return _refuse(uid, "N-CREATE", refused, message, actor)
    tolerated = [("mpps_create", step_rules.note_of(problems))] if problems else []
    doses, unreadable = parsing.doses(message.attributes)
    notes = (*tolerated, *_dose_notes(unreadable))
    message = replace(message, notes=notes)
    step = parsing.step(message.attributes, uid, caller.ae_title, doses)

    def answer(result: ChangeResult) -> Dataset:
        _log_tolerated(caller, notes)
        log.info("N-CREATE of %s for %s: %s", caller.ae_title, uid, result.outcome)
        return _ANSWERS[result.outcome]

    return PendingMessage(lambda tx: ChangeResult(performed_steps.start(tx, step, message, actor, clinic)), uid, answer)


def change(attributes: Attributes, uid: str, caller: Caller, device: Device, clinic: Clinic) -> PendingMessage:
    """Parse an N-SET."""
    message, actor = parsing.message(attributes, caller.address), _actor(device)
    state = parsing.text(message.attributes, _STATUS)
    if state and state not in list(PerformedState):
        return _refuse(uid, "N-SET", _wrong_status(PerformedState), message, actor)
    doses, unreadable = parsing.doses(message.attributes)
    request = ChangeRequest(
        uid,
        parsing.change(message.attributes, doses),
        message,
        ChangeRules(rules.TABLE, rules.keywords(message.attributes), device.strict_mpps),
        tuple(_dose_notes(unreadable)),
    )

    def answer(result: ChangeResult) -> Dataset:
        if result.refusal is not None:
            return _refusal(uid, "N-SET", result.refusal, actor)
        _log_tolerated(caller, result.notes)
        log.info("N-SET of %s for %s, %s: %s", caller.ae_title, uid, state or "no status", result.outcome)
        return _ANSWERS[result.outcome]

    return PendingMessage(lambda tx: performed_steps.change(tx, request, actor, clinic), uid, answer)


def retrieve(
    uid: str, tags: Sequence[BaseTag], caller: Caller, device: Device, store: Store
) -> tuple[Dataset, Dataset | None]:
    """Return the status of an N-GET, and the requested attributes of a step as it is now (no tags: all of them).

    PS3.4 F.8.2.1: a supported attribute of type 1 or 2 always comes back; 0001 where an optional one is not known.
    """
    with store.read() as reader:
        step, stored = performed.with_attributes(reader, uid)
    known, whole = json_model.unpacked(stored, MOST_IMAGES_GIVEN)
    _note_contact(store, caller, "N-GET" if step else "N-GET unknown")
    if step is None or step.source is not StepSource.MODALITY:
        return status(Status.NO_SUCH_SOP_INSTANCE), None
    # This program may have ended the step in place of its device.
    known[rules.key(_STATUS)] = {"vr": "CS", "Value": [str(step.state)]}
    asked = list(tags) or [Tag(int(name, 16)) for name in known]
    ds = Dataset()
    missing = [tag for tag in asked if tag != _CHARSET and tag.element != 0 and not _put(ds, tag, known)]
    term = charset.for_answer(device.charset, "")
    if not _fit(ds, term):
        ds.SpecificCharacterSet = charset.declared(term)
    log.info("N-GET of %s for %s: %d attributes, %d not known", caller.ae_title, uid, len(ds), len(missing))
    if not whole and _SERIES in asked:
        return status(Status.ATTRIBUTES_NOT_SUPPORTED, f"more than {MOST_IMAGES_GIVEN} images are not listed"), ds
    if missing and tags:
        return status(Status.ATTRIBUTES_NOT_SUPPORTED, "not all requested attributes are known"), ds
    return status(Status.SUCCESS), ds


# ---- checks ----

_MANDATORY = {Tag(rule.keyword) for rule in rules.RULES if rule.create in ("1", "2")}


def _unusable(attributes: Attributes, problems: Iterable[Problem]) -> Problem | None:
    """Return the problem of an N-CREATE that no policy tolerates: a missing or wrong status, or only a status."""
    of_status = next((each for each in problems if each.key == rules.key(_STATUS)), None)
    if of_status is not None:
        return of_status
    # PS3.4 F.7.2.1.3
    if parsing.text(attributes, _STATUS) != PerformedState.IN_PROGRESS:
        return _wrong_status((PerformedState.IN_PROGRESS,))
    if len(attributes) == 1:
        sequence = rules.key("ScheduledStepAttributesSequence")
        return Problem(ProblemKind.MISSING_ATTRIBUTE, sequence, "nothing but a status")
    return None


def _wrong_status(allowed: Iterable[PerformedState]) -> Problem:
    return Problem(ProblemKind.INVALID_VALUE, rules.key(_STATUS), f"status must be {' or '.join(allowed)}")


def _uid_problems(uid: str) -> list[Problem]:
    if identifiers.valid_uid(uid):
        return []
    return [
        Problem(ProblemKind.INVALID_UID, rules.key("AffectedSOPInstanceUID"), "the SOP Instance UID is not a valid UID")
    ]


def _refuse(uid: str, operation: str, problem: Problem, message: Message, actor: Actor) -> PendingMessage:
    return PendingMessage(
        lambda tx: ChangeResult(performed_steps.refuse(tx, uid, operation, problem.text, message, actor)),
        uid,
        lambda _: _refusal(uid, operation, problem, actor),
    )


def _refusal(uid: str, operation: str, problem: Problem, actor: Actor) -> Dataset:
    log.warning("%s of %s for %s refused: %s", operation, actor.name, uid, problem.text)
    # An N-CREATE response has no Attribute Identifier List (PS3.7 10.3.5.2): there the comment names the attribute.
    tag = Tag(int(problem.key, 16))
    return status(rules.STATUSES[problem.kind], problem.text, identifier=tag if operation == "N-SET" else None)


# ---- the device ----


def _actor(device: Device) -> Actor:
    return Actor(ActorKind.DEVICE, device.ae_title, ", ".join(part for part in (device.name, device.room) if part))


def _note_contact(store: Store, caller: Caller, summary: str) -> None:
    store.submit_background(devices.note_contact, caller.ae_title, "mpps", caller.address, summary)


def _log_tolerated(caller: Caller, notes: Iterable[tuple[str, str]]) -> None:
    for _, text in notes:
        log.warning("MPPS of %s used as far as possible: %s", caller.ae_title, text)


def _dose_notes(unreadable: Sequence[str]) -> Iterator[tuple[str, str]]:
    if unreadable:
        yield "mpps_dose", f"not a number: {', '.join(unreadable)}"


# ---- N-GET ----


def _put(ds: Dataset, tag: BaseTag, known: Attributes) -> bool:
    """Put an attribute into an answer; return False if it is neither known nor always returned."""
    element = known.get(f"{tag:08X}")
    if not dictionary_has_tag(tag) or (element is None and tag not in _MANDATORY):
        return False
    if element is None or element["vr"] not in dictionary_VR(tag):
        # Not sent, or sent in a form that a reader of this attribute does not expect.
        ds.add_new(tag, dictionary_VR(tag)[:2], [] if dictionary_VR(tag) == "SQ" else None)
        return True
    ds.update(Dataset.from_json(json.dumps({f"{tag:08X}": element})))
    return True


def _fit(ds: Dataset, term: str) -> bool:
    """Replace characters that a character set does not have; return True if all texts are in the default repertoire."""
    plain = True
    for element in ds:
        if element.VR == "SQ":
            for item in element.value or []:
                plain = _fit(item, term) and plain
        elif element.VR in ("PN", "LO", "SH", "ST", "LT", "UT", "UC") and element.value:
            many = element.VM > 1
            texts = [charset.fit(str(each), term) for each in (element.value if many else [element.value])]
            element.value = texts if many else texts[0]
            plain = plain and all(each.isascii() for each in texts)
    return plain
