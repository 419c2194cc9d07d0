"""Person names: how they are written in DICOM, folded for comparison, and shortened for a device.

Folding happens here because SQLite's own UPPER, LIKE and NOCASE know ASCII only. What is stored is never changed here:
folded forms are for comparing. `fold` is the only notion of "the same name": the desk, the search, the worklist, MPPS,
the archive, the bus and imports all compare by it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

from broker.domain.patients.people import PersonName

_BLANKS = re.compile(r"\s+")
_BESIDE_DASH = re.compile(r"(?: *- *)+")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")  # О'Хара is one word
_CYRILLIC, _LATIN = re.compile(r"[\u0400-\u052f]"), re.compile(r"[a-zA-Z]")
FOLD_VERSION = 3  # to be raised with every change of what `fold` returns: stored keys are then rewritten
NAME_LENGTH = 64  # characters in one component group, PS3.5 6.2 (PN)

# Letters of our neighbours in Russian ones, as the people who bear such names write them in Russian papers. The
# palochka (Ӏ) is no letter there.
RUSSIAN_LETTERS = str.maketrans(
    {"Ә": "А", "ә": "а", "Ғ": "Г", "ғ": "г", "Қ": "К", "қ": "к", "Ң": "Н", "ң": "н", "Ө": "О", "ө": "о", "Ұ": "У",
     "ұ": "у", "Ү": "У", "ү": "у", "Һ": "Х", "һ": "х", "Җ": "Ж", "җ": "ж", "Ґ": "Г", "ґ": "г", "Ӯ": "У", "ӯ": "у",
     "Ҳ": "Х", "ҳ": "х", "Ҷ": "Ч", "ҷ": "ч", "Ӣ": "И", "ӣ": "и", "І": "И", "і": "и", "Ї": "И", "ї": "и", "Є": "Е",
     "є": "е", "Ў": "У", "ў": "у", "Ј": "Й", "ј": "й", "Љ": "Ль", "љ": "ль", "Њ": "Нь", "њ": "нь", "Џ": "Дж",
     "џ": "дж", "Ѓ": "Г", "ѓ": "г", "Ќ": "К", "ќ": "к", "Ѕ": "С", "ѕ": "с", "Ђ": "Дж", "ђ": "дж", "Ћ": "Ч",
     "ћ": "ч", "Ҙ": "З", "ҙ": "з", "Ҡ": "К", "ҡ": "к", "Ҫ": "С", "ҫ": "с",
     "Ҕ": "Г", "ҕ": "г", "Ӷ": "Г", "ӷ": "г", "Ӻ": "Г", "ӻ": "г", "Ҥ": "Н", "ҥ": "н", "Ӊ": "Н", "ӊ": "н", "Ӈ": "Н",
     "ӈ": "н", "Ԩ": "Н", "ԩ": "н", "Ӕ": "А", "ӕ": "а", "Ҝ": "К", "ҝ": "к", "Ҟ": "К", "ҟ": "к", "Ӄ": "К", "ӄ": "к",
     "Ӡ": "Дз", "ӡ": "дз", "Ҭ": "Т", "ҭ": "т", "Ҧ": "П", "ҧ": "п", "Ԥ": "П", "ԥ": "п", "Ҵ": "Ц", "ҵ": "ц",
     "Ҽ": "Ч", "ҽ": "ч", "Ҿ": "Ч", "ҿ": "ч", "Ҹ": "Ч", "ҹ": "ч", "Ӌ": "Ч", "ӌ": "ч", "Ӆ": "Л", "ӆ": "л", "Ԓ": "Л",
     "ԓ": "л", "Ӎ": "М", "ӎ": "м", "Ҏ": "Р", "ҏ": "р", "Ӽ": "Х", "ӽ": "х", "Ӿ": "Х", "ӿ": "х", "Ҋ": "Й", "ҋ": "й",
     "Ӏ": "", "ӏ": ""}
)  # fmt: skip
# Latin letters that Unicode does not take apart into a letter and its accent.
_LATIN_LETTERS = str.maketrans(
    {"Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "Ħ": "H", "ħ": "h", "ı": "i",
     "Þ": "Th", "þ": "th", "Æ": "Ae", "æ": "ae", "Œ": "Oe", "œ": "oe", "ß": "ss", "Ə": "A", "ə": "a", "Ŋ": "N",
     "ŋ": "n"}
)  # fmt: skip
# One sign that is typed, printed and pasted in many forms: an apostrophe, and a dash (Unicode's dashes and minus).
SIGNS = str.maketrans({**dict.fromkeys("’‘ʼʻ`´ʹ′‛ʽ＇", "'"), **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"), "\u00ad": None})

# What is written in the place of a name, folded, by whole words: Новорождественская and Девочкин are people's names.
# _UNKNOWN says that somebody is not known, also in two words. Beside it may stand _ANYBODY, and nothing else. _NEWBORN
# says by itself that a child has no name yet. _CHILD does after the family name, and before the mother's («Дочь
# Ивановой»); _SON likewise, if no other name follows (Ли Сын Ман). _ORDER tells twins apart.
_UNKNOWN = frozenset(
    {
        *("неизвестный", "неизвестная", "неизвестное", "неизвестно", "неизвестен", "неизвестна"),
        *("неизв", "neizv", "unknown"),
        *("неопознанный", "неопознанная", "неопознанное", "безымянный", "безымянная"),
        *("неустановленный", "неустановленная", "неустановленное", "неустановлен", "неустановлена", "неустановлено"),
    }
)
_UNKNOWN_IN_TWO = re.compile(
    r"\b(?:не (?:установлен|известен|известн|опознан)\w*|без (?:имени|фамилии|документов|фио|данных))\b"
)
_ANYBODY = frozenset(
    {
        *("мужчина", "женщина", "муж", "жен", "м", "ж", "male", "female", "мужской", "женский", "мужского", "женского"),
        *("пациент", "пациентка", "подросток", "лицо", "личность", "patient", "no", "пол", "пола"),
        *("гражданин", "гражданка", "гр", "больной", "больная", "человек", "имя", "фамилия", "лет", "около", "года"),
        *("по", "скорой", "скорая", "дтп"),
    }
)
_NEWBORN = frozenset(
    {
        *("новорожденный", "новорожденная", "новорожденное", "новорожденного", "новорожденной", "новорожденные"),
        *("новорожд", "новорожден", "новорождена", "новор", "н/р", "н/рожд", "n/r"),
    }
)
_CHILD = frozenset(
    {
        *("девочка", "мальчик", "ребенок", "младенец", "плод", "близнец", "двойня", "тройня", "дочь", "дочка"),
    }
)
_SON = "сын"
_ORDER = frozenset(
    {
        *("первый", "первая", "первое", "второй", "вторая", "второе", "третий", "третья", "третье"),
        *("i", "ii", "iii", "из", "двойни", "тройни", "no", "мать"),
    }
)
_WHICH = _ORDER - {"из", "двойни", "тройни", "no", "мать"}
SHORT_NEWBORN = "н/р"  # in the forms for small devices
_PATRONYMIC = ("вич", "вна", "чна", "шна")

# Latin letters that look like Cyrillic ones, small or capital, after folding: typed with the keyboard in the wrong
# state, or written by a program that "repaired" a name (pydicom's chrRuss.dcm spells "Люкceмбypг" with four of them).
HOMOGLYPHS = str.maketrans("abcehikmoptxyëABCEHIKMOPTXYË", "авсенікмортхуёАВСЕНІКМОРТХУЁ")


@lru_cache(maxsize=8192)  # the same name is compared with many, and in several of its parts
def fold(text: str) -> str:
    """Return the form in which names are compared: texts with the same form are the same name.

    Case folded; blanks squeezed, none beside a dash; one apostrophe and one dash for all that look so; Latin
    look-alikes inside Cyrillic words as the letters they stand for; no accents, ё as е; letters of neighbouring
    alphabets (Tatar, Kazakh, Yakut, Ossetian, Ukrainian, …) as the Russian ones that such names are written with.
    """
    folded = unicodedata.normalize("NFC", text).casefold().translate(SIGNS)
    if not folded.isascii():
        folded = without_look_alikes(without_accents(folded)).translate(RUSSIAN_LETTERS)
    folded = _BLANKS.sub(" ", folded).strip()
    return _BESIDE_DASH.sub("-", folded) if "-" in folded else folded


def in_one_alphabet(text: str) -> str:
    """Fold a text as `fold` does, but keep accents, ё and neighbours' letters: they are transliterated as they are."""
    folded = unicodedata.normalize("NFC", text).casefold().translate(SIGNS)
    return _BLANKS.sub(" ", without_look_alikes(folded)).strip()


