"""The commands for directories: they print what they did, what they refuse, and what is left to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import Workbook

from broker.app.database import open_store
from broker.cli.commands import Exit
from broker.cli.main import main
from broker.config.loader import load
from broker.domain.clinic.devices import ProcedureType
from broker.store.database import Reader
from broker.store.queries import directory_search, lookups
from broker.store.tables import directories

ICD = "1.2.643.5.1.13.13.11.1005"
STUDIES = (
    ("S_CODE", "S_NAME", "METHOD", "LOCALIZATION"),
    ("X-TEST-1", "Рентгенография коленного сустава", "Рентгенография", "Коленный сустав"),
    ("X-TEST-2", "Рентгенография кисти", "Рентгенография", "Кисть"),
    ("X-TEST-3", "Компьютерная томография головы", "Компьютерная томография", "Голова"),
    ("X-TEST-4", "Спирометрия", "Функциональное исследование", ""),
)


@pytest.fixture
def icd(tmp_path: Path) -> Path:
    path = tmp_path / f"{ICD}_2.27.csv"
    rows = ("ID;MKB_CODE;MKB_NAME;ACTUAL", "1;XIII;КЛАСС;1", "2;M17;Гонартроз;1", "3;M17.1;Другой гонартроз;1")
    path.write_text("\n".join((*rows, "4;B59;Пневмоцистоз;0")), encoding="utf-8-sig")
    return path


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    book = Workbook()
    for row in STUDIES:
        book.active.append(row)
    book.save(tmp_path / "studies.xlsx")
    return tmp_path / "studies.xlsx"


def run(config: Path, *words: str | Path) -> int:
    return main(["directory", *map(str, words), "-c", str(config)])


def bring(config: Path, file: Path, kind: str, *more: str) -> int:
    return run(config, "import", file, "--kind", kind, *more)


def reading(config: Path) -> Iterator[Reader]:
    store = open_store(load(config))
    with store.read() as reader:
        yield reader
    store.close()


def offered(config: Path) -> dict[str, ProcedureType]:
    [found] = [{each.code: each for each in lookups.procedures(reader)} for reader in reading(config)]
    return {code: each for code, each in found.items() if not each.local}


def register(config: Path, ae_title: str, modality: str) -> None:
    assert main(["device", "add", ae_title, "--name", ae_title, "--modality", modality, "-c", str(config)]) == 0


def test_an_official_export_is_taken_over_whole(config: Path, icd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(config, icd, "diagnoses") == 0
    assert capsys.readouterr().out == (
        "Columns: code = MKB_CODE, name = MKB_NAME, actual = ACTUAL\n"
        "Not read: ID\n"
        f"Diagnoses ({ICD}, version 2.27): 2 entries, 2 new, 0 changed, 0 gone; 1 headings; 1 no longer in force.\n"
    )
    assert run(config, "list") == 0
    assert capsys.readouterr().out.startswith(f"diagnoses\t{ICD}\t2.27\t2 entries\t20")
    assert run(config, "show", "diagnoses", "гон", "друг") == 0
    assert capsys.readouterr().out == "M17.1\tДругой гонартроз\n"
    assert run(config, "show", "diagnoses", "--limit", "1") == 0
    shown = capsys.readouterr()
    assert shown.out == "M17\tГонартроз\n"
    assert "more than 1" in shown.err
    assert run(config, "show", "diagnoses", "zzz") == 1


def test_a_dry_run_stores_nothing(config: Path, icd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(config, icd, "diagnoses", "--dry-run") == 0
    assert "\nDry run, nothing is kept: Diagnoses" in capsys.readouterr().out
    assert run(config, "list") == 0
    assert capsys.readouterr().out.startswith("No directory is imported; worklist-broker directory import --help")
    assert run(config, "show", "diagnoses") == 1
    assert "directory of diagnoses" in capsys.readouterr().err


def test_refused_rows_are_reported_and_the_others_are_kept(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "icd.csv"
    rows = ("Код МКБ-10;Наименование", "M17;Гонартроз", "777;Неизвестно", "M16;Коксартроз", "M17;Гонартроз", "M15;")
    file.write_text("\n".join(("МКБ, выгрузка", *rows, "M18;Первый артроз")), encoding="cp1251")
    assert bring(config, file, "diagnoses", "--version", "2.27") == 1
    printed = capsys.readouterr().out
    assert "row 4: refused: 777 is not a code of ICD-10\n" in printed
    assert "row 6: refused: is the same as row 3\n" in printed
    assert "row 7: refused: the name is missing\n" in printed
    assert "3 entries, 3 new, 0 changed, 0 gone; 3 refused." in printed


def test_where_most_rows_are_refused_the_old_entries_stay(
    config: Path, icd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring(config, icd, "diagnoses")
    file = tmp_path / "wrong.csv"
    file.write_text("Код;Наименование\n" + "\n".join(f"{n};Улица" for n in range(150)) + "\nM16;Коксартроз", "utf-8")
    assert bring(config, file, "diagnoses") == 1
    printed = capsys.readouterr()
    assert printed.out.count("not a code of ICD-10") == 100
    assert "… and 50 more are refused" in printed.out
    assert "wrong.csv: most rows are refused, nothing was imported" in printed.err
    file.write_text("Код;Наименование", "utf-8")
    assert bring(config, file, "diagnoses") == 1
    assert "wrong.csv: it has no entry" in capsys.readouterr().err
    assert run(config, "show", "diagnoses", "M17") == 0


def test_an_unusable_file_is_named_with_what_to_do(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sites.xml"
    file.write_text("<?xml version='1.0'?><book/>")
    assert bring(config, file, "body-sites") == 1
    assert "sites.xml: it is XML or a web page; export it as CSV, XLSX or JSON" in capsys.readouterr().err
    file.write_text("ID,CODE,NAME\n1,x1,Кисть\n")
    assert bring(config, file, "body-sites") == 1
    assert "the code could be CODE or ID; name the right one, for example: --columns code=CODE" in (
        capsys.readouterr().err
    )
    assert bring(config, file, "body-sites", "--columns", "code=CODE") == 0
    assert run(config, "show", "body-sites", "кисть") == 0
    assert capsys.readouterr().out.endswith("x1\tКисть\n")
    assert bring(config, tmp_path / "nowhere.csv", "body-sites") == 1
    assert "nowhere.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--columns", "code"], "--columns: «code» is not of the form NAME=VALUE"),
        (["--system", "МКБ"], "--system МКБ is not an OID"),
        (["--modality", "DX"], "--modality is for procedures only"),
        (["--only", "M17"], "--only is for procedures only"),
        (["--methods", "a=DX"], "--methods is for procedures only"),
        (["--replace-defaults"], "--replace-defaults is for procedures only"),
    ],
)
def test_wrong_options_are_refused(
    config: Path, icd: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(config, icd, "diagnoses", *more) == 1
    assert words in capsys.readouterr().err


def test_a_file_of_another_dictionary_is_not_taken_for_this_one(
    config: Path, icd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(config, icd, "body-sites") == 1
    printed = capsys.readouterr().err
    assert f"is named after the dictionary {ICD}, but body-sites are of 1.2.643.5.1.13.13.11.1477 here" in printed
    assert f"--system {ICD}" in printed
    assert bring(config, icd, "body-sites", "--system", ICD, "--columns", "code=MKB_CODE,name=MKB_NAME") == 0
    assert f"Set bus.system_body_site to {ICD} in the configuration" in capsys.readouterr().out


def test_what_is_left_to_do_in_the_configuration_is_printed(
    config: Path, icd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write(f"bus: {{versions: {{{ICD}: 2.1}}}}\n")
    assert bring(config, icd, "diagnoses") == 0
    assert f"bus.versions has 2.1 for {ICD}, and that is what goes out; this is 2.27." in capsys.readouterr().out
    sites = tmp_path / "sites.json"
    sites.write_text(json.dumps([{"ID": "x1", "NAME": "Кисть"}]), encoding="utf-8")
    assert bring(config, sites, "body-sites") == 0
    assert "The version is not known: give --version" in capsys.readouterr().out


def test_the_desk_offers_what_the_registered_devices_do(
    config: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(config, "XRAY_14", "DX")
    assert bring(config, studies, "procedures", "--version", "1") == 0
    printed = capsys.readouterr().out
    assert "Of 1 procedures no modality is known, so they are not offered; see --methods." in printed
    assert (
        "Offered at the desk: 2 official procedures of DX, which the registered devices do (see --modality)." in printed
    )
    assert "4 entries, 4 new" in printed
    assert "The desk offers 16 procedures, 14 of them local ones of the default set." in printed
    assert "--replace-defaults takes them away." in printed
    assert offered(config) == {
        "X-TEST-1": ProcedureType("X-TEST-1", "Рентгенография коленного сустава", "DX", 15, local=False),
        "X-TEST-2": ProcedureType("X-TEST-2", "Рентгенография кисти", "DX", 15, local=False),
    }
    assert run(config, "show", "procedures", "томогр") == 0  # the whole directory is kept
    assert "X-TEST-3" in capsys.readouterr().out


def test_without_devices_or_on_request_all_are_offered(config: Path, studies: Path) -> None:
    assert bring(config, studies, "procedures") == 0
    assert {code: each.modality for code, each in offered(config).items()} == {
        "X-TEST-1": "DX",
        "X-TEST-2": "DX",
        "X-TEST-3": "CT",
    }
    register(config, "CT_1", "CT")
    assert bring(config, studies, "procedures") == 0
    assert set(offered(config)) == {"X-TEST-3"}
    assert bring(config, studies, "procedures", "--modality", "all") == 0
    assert len(offered(config)) == 3


@pytest.mark.parametrize("more", [[], ["--modality", "CR"]])
def test_plain_x_ray_is_done_on_plates_where_there_is_nothing_else(
    config: Path, studies: Path, more: list[str]
) -> None:
    register(config, "CR_1", "CR")
    assert bring(config, studies, "procedures", *more) == 0
    assert {each.modality for each in offered(config).values()} == {"CR"}


def test_a_choice_of_modalities_codes_and_methods(config: Path, studies: Path, tmp_path: Path) -> None:
    assert bring(config, studies, "procedures", "--modality", "ct, HD", "--methods", "функциональн=hd") == 0
    assert {code: each.modality for code, each in offered(config).items()} == {"X-TEST-3": "CT", "X-TEST-4": "HD"}
    register(config, "CT_1", "CT")
    assert bring(config, studies, "procedures", "--only", "X-TEST-1, X-TEST-3") == 0  # what is asked for is given
    assert set(offered(config)) == {"X-TEST-1", "X-TEST-3"}
    codes = tmp_path / "codes.txt"
    codes.write_text("# what we do\nX-TEST-1; 25\n\nX-TEST-2\n", encoding="utf-8")
    assert bring(config, studies, "procedures", "--only", str(codes), "--replace-defaults") == 0
    assert {code: each.minutes for code, each in offered(config).items()} == {"X-TEST-1": 25, "X-TEST-2": 15}
    [every] = [lookups.procedures(reader) for reader in reading(config)]
    assert len(every) == 2


def test_a_code_that_the_file_does_not_have_is_reported_and_nothing_is_kept(
    config: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(config, studies, "procedures", "--only", "X-TEST-1,X-TEST-9") == 1
    assert "--only: not in the file: X-TEST-9" in capsys.readouterr().err
    assert bring(config, studies, "procedures", "--only", " , ") == 1
    assert "--only names no code" in capsys.readouterr().err
    assert bring(config, studies, "procedures", "--modality", "MR", "--replace-defaults") == 1
    assert "the desk would have no procedure" in capsys.readouterr().err
    assert offered(config) == {}
    assert [directory_search.imported(reader) for reader in reading(config)] == [[]]


def test_minutes_and_modality_of_a_table_of_ones_own_are_kept(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("Код;Название;Модальность;Минуты\nX-TEST-7;Спирометрия;hd;40\n", encoding="utf-8")
    assert bring(config, file, "procedures") == 0
    assert offered(config) == {"X-TEST-7": ProcedureType("X-TEST-7", "Спирометрия", "HD", 40, local=False)}


def test_columns_with_blanks_and_commas_can_be_named(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "staff.csv"
    file.write_text('"Сотрудник, ФИО полностью";"СНИЛС сотрудника"\nЗимин Андрей Павлович;112-233-445 95\n', "utf-8")
    named = ["--columns", "name=Сотрудник, ФИО полностью,snils=СНИЛС сотрудника"]
    assert bring(config, file, "doctors", *named) == 0
    [found] = [directories.entries(reader, "doctors") for reader in reading(config)]
    assert [(each.code, each.name) for each in found] == [("11223344595", "Зимин Андрей Павлович")]


def test_help_teaches_and_the_configuration_is_checked_first(
    config: Path, icd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["directory", "import", "--help"])
    printed = capsys.readouterr().out
    for word in ("--columns", "--only", "--replace-defaults", "diagnoses", "nothing", "НСИ", "FIELD=COLUMN"):
        assert word in printed, word
    config.write_text("clinic: {}\n", encoding="utf-8")
    assert bring(config, icd, "diagnoses") == Exit.CONFIG
