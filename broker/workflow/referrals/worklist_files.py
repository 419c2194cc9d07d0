"""Worklist files of scripts: imported, amended when a file changes, withdrawn when it is removed.

Files are read by the caller; `path` and `digest` say which content was read. What order an item becomes is in
`imported_orders`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import ImportSource, Reason
from broker.domain.lifecycle import Event
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, ImportedItem, Order, OrderState, ScheduledStep, StepState
from broker.domain.patients.patient_match import SimilarCard
from broker.domain.patients.people import Patient
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, orders, outbox, worklist_files
from broker.store.tables.import_refusals import ImportRefusal
from broker.store.tables.worklist_files import FileState, WorklistFile
from broker.workflow import corrections
from broker.workflow.referrals import import_refusals, imported_orders, referrals
from broker.workflow.referrals.imported_orders import ImportedOrder
from broker.workflow.studies import order_status

_OPEN = (OrderState.SCHEDULED, OrderState.IN_PROGRESS)


class SyncOutcome(StrEnum):
    """The outcome of a file."""

    ADDED = "added"
    AMENDED = "amended"
    RESTORED = "restored"  # it had vanished and is back
    UNCHANGED = "unchanged"
    WITHDRAWN = "withdrawn"  # it vanished, and its order was cancelled
    LEFT = "left"  # it vanished, and its order stays: the study had started, or a person had cancelled it


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The outcome of a file, its order and step, and the cards to which a new patient is similar.

    The accession number is the one that devices get.
    """

    outcome: SyncOutcome
    order_id: int
    accession_number: str
    similar: tuple[SimilarCard, ...] = ()
    step_id: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FileContent:
    """What was read of a file: its items, all of one order, its path and its digest."""

    items: Sequence[ImportedItem]
    path: str
    digest: str

    @property
    def request(self) -> tuple[object, ...]:
        """Number and patient: files that agree in both may be taken together, see `sync_together`."""
        first = self.items[0]
        patient = first.patient
        return first.accession_number, patient.patient_id, patient.name, patient.birth_date, patient.sex


def sync_file(
    tx: Tx,
    items: Sequence[ImportedItem],
    path: str,
    digest: str,
    actor: Actor,
    clinic: Clinic,
    *,
    vanished: Mapping[str, str] = MappingProxyType({}),
    send_to_bus: bool = False,
) -> SyncResult:
    """Put all scheduled steps of a file on the worklist, as `sync` does one; those that it has no more are withdrawn.

    All of them are of one order. Return the outcome of the first that is not unchanged.
    """
    if len(items) > 1:
        files = [FileContent(items, path, digest)]
        return sync_together(tx, files, actor, clinic, vanished=vanished, send_to_bus=send_to_bus)[0]
    return _sync_file(tx, FileContent(items, path, digest), actor, clinic, vanished, send_to_bus, together=False)


def sync_together(
    tx: Tx,
    files: Sequence[FileContent],
    actor: Actor,
    clinic: Clinic,
    *,
    vanished: Mapping[str, str] = MappingProxyType({}),
    send_to_bus: bool = False,
) -> list[SyncResult]:
    """Put several files on the worklist at once: together they may be of another patient than they were.

    Raise Refused if one cannot be taken, or if an order or a request would then be of two patients.
    """
    before = {
        known.order_id: orders.require(tx, known.order_id).patient.stored_id
        for file in files
        for known in worklist_files.of_file(tx, file.path)
        if known.order_id
    }
    results = [_sync_file(tx, each, actor, clinic, vanished, send_to_bus, together=True) for each in files]
    paths = {each.path for each in files}
    for result in results:
        order = orders.require(tx, result.order_id)
        others = worklist_files.all_of_order(tx, order.id)
        is_moved = before.get(order.id, order.patient.stored_id) != order.patient.stored_id
        is_split = is_moved and any(
            each.state is FileState.PRESENT and worklist_files.file_of(each.path) not in paths for each in others
        )
        imported_orders.refuse_several_patients(tx, order, is_split=is_split)
    return results


