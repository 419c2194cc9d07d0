"""Every Russian word about the fields of a referral: their names, their choices, and what may be wrong with them.

Only words, as in `words`. A field stands under its name in `domain.validation`; what an amendment changes, also under
the name in `Order` and `Patient`, as the audit trail has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.domain.orders import Priority
from broker.domain.patients.people import Sex

# As the form shows them; within a sentence they begin with a small letter, see `in_sentence`.
LABELS: Mapping[str, str] = {
    "patient": "Данные пациента",
    "family": "Фамилия",
    "given": "Имя",
    "middle": "Отчество",
    "birth_date": "Дата рождения",
    "birth_year": "Год рождения",
    "mother": "Мать",
    "sex": "Пол",
    "patient_id": "Номер карты",
    "snils": "СНИЛС",
    "policy": "Полис ОМС",
    "insurer": "Страховая (СМО)",
    "phone": "Телефон",
    "weight": "Вес",
    "height": "Рост",
    "allergies": "Аллергия",
    "pregnancy": "Беременность",
    "procedure": "Исследование",
    "procedure_code": "Исследование",
    "procedure_name": "Исследование",
    "steps": "Время или аппарат",
    "device": "Аппарат",
    "owner": "Другая клиника",
    "date": "Дата",
    "time": "Время",
    "laterality": "Сторона",
    "priority": "Срочность",
    "finance": "Оплата",
    "referrer": "Кто направил",
    "referrer_snils": "СНИЛС врача",
    "referrer_position": "Должность врача",
    "diagnosis": "Диагноз",
    "diagnosis_code": "Код диагноза",
    "diagnosis_text": "Диагноз",
    "comment": "Комментарий",
    "urgent": "Срочно",
}
SEXES = {Sex.FEMALE: "Женский", Sex.MALE: "Мужской", Sex.OTHER: "Другой"}
# Of a field with few values: value -> word.
CHOICES: Mapping[str, Mapping[str, str]] = {
    "sex": {str(sex): word for sex, word in SEXES.items()},
    "laterality": {"": "Не требуется", "L": "Слева", "R": "Справа", "B": "Обе стороны"},
    "priority": {Priority.ROUTINE: "Планово", Priority.URGENT: "Срочно"},
    "finance": {"1": "ОМС", "2": "Бюджет", "3": "Платно", "4": "ДМС", "5": "Собственные средства", "6": "Другое"},
}
# The sentence says what is wrong and how to fix it; `errors.problem` has those for any field by the code alone.
PROBLEMS: Mapping[tuple[str, str], str] = {
    ("family", "required"): "Напишите фамилию",
    ("given", "required"): "Напишите имя. Если в документе одно слово, поставьте прочерк",
    ("birth_date", "required"): "Напишите дату, например 12.03.1961, или только год, или «неизвестна»",
    ("birth_date", "unreadable"): "Такой даты нет. Напишите, например, 12.03.1961, или только год, или «неизвестна»",
    ("birth_date", "future"): "Дата ещё не наступила, проверьте год",
    ("birth_date", "too_old"): "Дата слишком давняя, проверьте год",
    ("sex", "required"): "Выберите пол",
    ("snils", "length"): "В СНИЛС 11 цифр, проверьте, все ли набраны",
    ("snils", "placeholder"): "Такого СНИЛС ни у кого нет. Если СНИЛС нет, оставьте поле пустым",
    ("snils", "check_digit"): "Контрольное число не сходится, проверьте последние две цифры",
    ("snils", "other_patient"): "Этот СНИЛС у нас записан на другого человека. Найдите его поиском или проверьте цифры",
    ("policy", "length"): "В полисе 16 цифр, проверьте, все ли набраны",
    ("policy", "placeholder"): "Такого полиса ни у кого нет. Если полиса нет, оставьте поле пустым",
    ("policy", "check_digit"): "Контрольная цифра не сходится, проверьте номер полиса",
    (
        "policy",
        "other_patient",
    ): "Этот полис у нас записан на другого человека. Найдите его поиском или проверьте цифры",
    ("patient_id", "card_letters"): "В номере карты не бывает знаков \\ * ?",
    ("patient_id", "too_long"): "Номер карты длиннее 64 знаков",
    ("patient_id", "other_patient"): "Этот номер карты у другого человека",
    (
        "patient",
        "several",
    ): "Таких людей у нас несколько. Найдите нужного поиском или нажмите «Другой человек»",
    ("owner", "shared_number"): "Другая клиника даёт свой номер: запишите туда обычным направлением",
    ("owner", "no_consent"): "Пациент отозвал согласие на передачу данных в регион: в другую клинику направить нельзя",
    ("patient", "similar"): "Похожий пациент у нас уже записан. Ответьте под полями, он ли это",
    ("patient", "inactive"): "Направившая клиника закрыла эту карту пациента. Уточните у неё, о ком направление",
    ("patient", "two_patients"): "В направлении названы два разных человека. Уточните у направившей клиники, о ком оно",
    (
        "patient",
        "number_other_name",
    ): "Под этим номером карты у отправителя уже есть человек с другим именем. Уточните у него, о ком направление",
    (
        "patient",
        "number_other_birth_date",
    ): "Под этим номером карты у отправителя уже есть человек с другой датой рождения. Уточните, о ком направление",
    (
        "patient",
        "number_other_sex",
    ): "Под этим номером карты у отправителя уже есть человек другого пола. Уточните у него, о ком направление",
    ("patient", "replaced"): "Карту пациента в направившей клинике объединили с другой. Проверьте, чьё это направление",
    ("patient", "deceased"): "По данным направившей клиники пациент умер. Уточните у неё",
    ("patient", "other_patient"): "Пациента в направлении сменить нельзя. Отмените направление и запишите новое",
    ("weight", "range"): "Вес от 0,2 до 500 кг",
    ("weight", "unreadable"): "Напишите вес числом, например 72 или 3,4",
    ("height", "range"): "Рост от 20 до 260 см",
    ("height", "unreadable"): "Напишите рост числом, например 168",
    ("procedure", "required"): "Выберите, что делаем",
    ("procedure", "unknown"): "Этого исследования больше нет в справочнике, выберите другое",
    ("device", "required"): "Выберите аппарат",
    ("device", "none"): "Нет аппарата этого вида. Выберите другое исследование или добавьте аппарат",
    ("device", "unknown"): "Этого аппарата больше нет, выберите другой",
    ("device", "other_modality"): "Этот аппарат такого исследования не делает, выберите другой",
    ("date", "required"): "Напишите дату, например 24.11.2026, или «сегодня»",
    ("date", "unreadable"): "Такой даты нет. Напишите, например, 24.11.2026 или «завтра»",
    ("date", "past"): "Этот день прошёл, выберите сегодня или позже",
    ("date", "too_far"): "Записать можно не дальше чем на год",
    ("time", "required"): "Напишите время, например 09:50, или нажмите «ближайшее»",
    ("time", "unreadable"): "Такого времени нет. Напишите часы и минуты, например 09:50",
    ("time", "full"): "В этот день у аппарата свободного времени нет. Выберите другой день или напишите время сами",
    ("owner", "required"): "Напишите название клиники и выберите её из списка",
    ("owner", "unknown"): "Такой клиники в справочнике нет. Выберите из списка или вставьте GUID",
    ("owner", "ours"): "Это наша клиника. Выберите другую или «делаем у нас»",
    ("owner", "no_bus"): "Без шины в другую клинику не отправить",
    ("owner", "other_owner"): "Другую клинику в направлении не сменить. Отмените его и запишите новое",
    ("diagnosis", "icd10"): "Код по МКБ-10: буква и две цифры, например M17.1",
    ("referrer_snils", "length"): "В СНИЛС врача 11 цифр",
    ("referrer_snils", "placeholder"): "Такого СНИЛС ни у кого нет. Если СНИЛС врача неизвестен, оставьте поле пустым",
    ("referrer_snils", "check_digit"): "Контрольное число СНИЛС врача не сходится",
    ("finance", "unknown"): "Выберите оплату",
    ("laterality", "unknown"): "Выберите сторону",
    ("laterality", "contradicts"): "В направлении названы разные стороны: уточните и выберите",
    ("comment", "too_long"): "Не больше 1024 знаков",
}


def in_sentence(word: str) -> str:
    """Return a label or a choice with a small first letter: «сторона»; abbreviations stay: «СНИЛС врача»."""
    return word if word[1:2].isupper() else word[:1].lower() + word[1:]


def listed(fields: Iterable[str]) -> str:
    """Return the names of fields, each once: «сторона, СНИЛС врача»; fields without a name are left out."""
    return ", ".join(dict.fromkeys(in_sentence(LABELS[field]) for field in fields if field in LABELS))


def value(field: str, stored: str) -> str:
    """Return a stored value as it stands within a sentence: «справа»; a field without choices as it is."""
    word = CHOICES.get(field, {}).get(stored)
    return stored if word is None else in_sentence(word)
