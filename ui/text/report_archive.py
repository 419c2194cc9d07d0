"""The Russian words for a signed report on its way to the image archive. Only words."""

from __future__ import annotations

from collections.abc import Sequence

from broker.domain.studies.archived_reports import ArchivedReport, ArchivedReportReason, ArchivedReportState

SEND_AGAIN = "Отправить ещё раз"

_R = ArchivedReportReason
REASONS: dict[ArchivedReportReason, str] = {
    _R.NONE: "Протокол ждёт отправки в архив снимков.",
    _R.UNREACHABLE: "Протокол ждёт: архив снимков не отвечает. Уйдёт сам.",
    _R.NO_DOCUMENTS: "Протокол ждёт: архив снимков не принимает документы PDF (Encapsulated PDF Storage).",
    _R.NOT_THERE: "Протокол ждёт: в архиве снимков этого исследования ещё нет. Уйдёт сам.",
    _R.DISCREPANCY: "Протокол ждёт: исследование в архиве не сходится с направлением. См. «Расхождения с архивом».",
    _R.DOUBT: "Протокол не уходит в архив снимков, пока не ясно, о тех ли он снимках.",
    _R.BUSY: "Протокол ждёт: архив снимков сейчас не может его принять. Уйдёт сам.",
    _R.NEVER_CAME: "Протокол в архив не отправлен: исследования там так и не появилось.",
    _R.NO_CYRILLIC: "Протокол в архив не отправлен: архив отвечает без кириллицы, и номер карты в нём не сверить."
    " Администратору архива: включите UTF-8 (в Orthanc DefaultEncoding: Utf8).",
    _R.REFUSED: "Архив снимков отказался принять протокол.",
    _R.REPLACED: "Прежняя версия в архив снимков не отправлена: её заменила новая.",
    _R.WITHDRAWN: "Протокол отозван, в архив снимков ничего не отправлено.",
}
del _R
STAYED = "Протокол отозван, а прежняя версия осталась в архиве снимков: убрать её может администратор архива."


def described(found: Sequence[ArchivedReport], at: str) -> str:
    """Return what became of the newest of these versions; `at` is when the archive has taken it, in words."""
    newest = found[0]
    if newest.state is ArchivedReportState.STORED:
        return f"Протокол в архиве снимков ({at})."
    if newest.reason is ArchivedReportReason.WITHDRAWN and any(each.may_be_there for each in found):
        return STAYED
    said = REASONS[newest.reason]
    return f"{said} Ответ архива: {newest.detail}." if newest.detail else said