def without_accents(text: str) -> str:
    """Return a text without the accents of its letters; й is a letter of its own, ё becomes е."""
    if text.isascii():
        return text
    return "".join(map(_without_accents, unicodedata.normalize("NFC", text)))


@lru_cache(maxsize=2048)
def _without_accents(char: str) -> str:
    if char in "йЙ":
        return char
    parts = unicodedata.normalize("NFD", char)
    return "".join(part for part in parts if not unicodedata.combining(part)).translate(_LATIN_LETTERS)


# ICAO Doc 9303 (Russian alphabet).
_ICAO = {
    **dict(zip("абвгдезийклмнопрстуфыэ", "abvgdeziiklmnoprstufye", strict=True)),
    **{"ё": "e", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "ie", "ь": "", "ю": "iu"},
    "я": "ia",
}
_LOOK_ALIKE_LATIN = {cyrillic: latin for latin, cyrillic in zip("abcehkmoptxy", "авсенкмортху", strict=True)}


def ascii_forms(text: str) -> frozenset[str]:
    """Return how a number with Cyrillic letters may come back from a program without them, case folded; else empty.

    Transliterated, typed with look-alikes, or with these letters missing or as question marks.
    """
    folded = unicodedata.normalize("NFC", text).casefold()
    if folded.isascii():
        return frozenset()
    tables: tuple[Callable[[str], str], ...] = (
        lambda char: _ICAO.get(char, "?"),
        lambda char: _LOOK_ALIKE_LATIN.get(char, "?"),
        lambda char: "",
        lambda char: "?",
    )
    return frozenset("".join(char if char.isascii() else write(char) for char in folded) for write in tables)