def _sync_file(
    tx: Tx,
    file: FileContent,
    actor: Actor,
    clinic: Clinic,
    vanished: Mapping[str, str],
    send_to_bus: bool,
    *,
    together: bool,
) -> SyncResult:
    items, path, digest = file.items, file.path, file.digest
    keys = _keys(tx, items, path)
    results: list[SyncResult] = []
    for key, item in zip(keys, items, strict=True):
        within = orders.get(tx, results[0].order_id) if results else None
        own = digest if key == path else hashlib.sha256(f"{digest} {key.removeprefix(path)}".encode()).hexdigest()
        results.append(
            sync(
                tx,
                item,
                key,
                own,
                actor,
                clinic,
                vanished=vanished,
                send_to_bus=send_to_bus,
                within=within,
                together=together,
            )
        )
    for known in worklist_files.of_file(tx, path):
        order = orders.get(tx, known.order_id) if known.order_id else None
        if known.path not in keys and known.state is FileState.PRESENT and order is not None:
            results.append(_withdraw(tx, known, order, actor, clinic))
    changed = next((each for each in results if each.outcome is not SyncOutcome.UNCHANGED), results[0])
    outcome = SyncOutcome.AMENDED if changed.outcome is not results[0].outcome and len(results) > 1 else changed.outcome
    similar = tuple(dict.fromkeys(card for each in results for card in each.similar))
    return replace(results[0], outcome=outcome, similar=similar)


def _keys(tx: Tx, items: Sequence[ImportedItem], path: str) -> list[str]:
    """Return the path under which each item of a file is kept: that of the same step, else one that is free."""
    known = worklist_files.of_file(tx, path)
    if len(items) == 1 and len(known) <= 1:
        return [path]
    found: dict[int, str] = {}
    for number, item in enumerate(items):
        for each in known:
            order = orders.get(tx, each.order_id) if each.order_id else None
            if order is None or each.path in found.values() or not imported_orders.is_same(tx, item, order):
                continue
            if imported_orders.is_same_step(item, order, _step(order, each)):
                found[number] = each.path
                break
    numbered = [path, *(worklist_files.part(path, number) for number in range(2, len(items) + len(known) + 2))]
    free = iter([each for each in numbered if each not in found.values()])
    return [found.get(number) or next(free) for number in range(len(items))]


def sync(
    tx: Tx,
    item: ImportedItem,
    path: str,
    digest: str,
    actor: Actor,
    clinic: Clinic,
    *,
    vanished: Mapping[str, str] = MappingProxyType({}),
    send_to_bus: bool = False,
    within: Order | None = None,
    together: bool = False,
) -> SyncResult:
    """Put the item of a file on the worklist, or update the order that came of the file's earlier content.

    The same content again changes nothing. `vanished` are files that do not exist any more, path -> digest: one of them
    may be this one before it was renamed. `send_to_bus`: a new order is sent to the region. `within`: the order of the
    same file, of which a new item is a further step. `together`: the caller sees to it that all files of an order and
    of a request are of one patient in the end.
    Raise Refused with the reason, without names of patients or files; Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    known = worklist_files.get(tx, path)
    if (known is None or not known.order_id) and (old := _find_renamed(tx, item, digest, vanished)):
        worklist_files.remove(tx, old.path)
        known = replace(old, path=path)
    order = orders.get(tx, known.order_id) if known and known.order_id else None
    if known is None or order is None:
        result = _add(tx, item, path, actor, clinic, send_to_bus, within)
    elif known.digest == digest and not known.problem:
        result = _unchanged(tx, known, order, actor)
    elif imported_orders.is_same(tx, item, order):
        result = _amend(tx, item, known, order, actor, clinic, together=together)
    else:  # the script writes one item after another under the same file name
        _withdraw(tx, known, order, actor, clinic)
        result = _add(tx, item, path, actor, clinic, send_to_bus, within)
    now = WorklistFile(path, digest, result.order_id, result.step_id)
    if now != worklist_files.get(tx, path):
        worklist_files.put(tx, now)
    import_refusals.forget(tx, ImportSource.WORKLIST_FILE, path, actor)
    return result


def withdraw(tx: Tx, path: str, actor: Actor, clinic: Clinic) -> SyncResult | None:
    """Cancel the order of a file that was removed, unless its study has started.

    Return None if the file has no order. Raise Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    import_refusals.forget(tx, ImportSource.WORKLIST_FILE, path, actor)
    results = []
    for known in worklist_files.of_file(tx, path):
        order = orders.get(tx, known.order_id) if known.order_id else None
        if order is None:
            worklist_files.remove(tx, known.path)
        elif known.path == path or known.state is FileState.PRESENT:
            results.append(_withdraw(tx, known, order, actor, clinic))
    return results[0] if results else None


