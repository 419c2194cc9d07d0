"""What needs a person's attention on the board of a day, in words. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date, tzinfo

from broker.domain.incoming import ANOTHER_PATIENT, ANSWERS_CANCELLED, ANSWERS_FORMER_DATA, REPLACES_REPORT, ArrivalKind
from broker.domain.lifecycle import Event, allowed
from broker.domain.messages import CONSENT_WITHDRAWN
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.studies.performed import WRONG_ENTRY
from broker.store.queries import inbox
from broker.store.queries.board import DoubtfulStep, OrphanMessage, UncorrectedReferral, UnlinkedStep
from broker.store.queries.exchange_state import OutboundLine
from broker.store.queries.refused_imports import RefusedSummary, SimilarSummary
from broker.store.queries.studies.archive_gaps import DoubtfulStudy, FewerImages, MissingImages, OtherCount
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from broker.store.queries.undecided import OrderOfTwo
from broker.workflow.referrals.incoming_referrals import CHANGED_LATE
from ui.board.layout import BoardDay
from ui.text import archive, bus, links, patient_cards, received, refused, words

MAX_NAME = 64  # characters of a name as a device sent it


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """Something that needs a person's attention: what, why, and the action.

    The action is a page (`path`), linking a study (`uid`), acknowledging a change (`late`), or none.
    """

    key: Hashable
    title: str
    why: str
    act: str = ""
    path: str = ""
    uid: str = ""
    late: inbox.LateChange | None = None  # a change to acknowledge


def attention_items(day: BoardDay, zone: tzinfo, amend: bool) -> list[AttentionItem]:
    """Return what needs attention; `amend`: the person may change referrals."""
    found = [_late(each, amend) for each in day.late]
    found += [_unlinked(each, day.on, zone) for each in day.unlinked] + [_orphan(each, zone) for each in day.orphans]
    found += [_doubtful(each) for each in day.doubtful]
    found += [_undecided(each) for each in day.undecided]
    found += [_uncorrected(each) for each in day.uncorrected]
    found += [_archived(each) for each in day.archive]
    found += [_offered(each) for each in day.offered]
    found += [_missing(each, day.on, zone) for each in day.missing]
    found += [_counted(each) for each in day.counts]
    found += [_fewer(each) for each in day.fewer]
    if day.held:
        why = f"{received.waiting(day.held)}."
        found.append(AttentionItem("held", received.HELD, why, act="Посмотреть", path="/archive"))
    if day.refused:
        found.append(_refused(day.refused))
    if day.similar:
        found.append(_similar(day.similar))
    found += _without_consent(day.needs_attention)
    for message in day.needs_attention:
        if message.row.reason == CONSENT_WITHDRAWN:
            continue
        amendable = amend and message.state is not None and allowed(message.state, Event.AMEND)
        number, page = message.accession_number, f"/exchange/out/{message.row.seq}"
        if bus.is_incomplete(message.row.reason):
            found.append(_incomplete(message, amend))
            continue
        found.append(
            AttentionItem(
                key=("needs_attention", message.row.seq),
                title=bus.held_title(message.row),
                why=f"{', '.join(filter(None, (number, message.patient)))}: {bus.bus_reason(message.row.reason)}",
                act="Исправить" if amendable else "Открыть",
                path=links.amendment(number) if amendable else links.card(number) if number else page,
            )
        )
    for visit in day.visits:
        order = visit.order
        if order.state is OrderState.DISCONTINUED:
            steps = day.performed.get(order.id, [])
            reason = next((meaning for step in reversed(steps) if (meaning := words.discontinuation(step))), "")
            what = f"{names.short(order.patient.name)}, {words.short_procedure(order)}"
            found.append(
                AttentionItem(
                    key=("stopped", order.id),
                    title="Прервано на аппарате",
                    why=f"{what}: «{reason}»." if reason else f"{what}: причину аппарат не назвал.",
                    act="Записать снова" if amend else "Открыть",
                    path=links.amendment(order.accession_number) if amend else links.card(order.accession_number),
                )
            )
    return found


def _without_consent(messages: Iterable[OutboundLine]) -> list[AttentionItem]:
    """Return one item of every patient whose messages wait for the consent."""
    waiting: dict[str, list[OutboundLine]] = {}
    for each in messages:
        if each.row.reason == CONSENT_WITHDRAWN:
            waiting.setdefault(each.patient_id, []).append(each)
    return [
        AttentionItem(
            key=("consent", patient_id),
            title=bus.NO_CONSENT,
            why=f"{lines[0].patient}: {words.plural(len(lines), 'сообщение ждёт', 'сообщения ждут', 'сообщений ждут')}."
            " Уйдёт само, когда согласие снова отметят в карте.",
            act="Карта пациента",
            path=patient_cards.address(patient_id),
        )
        for patient_id, lines in waiting.items()
    ]


def _incomplete(message: OutboundLine, amend: bool) -> AttentionItem:
    number = message.accession_number
    return AttentionItem(
        key=("needs_attention", message.row.seq),
        title=bus.INCOMPLETE,
        why=f"{message.patient}, {number}: {bus.bus_reason(message.row.reason)}.",
        act="Дополнить" if amend else "Открыть",
        path=patient_cards.correction_address(message.patient_id) if amend else links.card(number),
    )


def _unlinked(each: UnlinkedStep, on: date, zone: tzinfo) -> AttentionItem:
    step = each.step
    started = step.start or each.created_at.astimezone(zone)
    at = f"{started:в %H:%M}" if started.date() == on else f"{started:%d.%m.%Y в %H:%M}"
    who = str(names.from_dicom(step.patient_name)) or "без имени"
    wrong = step.discontinuation_code == WRONG_ENTRY
    return AttentionItem(
        key=("unlinked", step.sop_instance_uid),
        title="Снимки другого пациента" if wrong else "Снимки без направления",
        why=f"{each.device_name} {at}: «{names.cut(who, MAX_NAME)}». "
        + ("На аппарате выбрали не ту запись, прервали и сказали об этом." if wrong else "Такого в списке не было."),
        act="Найти направление",
        uid=step.sop_instance_uid,
    )


_LATE = {  # (is cancelled here, was a cancellation): what happened
    (True, True): "Другая клиника не будет выполнять наше направление",
    (True, False): "Другая клиника изменила направление",
    (False, True): "Направившая клиника отменила",
    (False, False): "Направившая клиника изменила направление",
}


def _answered_late(each: inbox.LateChange, amend: bool) -> AttentionItem:
    instead = f", вместо него {each.replaced_by}; к нему результат не присоединён" if each.replaced_by else ""
    return AttentionItem(
        key=("late", each.kind, each.item_id),
        title="Другая клиника выполнила отменённое направление",
        why=f"{each.patient}, {each.accession_number} отменено{instead}. Прочитайте результат и решите с той клиникой,"
        " нужно ли ещё исследование.",
        act="Открыть",
        path=links.card(each.accession_number),
        late=each if amend else None,
    )


def _answered_by_former_data(each: inbox.LateChange, amend: bool) -> AttentionItem:
    return AttentionItem(
        key=("late", each.kind, each.item_id),
        title="Результат по прежним данным",
        why=f"{each.patient}, {each.accession_number} исправлено у нас, другая клиника об этом не знала. Сверьте"
        " результат: тот ли пациент, то ли исследование, та ли сторона.",
        act="Открыть",
        path=links.card(each.accession_number),
        late=each if amend else None,
    )


def _replaced(each: inbox.LateChange, amend: bool) -> AttentionItem:
    return AttentionItem(
        key=("late", each.kind, each.item_id),
        title="Другая клиника изменила протокол",
        why=f"{each.patient}, {each.accession_number}: протокол исправлен, дополнен или отозван после того, как его"
        " получили. Прочитайте новый и скажите врачу, который направил.",
        act="Открыть",
        path=links.card(each.accession_number),
        late=each if amend else None,
    )


def _set_aside(each: inbox.LateChange) -> AttentionItem:
    return AttentionItem(
        key=("late", each.kind, each.item_id),
        title="Результат другой клиники отложен",
        why=f"{each.patient}, {each.accession_number}: {bus.incoming_reason(each.reason)}."
        + (
            " Сверьте с той клиникой, наш это пациент или чужой."
            if each.reason.startswith(ANOTHER_PATIENT)
            else " Свяжитесь с той клиникой; поправив карту, прочитайте его снова."
        ),
        act="Посмотреть",
        path=f"/exchange/in/{each.item_id}",
    )


def _late(each: inbox.LateChange, amend: bool) -> AttentionItem:
    if each.kind is ArrivalKind.RESULT:
        if each.reason == ANSWERS_FORMER_DATA:
            return _answered_by_former_data(each, amend)
        if each.reason == REPLACES_REPORT:
            return _replaced(each, amend)
        return _answered_late(each, amend) if each.reason == ANSWERS_CANCELLED else _set_aside(each)
    how = {
        OrderState.IN_PROGRESS: "исследование уже идёт",
        OrderState.COMPLETED: "исследование уже выполнено",
        OrderState.DISCONTINUED: "исследование уже начинали",
        OrderState.SCHEDULED: "оно уже записано",
        OrderState.CANCELLED: "оно снято",
    }.get(each.state, "уже поздно")
    cancelled = each.kind is ArrivalKind.CANCEL
    todo = "Решите с врачом и с той клиникой, что дальше." if cancelled else "Сверьте с карточкой, что изменилось."
    if not cancelled and each.reason != CHANGED_LATE:
        todo = (
            f"Прочитать его нельзя: {bus.incoming_reason(each.reason)}. Решите с той клиникой, делать ли исследование."
        )
    reason = bus.cancelled_because(each.reason) if cancelled and each.state is OrderState.CANCELLED else ""
    how += f" (её слова: {reason})" if reason else ""
    return AttentionItem(
        key=("late", each.kind, each.item_id),
        title=_LATE[each.state is OrderState.CANCELLED, cancelled],
        why=f"{each.patient}, {each.accession_number}: {how}. {todo}",
        act="Открыть",
        path=links.card(each.accession_number),
        late=each if amend else None,
    )


def _doubtful(each: DoubtfulStep) -> AttentionItem:
    reported = names.cut(str(names.from_dicom(each.step.patient_name)), MAX_NAME) or "без имени"
    number = each.order.accession_number
    if each.fields == words.ENDED_BY_ANOTHER:
        return AttentionItem(
            key=("doubtful", each.step.sop_instance_uid, each.order.id),
            title="Закончил другой аппарат",
            why=f"{names.short(each.order.patient.name)}, {number}: исследование начал аппарат «{each.device_name}»,"
            " а о конце сообщил другой. Пока не проверите, шине о снимках не сообщим.",
            act="Проверить",
            path=links.card(number),
        )
    if words.NUMBERS_OF_ORDERS & set(each.fields):
        return AttentionItem(
            key=("doubtful", each.step.sop_instance_uid, each.order.id),
            title="Чьё это исследование?",
            why=f"{each.device_name}: «{reported}». Номера с аппарата называют и направление {number}"
            f" ({names.short(each.order.patient.name)}), и другое: {words.contradictions(each.fields)}."
            " Пока не проверите, шине о снимках не сообщим.",
            act="Проверить",
            path=links.card(number),
        )
    return AttentionItem(
        key=("doubtful", each.step.sop_instance_uid, each.order.id),
        title="Тот ли это пациент?",
        why=f"{each.device_name}: «{reported}», а направление {number} на пациента"
        f" {names.short(each.order.patient.name)} (не сходится {words.contradictions(each.fields)})."
        " Пока не проверите, шине о снимках не сообщим.",
        act="Проверить",
        path=links.card(number),
    )


def _undecided(each: OrderOfTwo) -> AttentionItem:
    number = each.order.accession_number
    return AttentionItem(
        key=("undecided", each.order.id),
        title=patient_cards.WHOSE_ORDER,
        why=f"{number}: {patient_cards.of_two(*each.cards)}. Карты разъединили, а чьё оно, не знали.",
        act="Решить",
        path=links.card(number),
    )


def _uncorrected(each: UncorrectedReferral) -> AttentionItem:
    return AttentionItem(
        key=("uncorrected", each.accession_number),
        title="Другая клиника не знает исправления",
        why=f"{names.short(each.patient)}, {each.accession_number}: исправлено у нас, а там прежние данные:"
        " эта шина исправлений не принимает. Откройте и направьте заново.",
        act="Открыть",
        path=links.card(each.accession_number),
    )


def _archived(each: DoubtfulStudy) -> AttentionItem:
    order, kind = each.order, each.discrepancy.kind
    return AttentionItem(
        key=("archive", each.discrepancy.id),
        title=f"{archive.IN_ARCHIVE}: {archive.lowered(archive.TITLES[kind])}",
        why=f"{names.short(order.patient.name)}: {archive.lowered(archive.meaning(kind, order.accession_number))}",
        act="Сравнить",
        path=links.comparison(order.accession_number),
    )


def _offered(each: OfferedStudy) -> AttentionItem:
    return AttentionItem(
        key=("offered", each.unreferred.id),
        title=f"{archive.IN_ARCHIVE}: {archive.lowered(archive.UNREFERRED)}",
        why=f"{archive.described(each.unreferred.study)}. {archive.offered(each)}",
        act="Сравнить",
        path="/archive?show=unreferred",
    )


def _missing(each: MissingImages, on: date, zone: tzinfo) -> AttentionItem:
    number = each.order.accession_number
    at = words.moment(each.since, zone, on)
    what = archive.lowered(archive.missing(at, holds_region=each.holds_region))
    return AttentionItem(
        key=("missing", each.order.id),
        title=archive.MISSING,
        why=f"{names.short(each.order.patient.name)}, {number}: {what}",
        act="Открыть",
        path=links.card(number),
    )


def _counted(each: OtherCount) -> AttentionItem:
    number = each.order.accession_number
    return AttentionItem(
        key=("counted", each.order.id),
        title=archive.other_count(each.counted),
        why=f"{names.short(each.order.patient.name)}, {number}: " + archive.lowered(archive.difference(each.counted)),
        act="Проверить",
        path="/archive",
    )


def _fewer(each: FewerImages) -> AttentionItem:
    number = each.order.accession_number
    return AttentionItem(
        key=("fewer", each.order.id),
        title=archive.FEWER,
        why=f"{names.short(each.order.patient.name)}, {number}: {archive.lowered(archive.fewer(each))}."
        f" {archive.FEWER_MEANS}",
        act="Открыть",
        path=links.card(number),
    )


def _refused(found: RefusedSummary) -> AttentionItem:
    """Return one item for all that was not imported: a table may have many rows."""
    first = found.first
    why = f"{refused.short(first.path)}: {archive.lowered(refused.why(first.source, first.reasons))}"
    if found.files + found.rows > 1:
        why = f"{refused.count(found.files, found.rows)}. Например, {why}"
    return AttentionItem(key="refused", title=refused.PLACE, why=why, act="Посмотреть", path="/refused")


def _similar(found: SimilarSummary) -> AttentionItem:
    """Return one item for all cards of imported items that may be those of patients whom we had."""
    why = f"{refused.short(found.first.place.path)}: {refused.similar(found.first)}"
    if found.count > 1:
        why = f"{words.plural(found.count, 'пара карт', 'пары карт', 'пар карт')}. Например, {why}"
    return AttentionItem(key="similar", title=refused.SIMILAR_CARDS, why=f"{why}.", act="Посмотреть", path="/refused")


def _orphan(each: OrphanMessage, zone: tzinfo) -> AttentionItem:
    at = f"{each.device_name} в {each.at.astimezone(zone):%H:%M}"
    if each.outcome == "refused":
        return AttentionItem(
            key=("orphan", each.sop_instance_uid),
            title="Сообщение аппарата не принято",
            why=f"{at}: нарушает стандарт, а правила для аппарата строгие. Что снято, отметьте в карточке сами.",
        )
    ended = {"COMPLETED": "закончил", "DISCONTINUED": "прервал"}.get(each.state, "уточнил")
    return AttentionItem(
        key=("orphan", each.sop_instance_uid),
        title="Исследование без начала",
        why=f"{at} {ended} то, о начале чего не сообщал. Чьё оно, неизвестно: отметьте выполненное в карточке сами.",
    )