def transliterated(text: str) -> str:
    """Return a text in small ASCII characters, as a device without Cyrillic is given it (ICAO Doc 9303)."""
    folded = without_accents(unicodedata.normalize("NFC", text).casefold().translate(SIGNS))
    return "".join(_ICAO.get(char, char) for char in folded)


def is_cyrillic(text: str) -> bool:
    """Return True if a text has a Cyrillic letter."""
    return bool(_CYRILLIC.search(text))


def without_look_alikes(text: str) -> str:
    """Return a text with the Latin look-alikes inside its Cyrillic words as the letters they stand for."""
    return text if text.isascii() or not _LATIN.search(text) else _WORD.sub(_one_alphabet, text)


def _one_alphabet(word: re.Match[str]) -> str:
    return word[0].translate(HOMOGLYPHS) if _CYRILLIC.search(word[0]) else word[0]


def to_dicom(name: PersonName) -> str:
    """Return family^given^middle without trailing carets (PS3.5 6.2.1)."""
    parts = (_component(part) for part in (name.family, name.given, name.middle))
    return "^".join(parts).rstrip("^")


def from_dicom(value: str) -> PersonName:
    """Parse family^given^middle; only the first component group is used, and split at blanks if it has no carets."""
    group = value.split("=")[0]
    if "^" in group:
        parts = [part.strip() for part in group.split("^")] + ["", "", ""]
        return PersonName(parts[0], parts[1], parts[2])
    return split(group)


def split(typed: str) -> PersonName:
    """Split «Фамилия Имя Отчество» as typed; what follows the second blank belongs to the отчество (оглы, кызы).

    A particle with an apostrophe belongs to the family name: «'т Хоофт Герард».
    """
    words = _BLANKS.sub(" ", typed).strip().split(" ")
    if len(words) > 1 and len(words[0]) <= 2 and words[0].translate(SIGNS).startswith("'"):
        words[:2] = [f"{words[0]} {words[1]}"]
    parts = [*words[:2], " ".join(words[2:]), "", ""]
    return PersonName(parts[0], parts[1], parts[2])


def short(name: PersonName) -> str:
    """Return «Фамилия И. О.»; what stands in the place of a name is left as it is: its number tells people apart."""
    if not identifies(name):
        return str(name)
    initials = " ".join(f"{part[:1]}." for part in (name.given, name.middle) if part)
    return f"{name.family} {initials}".strip()


def fit(name: PersonName, longest: int) -> PersonName:
    """Shorten a name to what a device can show, in characters of its DICOM form.

    First отчество and имя become initials, then they are dropped; the фамилия is truncated only if it is too long by
    itself. Of somebody unidentified and of a newborn the number stays: «Неизв. №004512», «Иванова н/р 2».
    """
    family, given, middle = name.family, name.given, name.middle
    if len(to_dicom(name)) <= longest:
        return name
    for shorter in (
        *numbered_forms(name),
        PersonName(family, given, middle[:1]),
        PersonName(family, given[:1], middle[:1]),
        PersonName(family, given[:1]),
        PersonName(family),
    ):
        if len(to_dicom(shorter)) <= longest:
            return shorter
    return PersonName(family[:longest].rstrip())


