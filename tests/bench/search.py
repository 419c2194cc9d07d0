"""Measures the search for patients among very many, by what registrars type, in the store alone.

    python -m tests.bench --search 1000000

Surnames are as many and as unevenly spread as in a region: a few thousand; one in a hundred people bears the commonest.
"""

from __future__ import annotations

import random
import time
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path

from broker.domain.patients import names
from broker.store.database import Store, Tx
from broker.store.queries.patients import patient_search

_AT_A_TIME = 50_000
_ROOTS = [
    "Иван",
    "Петр",
    "Сидор",
    "Кузнец",
    "Смирн",
    "Поп",
    "Васил",
    "Сокол",
    "Михайл",
    "Новик",
    "Федор",
    "Мороз",
    "Волк",
    "Алексе",
    "Лебед",
    "Семен",
    "Егор",
    "Павл",
    "Козл",
    "Степан",
    "Никол",
    "Орл",
    "Андре",
    "Макар",
    "Никит",
    "Захар",
    "Зайц",
    "Солов",
    "Борис",
    "Яковл",
    "Григор",
    "Роман",
    "Вороб",
    "Серге",
    "Кузьм",
    "Фрол",
    "Александр",
    "Дмитри",
    "Корол",
    "Гус",
    "Кисел",
    "Ильин",
    "Максим",
    "Поляк",
    "Сорок",
    "Виноград",
    "Ковал",
    "Бел",
    "Медвед",
    "Антон",
    "Тарас",
    "Жук",
    "Баран",
    "Филипп",
    "Комар",
    "Давыд",
]
_MIDDLES = ("", "ов", "ич", "ен", "ушк", "ьк", "ар", "ан", "ул", "еньк")
_ENDINGS = ("ов", "ев", "ин", "ский", "енко", "ко", "ук", "ец", "цов", "кин", "янц", "дзе", "ян")
_MALE = [
    "Иван",
    "Александр",
    "Сергей",
    "Дмитрий",
    "Андрей",
    "Алексей",
    "Максим",
    "Евгений",
    "Ярослав",
    "Юрий",
    "Павел",
    "Николай",
    "Пётр",
    "Виктор",
    "Игорь",
    "Олег",
    "Роман",
    "Артём",
    "Эдуард",
]
_FEMALE = [
    "Анна",
    "Мария",
    "Елена",
    "Ольга",
    "Наталья",
    "Татьяна",
    "Ирина",
    "Екатерина",
    "Светлана",
    "Марина",
    "Яна",
    "Галина",
    "Людмила",
    "Вера",
    "Надежда",
    "Любовь",
    "Зоя",
    "Эмма",
    "Юлия",
    "Инна",
    "Ия",
]
_FATHERS = [
    "Иван",
    "Александр",
    "Алексе",
    "Максим",
    "Ярослав",
    "Юрь",
    "Павл",
    "Никола",
    "Петр",
    "Виктор",
    "Игор",
    "Олег",
    "Роман",
    "Артем",
    "Эдуард",
]
QUERIES = (
    "и", "а", "я", "ю", "щ", "ив", "ал", "зоя", "ия", "эмма", "иванов", "смирнова", "александр", "александрович",
    "александровна", "максимовна", "ива яро", "ива алекс", "иванов ярослав", "иванов ярослав эдуардович",
    "иванова яна ярославовна", "ярослав иванов", "яна ив", "и я ю", "а е и", "ия эдуардовна", "эмма юрьевна",
    "зоя иванович", "марина викторович", "александр эмма", "иванов и и", "петров а",
    "александров александр александрович",
    "александрович эдуард", "иванов 1974", "ив 1974", "александровна 1931", "иванов иван 1974", "жукян ярослав юрьевич",
    "иванов 12.03.1961", "12031961", "12/03/61", "1961-03-12", "а 12.03.61", "112-233", "08765430300", "004512", "4512",
    "8 903 123", "нетакого никогда",
)  # fmt: skip


def fill(store: Store, count: int) -> int:
    """Put so many patients into the database; return how many surnames they bear."""
    chance = random.Random(count)
    families = sorted({root + middle + ending for root in _ROOTS for middle in _MIDDLES for ending in _ENDINGS})
    chance.shuffle(families)
    families.sort(key=lambda family: family not in {"Иванов", "Смирнов", "Петров", "Александров"})
    weights = list(accumulate(1 / (place + 12) for place in range(len(families))))
    for first in range(0, count, _AT_A_TIME):
        chosen = chance.choices(families, cum_weights=weights, k=min(_AT_A_TIME, count - first))
        store.write(lambda tx, first=first, chosen=chosen: _insert(tx, first, chosen, chance))  # type: ignore[misc]
    return len(families)


def _insert(tx: Tx, first: int, families: list[str], chance: random.Random) -> None:
    now = tx.now.isoformat()
    for id, stem in enumerate(families, first + 1):
        male = chance.random() < 0.46
        family = stem if male or stem[-1] not in "вн" else f"{stem}а"
        given = chance.choice(_MALE if male else _FEMALE)
        middle = chance.choice(_FATHERS) + ("ович" if male else "овна")
        born = date(1930, 1, 1) + timedelta(days=chance.randrange(33_000))
        tx.run(
            "INSERT INTO patient (id, patient_id, family, given, middle, name_key, given_key, birth_date, sex, snils,"
            " phone, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [id, f"{id:06d}", family, given, middle, names.fold(f"{family} {given} {middle}"), names.fold(given),
             born.isoformat(), "M" if male else "F", f"{id * 9973 % 10**11:011d}",
             f"8 (9{id % 90 + 10}) {id % 1000:03d}-{id % 97:02d}-{id % 89:02d}", now],
        )  # fmt: skip


def measure(folder: Path, count: int, rounds: int = 3) -> None:
    """Print how long the slowest of the queries takes, each the best of some rounds."""
    store = Store(folder / "patients.sqlite")
    try:
        families = fill(store, count)
        taken: list[tuple[float, str, int, bool]] = []
        with store.read() as reader:
            for typed in QUERIES:
                times = []
                for _ in range(rounds):
                    began = time.perf_counter()
                    found = patient_search.search(reader, typed)
                    times.append(1000 * (time.perf_counter() - began))
                taken.append((min(times), typed, len(found.patients), found.more))
        taken.sort(reverse=True)
        print(f"\n{count:,} patients of {families:,} surnames, {len(QUERIES)} queries")
        print(f"  worst {taken[0][0]:.1f} ms, median {taken[len(taken) // 2][0]:.2f} ms; the slowest:")
        for milliseconds, typed, number, more in taken[:8]:
            print(f"  {milliseconds:8.2f} ms  «{typed}»: {'more than ' if more else ''}{number}")
    finally:
        store.close()
