"""Words of reading: what readers find, and what a study waits for. Pure."""

from __future__ import annotations

from broker.domain.reading.opinions import Finding, Opinion, ReadingStage
from broker.store.queries.reading.reading_cases import WaitingCase
from ui.text import words

# Key, word, what it means, tone.
FINDINGS = {
    Finding.NORM: ("1", "Норма", "Одной клавишей; следующий случай откроется сам", "green"),
    Finding.KNOWN: ("2", "Особенности, дообследование не нужно", "Старые изменения, вариант строения", "blue"),
    Finding.RECALL: ("3", "Дообследование", "Нужны другие снимки, анализы или врач", "amber"),
    Finding.TECHNICAL: ("4", "Брак, переснять", "По этим снимкам судить нельзя", "red"),
}
SHORT = {
    Finding.NORM: "норма",
    Finding.KNOWN: "особенности",
    Finding.RECALL: "дообследование",
    Finding.TECHNICAL: "брак",
}
BI_RADS = (
    "Нужны другие снимки",
    "Норма",
    "Доброкачественное",
    "Вероятно доброкачественное",
    "Подозрительное",
    "Рак вероятен",
    "Рак доказан",
)
SIDES = {"R": "Справа", "L": "Слева", "B": "С обеих сторон"}
# State of `theme.STATES`, and its word, for a study that two doctors read.
STAGES = {
    ReadingStage.FIRST: ("first_read", "Первое"),
    ReadingStage.SECOND: ("second_read", "Второе"),
    ReadingStage.ARBITRATION: ("third_read", "Третий"),
}
DEFERRED_BECAUSE = (
    "Не тот пациент на снимках",
    "Перепутаны стороны или проекции",
    "Не хватает снимка",
    "Нужны прежние снимки",
    "Пусть читает другой",
)


def said(opinion: Opinion | None) -> str:
    """Return an opinion in a few words: «норма», «П 1, Л 4», «дообследование, справа»."""
    if opinion is None:
        return ""
    if opinion.right is not None and opinion.left is not None:
        return f"П {opinion.right}, Л {opinion.left}"
    side = SIDES.get(opinion.side, "").lower()
    return SHORT[opinion.finding] + (f", {side}" if side else "")


def brief(opinion: Opinion | None) -> str:
    """Return an opinion in one word, or the categories of both breasts."""
    return said(opinion).partition(", ")[0] if opinion and opinion.right is None else said(opinion)


def scale(opinion: Opinion) -> str:
    """Return the sentence that states the categories of both breasts in a conclusion; empty where there are none."""
    if opinion.right is None or opinion.left is None:
        return ""
    return f"Справа BI-RADS {opinion.right}, слева BI-RADS {opinion.left}."


def queue_name(modality: str, needed: int) -> str:
    """Return what a queue is called: «Маммография», «Рентген, два чтения»."""
    word = words.MODALITIES.get(modality, modality)
    return f"{word}, два чтения" if needed > 1 else word


def stage_of(case: WaitingCase) -> tuple[str, str]:
    """Return the state and word of what a study waits for; empty where one doctor reads it."""
    return STAGES[case.stage] if case.needed > 1 else ("", "одно")