def numbered_forms(name: PersonName) -> Iterator[PersonName]:
    """Yield ever shorter forms of what stands in the place of a name, each with what keeps two of them apart.

    That is the number, of twins also a word: the second one. Nothing is yielded for other names.
    """
    if identifies(name):
        return
    words = [word.strip(",()") for word in str(name).split()]
    numbers = [word for word in words if any(char.isdigit() for char in word)]
    if is_unidentified(name):
        yield from (PersonName("Неизв.", numbers[-1]), PersonName(numbers[-1])) if numbers else ()
        return
    number = numbers[-1] if numbers else next((word for word in words if fold(word) in _WHICH), "")
    family = next((word for word in words if fold(word).strip(".") not in _CHILD | _NEWBORN | {_SON}), "")
    if not number:
        return
    for length in range(len(family), 0, -1):
        if family[length - 1].isalpha():  # a dash at its end would join it to what follows
            yield PersonName(family[:length], SHORT_NEWBORN, number)
    if numbers:
        yield PersonName(number)


@lru_cache(maxsize=8192)
def identifies(name: PersonName) -> bool:
    """Return True for the name of a person; False for what stands in its place: two with the same are two people."""
    return not is_unidentified(name) and not is_newborn(name)


def is_unidentified(name: PersonName) -> bool:
    """Return True for «Неизвестный», «Неизвестная женщина», «Неизвестный №3», «Не установлен», «Без имени».

    Неизвестный is a family name, too: it is one where a given name follows («Неизвестный Эрнст Иосифович»).
    """
    said = [word for word in _words(name) if _is_word(word)]
    return any(word in _UNKNOWN for word in said) and all(word in _UNKNOWN | _ANYBODY | _CHILD for word in said)


def is_newborn(name: PersonName) -> bool:
    """Return True for «Иванова новорождённая», «Иванова, девочка 2», «Иванова н/р», «Дочь Ивановой».

    False for «Иванов Младенец Петрович», whose given name is followed by a patronymic.
    """
    words = _words(name)
    if any(word in _NEWBORN for word in words):
        return True
    first, *rest = [word for word in words if _is_word(word) and word not in _ORDER] or [""]
    if first in _CHILD or first == _SON:
        return len(rest) == 1 and rest[0].endswith("ой")  # its mother's family name
    if rest[:1] == [_SON]:
        return len(rest) == 1 or "мать" in words
    is_named = len(rest) > 1 and rest[0] == "младенец" and rest[1].endswith(_PATRONYMIC)
    return rest[:1] != [] and rest[0] in _CHILD and not is_named


def _is_word(word: str) -> bool:
    return any(char.isalpha() for char in word) and not any(char.isdigit() for char in word)


def _words(name: PersonName) -> list[str]:
    text = _UNKNOWN_IN_TWO.sub("неизвестный", fold(str(name)).replace(",", " "))
    return [word for part in text.split() if (word := part.strip(".()"))]


def cut(text: str, longest: int) -> str:
    """Shorten a text to `longest` characters, at the end of a word if more than half remains."""
    if len(text) <= longest:
        return text
    end = text.rfind(" ", 0, longest + 1)
    return text[: end if end > longest // 2 else longest].rstrip()


def tidy(text: str) -> str:
    """Normalise what was typed: NFC, no control characters, single blanks; upper and lower case stay."""
    printable = unicodedata.normalize("NFC", text)
    if not printable.isprintable():  # a printable text has no such characters, and no blank but the space
        printable = "".join(
            " " if char.isspace() else char
            for char in printable
            if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
        )
    return _BLANKS.sub(" ", printable).strip()


def stated(part: str) -> str:
    """Return a part of a name without blanks around it; "" for the dashes that people write where there is none."""
    tidied = tidy(part)
    return "" if not tidied.translate(SIGNS).strip("-. ") else tidied


def stored(part: str) -> str:
    """Return a part of a name as it is stored: as `stated`, and no word of it in two alphabets.

    Devices show both alike or one of them not at all, and other programs take them for different names.
    """
    return without_look_alikes(stated(part))


def _component(part: str) -> str:
    # PS3.5 6.2: backslash, caret and equals are delimiters of PN and may not stand inside a component.
    return tidy(part.replace("\\", " ").replace("^", " ").replace("=", " "))