def note_problem(tx: Tx, path: str, digest: str, reason: Reason, actor: Actor, patient: Patient | None = None) -> None:
    """Note why a file's content was not imported, so that people see it; the order of an earlier content stays.

    `patient` is the one that the file names, as far as it could be read. Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    known = worklist_files.get(tx, path) or WorklistFile(path, digest)
    worklist_files.put(tx, replace(known, digest=digest, problem=reason.text))
    refusal = ImportRefusal(ImportSource.WORKLIST_FILE, path, 0, digest, (reason,))
    import_refusals.note(tx, refusal.of(patient) if patient else refusal, actor)


# ---- the cases ----


def _find_renamed(tx: Tx, item: ImportedItem, digest: str, vanished: Mapping[str, str]) -> WorklistFile | None:
    """Return the file that had this item before it was renamed, or None: the same content, or else the same order."""
    for path, known_digest in vanished.items():
        if known_digest == digest and (same := worklist_files.get(tx, path)):
            return same
    order = imported_orders.former_order(tx, item)
    if order is None:
        return None
    files = worklist_files.all_of_order(tx, order.id)
    gone = [
        file for file in files if file.state is FileState.WITHDRAWN or worklist_files.file_of(file.path) in vanished
    ]
    if len(order.steps) > 1:  # each file is about a step
        gone = [file for file in gone if imported_orders.is_same_step(item, order, _step(order, file))]
    return next(iter(gone), None)


def _add(
    tx: Tx, item: ImportedItem, path: str, actor: Actor, clinic: Clinic, send_to_bus: bool, within: Order | None
) -> SyncResult:
    sends = send_to_bus and clinic.sends_to_bus
    path = worklist_files.file_of(path)
    made = imported_orders.build(tx, item, path, actor, clinic, within)
    order = made.order
    if len(order.steps) > 1:
        _add_step(tx, made, path, actor, clinic)
    else:
        order = replace(order, bus_role=BusRole.PLACER if sends else BusRole.NONE)
        orders.add(tx, order, "", "")
        if sends:
            outbox.add(tx, order.id, OutboxKind.ORDER)
        audit.write(tx, actor, AuditAction.IMPORT, order.id, accession_number=order.accession_number, file=path)
    tx.notify()
    return SyncResult(SyncOutcome.ADDED, order.id, order.shown_number, made.similar, step_id=made.step_id)


def _add_step(tx: Tx, made: ImportedOrder, path: str, actor: Actor, clinic: Clinic) -> None:
    """Add a further step to an order; the region is not informed of steps."""
    orders.add_step(tx, made.order.id, made.step)
    orders.count_up(tx, made.order.id)
    order_status.recompute_status(tx, orders.require(tx, made.order.id), clinic)
    audit.write(tx, actor, AuditAction.IMPORT, made.order.id, sps_id=made.step.sps_id, file=path)


def _unchanged(tx: Tx, known: WorklistFile, order: Order, actor: Actor) -> SyncResult:
    is_back = _restore_withdrawn(tx, order, known, actor)
    return _result(SyncOutcome.RESTORED if is_back else SyncOutcome.UNCHANGED, known, order)


def _restore_withdrawn(tx: Tx, order: Order, known: WorklistFile, actor: Actor) -> bool:
    """Put back what was withdrawn when the file vanished, the order or its step; return False if nothing was."""
    if known.state is not FileState.WITHDRAWN:
        return False
    if order.state is OrderState.CANCELLED:
        _restore(tx, order, known, actor)
        return True
    if _is_step_withdrawn(order, known):
        _restore_step(tx, order, known, actor)
        return True
    return False


def _amend(
    tx: Tx,
    item: ImportedItem,
    known: WorklistFile,
    order: Order,
    actor: Actor,
    clinic: Clinic,
    *,
    together: bool,
) -> SyncResult:
    outcome = SyncOutcome.AMENDED
    if _restore_withdrawn(tx, order, known, actor):
        outcome = SyncOutcome.RESTORED
    elif order.state is not OrderState.SCHEDULED:
        what = "was cancelled here" if order.state is OrderState.CANCELLED else "has started"
        reason = "order_cancelled" if order.state is OrderState.CANCELLED else "order_started"
        number = order.accession_number
        raise Refused(f"it has changed, but its order {number} {what} and stays as it is", reason, number)
    was = _step(order, known)
    file = worklist_files.file_of(known.path)
    made = imported_orders.rebuild(tx, item, order, was.id, file, actor, clinic, together=together)
    after, now = made.order, made.step
    changed = referrals.changed_fields(order, after)
    if not changed:
        return _result(SyncOutcome.UNCHANGED if outcome is SyncOutcome.AMENDED else outcome, known, order)
    orders.update(tx, after)
    orders.set_numbers(tx, after)
    orders.set_attributes(tx, order.id, after.attributes)
    orders.set_step_attributes(tx, now)
    if (was.start, was.station_ae_titles) != (now.start, now.station_ae_titles):
        orders.reschedule(tx, was.id, now.start, now.station_ae_titles)
    outbox.resume(tx, order.id)
    corrections.queue_amendment(tx, order, orders.require(tx, order.id))
    audit.write(tx, actor, AuditAction.AMEND, order.id, changed=changed, file=known.path)
    tx.notify()
    return SyncResult(outcome, order.id, after.shown_number, made.similar, step_id=was.id)


def _step(order: Order, file: WorklistFile) -> ScheduledStep:
    """Return the step of an order that a file is about."""
    return next((step for step in order.steps if step.id == file.step_id), order.steps[0])


def _is_step_withdrawn(order: Order, file: WorklistFile) -> bool:
    return order.state in _OPEN and _step(order, file).state is StepState.CANCELLED


def _result(outcome: SyncOutcome, known: WorklistFile, order: Order) -> SyncResult:
    return SyncResult(outcome, order.id, order.shown_number, step_id=_step(order, known).id)


def _withdraw(tx: Tx, known: WorklistFile, order: Order, actor: Actor, clinic: Clinic) -> SyncResult:
    step = _step(order, known)
    others = [each for each in order.steps if each.id != step.id and each.state is not StepState.CANCELLED]
    if order.state not in (_OPEN if others else (OrderState.SCHEDULED,)) or step.state is not StepState.SCHEDULED:
        worklist_files.put(tx, replace(known, state=FileState.GONE))
        return _result(SyncOutcome.LEFT, known, order)
    if others:
        orders.set_step_state(tx, step.id, StepState.CANCELLED)
        orders.count_up(tx, order.id)
        order_status.recompute_status(tx, orders.require(tx, order.id), clinic)
    else:
        referrals.remove_from_worklist(tx, order, actor, clinic)
    worklist_files.put(tx, replace(known, state=FileState.WITHDRAWN))
    # A step that is taken back is no decision about the order.
    action = AuditAction.WITHDRAW_STEP if others else AuditAction.WITHDRAW
    audit.write(tx, actor, action, order.id, file=known.path)
    tx.notify()
    return _result(SyncOutcome.WITHDRAWN, known, order)


def _restore_step(tx: Tx, order: Order, file: WorklistFile, actor: Actor) -> None:
    orders.set_step_state(tx, _step(order, file).id, StepState.SCHEDULED)
    orders.count_up(tx, order.id)
    audit.write(tx, actor, AuditAction.RESTORE_STEP, order.id, file=file.path)
    tx.notify()


def _restore(tx: Tx, order: Order, file: WorklistFile, actor: Actor) -> None:
    outbox.withdraw(tx, order.id, OutboxKind.CANCEL)
    if outbox.has(tx, order.id, OutboxKind.CANCEL):
        number = order.accession_number
        raise Refused(
            f"it is back, but the region knows already that order {number} is cancelled", "region_cancelled", number
        )
    order_status.requeue_order(tx, order.id)
    orders.set_state(tx, order.id, lifecycle.after(order.state, Event.RESTORE))
    orders.set_step_state(tx, _step(order, file).id, StepState.SCHEDULED)
    audit.write(tx, actor, AuditAction.RESTORE, order.id, file=file.path)
    tx.notify()
