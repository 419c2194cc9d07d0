"""Measures the search for patients among very many, by what registrars type, in the store alone.

    python -m tests.bench --search 1000000

Surnames are as many and as unevenly spread as in a region: a few thousand; one in a hundred people bears the commonest.
One in a hundred is registered in Latin letters.
Everybody has a СНИЛС, a policy, a phone, a card number and an order with a visit in one of five years. The same lines
are typed into «Исследования» and into the dialog that links images: both list visits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from broker.domain.patients import names
from broker.domain.studies.performed import PerformedState, PerformedStep
from broker.store.database import Reader, Store, Tx
from broker.store.queries import schedule
from broker.store.queries.patients import patient_search
from ui.board import link_candidates

_AT_A_TIME = 50_000
UID_ROOT = "1.2.826.0.1.3680043.10.1234"
FIRST_VISIT, YEARS = datetime(2021, 11, 30, 8), 5
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
    # beside words the beginning of a number: of a policy (four in five begin so), a СНИЛС, a card, a phone, an order
    "иванов 780", "и 78", "иванов 78 05", "марина 11", "александрович 987", "яковлева 01", "петров 9", "зоя 12 3",
    "иванов 8 913 123", "смирнова 8 93", "александр d2411", "жукян d24", "780 913", "марина викторович 780",
    "kuznetsova marina", "aleksandrovich 780", "котова 4512",
    # in the other layout of the keyboard, and of somebody who is registered in Latin letters
    "bdfyjd", "bdfyjdf zyf", "александр ивановна", "жукян юлия 780",
    # a number that is typed digit by digit
    "иванов 1 2 3 4", "александровна 1 2 3 4 5", "1 2 3 4 5", "и 9 8 7 6",
)  # fmt: skip
MOST_VISITS = 100  # as «Исследования» lists


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
        if id % 100 == 0:
            family, given = (names.transliterated(each).title() for each in (family, given))
        born = date(1930, 1, 1) + timedelta(days=chance.randrange(33_000))
        tx.run(
            "INSERT INTO patient (id, patient_id, family, given, middle, name_key, given_key, birth_date, sex, snils,"
            " policy, phone, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [id, f"{id:06d}", family, given, middle, names.fold(f"{family} {given} {middle}"), names.fold(given),
             born.isoformat(), "M" if male else "F", f"{id * 9973 % 10**11:011d}", _policy(id),
             f"8 (9{id % 90 + 10}) {id % 1000:03d}-{id % 97:02d}-{id % 89:02d}", now],
        )  # fmt: skip
        add_visit(tx, id, FIRST_VISIT + timedelta(minutes=30 * (id * 7919 % (YEARS * 365 * 48))))


def add_visit(tx: Tx, patient: int, start: datetime) -> str:
    """Add a visit that is over, with its order, under the number of a patient; return its accession number."""
    id, accession_number = patient, f"D{start:%y%m}-{patient:06d}"
    tx.run(
        "INSERT INTO orders (id, accession_number, bus_accession_number, study_instance_uid, requested_procedure_id,"
        " patient_id, state, state_since, procedure_code, procedure_name, procedure_local, modality, priority, finance,"
        " referrer_family, authored_on, created_by)"
        " VALUES (?, ?, ?, ?, ?, ?, 'completed', ?, 'WLB-KNEE', 'Рентгенография коленного сустава', 1, 'DX',"
        " 'routine', '1', 'Зимин', ?, 'bench')",
        [id, accession_number, f"780{id:09d}" if id % 3 == 0 else None, f"{UID_ROOT}.{id}", f"RP{id}", patient,
         start.isoformat(), tx.now.isoformat()],
    )  # fmt: skip
    tx.run(
        "INSERT INTO scheduled_step (id, order_id, sps_id, start, state, state_since)"
        " VALUES (?, ?, ?, ?, 'COMPLETED', ?)",
        [id, id, f"SPS{id}", start.isoformat(timespec="seconds"), tx.now.isoformat()],
    )
    tx.run("INSERT INTO scheduled_step_station (step_id, ae_title, position) VALUES (?, 'XRAY_14', 0)", [id])
    return accession_number


def _policy(id: int) -> str:
    """Return a policy's number: of four in five people one of this region."""
    return f"{78 if id % 5 else id % 80 + 10}{id * 7_368_787 % 10**14:014d}"


def measure(folder: Path, count: int, rounds: int = 3) -> None:
    """Print how much processor time the slowest of the queries takes, each the best of some rounds."""
    store = Store(folder / "patients.sqlite")
    try:
        families = fill(store, count)
        print(f"\n{count:,} patients of {families:,} surnames, each with an order; {len(QUERIES)} queries")
        with store.read() as reader:
            for name, ask in _SEARCHES.items():
                taken = sorted((_measured(reader, ask, typed, rounds) for typed in QUERIES), reverse=True)
                print(f"  {name}: worst {taken[0][0]:.1f} ms, median {taken[len(taken) // 2][0]:.2f} ms; the slowest:")
                for milliseconds, typed, found in taken[:8]:
                    print(f"  {milliseconds:8.2f} ms  «{typed}»: {found}")
    finally:
        store.close()


def _patients(reader: Reader, typed: str) -> str:
    found = patient_search.search(reader, typed)
    return f"{'more than ' if found.more else ''}{len(found.patients)}"


def _studies(reader: Reader, typed: str) -> str:
    found = schedule.studies(reader, typed, FIRST_VISIT.date(), MOST_VISITS)
    return f"{'more than ' if found.more else ''}{len(found.visits)}"


def _candidates(reader: Reader, typed: str) -> str:
    step = PerformedStep("1.2.3", "XRAY_14", PerformedState.IN_PROGRESS, FIRST_VISIT, "DX")
    found = link_candidates.find(reader, step, FIRST_VISIT.date(), typed)
    return f"{'more than ' if found.more else ''}{len(found.visits)}"


_SEARCHES = {"patients": _patients, "studies": _studies, "visits to link": _candidates}


def _measured(reader: Reader, ask: Callable[[Reader, str], str], typed: str, rounds: int) -> tuple[float, str, str]:
    times, found = [], ""
    for _ in range(rounds):
        began = time.thread_time()  # others use the machine, too
        found = ask(reader, typed)
        times.append(1000 * (time.thread_time() - began))
    return min(times), typed, found
