"""What an administrator may write in config.yaml and the environment, and what is reported about mistakes."""

import datetime
import os
import re
import zoneinfo
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import yaml

import broker
from broker.config import loader
from broker.config.configuration import Config, known_keys
from broker.config.loader import ConfigError, load

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
GUID = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21"
LEAST = "clinic:\n  name: Клиника\ndata:\n  directory: data\n"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def report(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    """Return the mistakes without the directory of the file."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    assert str(caught.value) == "\n".join(caught.value.report)
    return [line.replace(f"{path.parent}/", "") if path else line for line in caught.value.report]


# --- The example


def test_the_example_passes_once_its_directory_is_overridden_and_shows_the_defaults(tmp_path: Path) -> None:
    example = load(EXAMPLE, {"WLB__DATA__DIRECTORY": str(tmp_path)})
    defaults = Config.model_validate({"clinic": {"name": example.clinic.name}, "data": {"directory": tmp_path}})
    assert example == defaults
    assert example.bus.url == ""


def test_the_example_suggests_the_service_directory() -> None:
    assert load(EXAMPLE, {}).data.directory == Path("/var/lib/worklist-broker")


def test_the_example_holds_every_key_under_a_comment_and_no_other() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    fields = {
        section: list(field.annotation.model_fields)
        for section, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel)
    }
    assert {section: list(keys) for section, keys in written.items()} == fields
    assert {section: list(keys) for section, keys in known_keys().items()} == fields
    rows = text.splitlines()
    for number, row in enumerate(rows):
        if re.match(r" {0,2}\w+:", row):
            assert rows[number - 1].lstrip().startswith("#"), f"no comment above {row.strip()}"


# --- What is read


def test_the_least_file_gives_the_defaults(write: Write, tmp_path: Path) -> None:
    read = load(write(LEAST), {})
    assert read.clinic.name == "Клиника"
    assert read.clinic.zone == zoneinfo.ZoneInfo("Europe/Moscow")
    assert (read.web.address, read.web.port, read.web.session_hours, read.web.origins) == ("127.0.0.1", 8080, 12, ())
    assert (read.dicom.ae_title, read.dicom.address, read.dicom.port) == ("WORKLIST", "0.0.0.0", 11112)
    assert (read.dicom.unknown_devices, read.dicom.max_associations, read.dicom.idle_timeout) == ("refuse", 100, 60.0)
    assert (read.pacs.ae_title, read.pacs.address, read.pacs.port) == ("", "", 104)
    assert (read.bus.dialect, read.bus.url, read.bus.token, read.bus.rate, read.bus.timeout) == ("n3", "", "", 50, 30.0)
    assert (read.backup.at, read.backup.time, read.backup.keep) == ("02:30", datetime.time(2, 30), 14)
    assert read.log.level == "info"
    assert read.data.database == tmp_path / "data" / "worklist.sqlite"
    assert read.backup_directory == tmp_path / "data" / "backup"


def test_a_backup_directory_of_its_own_is_used(write: Write, tmp_path: Path) -> None:
    assert load(write(LEAST + "backup:\n  directory: /mnt/copies\n"), {}).backup_directory == Path("/mnt/copies")
    assert load(write(LEAST + "backup:\n  directory: ../copies\n"), {}).backup_directory == tmp_path / "../copies"


def test_relative_paths_start_at_the_file_even_when_it_is_named_relatively(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(LEAST)
    monkeypatch.chdir(tmp_path)
    assert load(Path("config.yaml"), {}).data.directory == tmp_path / "data"
    assert load(Path("config.yaml"), {"WLB__DATA__DIRECTORY": "other"}).data.directory == tmp_path / "other"


def test_a_key_or_a_section_with_nothing_after_it_counts_as_left_out(write: Write) -> None:
    read = load(write(LEAST + "web:\n  port:\n  tls_key:\n  tls_certificate: ~\nbus:\nlog: null\n"), {})
    assert (read.web.port, read.web.tls_key, read.bus.rate, read.log.level) == (8080, None, 50, "info")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("no", "no"),
        ("010", "010"),
        ("0123", "0123"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("1.10", "1.10"),
        ("2026-01-23", "2026-01-23"),
        ('"null"', "null"),
    ],
)
def test_text_is_kept_as_typed(write: Write, typed: str, kept: str) -> None:
    assert load(write(LEAST.replace("Клиника", typed)), {}).clinic.name == kept


def test_codes_times_and_versions_without_quotes_are_kept_as_typed(write: Write) -> None:
    text = LEAST.replace("data:", "  uid_root: 1.20\n  accession_prefix: 010\ndata:")
    read = load(write(text + "backup:\n  at: 12:30\nbus:\n  versions:\n    1.2.643: 1.10\n    1.20: 2026\n"), {})
    assert (read.clinic.uid_root, read.clinic.accession_prefix, read.backup.at) == ("1.20", "010", "12:30")
    assert read.bus.versions == {"1.2.643": "1.10", "1.20": "2026"}


def test_a_byte_order_mark_does_no_harm(write: Write) -> None:
    assert load(write("\ufeff" + LEAST), {}).clinic.name == "Клиника"


def test_the_configuration_cannot_be_changed(write: Write) -> None:
    read = load(write(LEAST), {})
    with pytest.raises(pydantic.ValidationError):
        read.dicom.port = 104


def test_origins_come_in_the_form_that_browsers_send(write: Write) -> None:
    text = 'web:\n  origins: ["HTTPS://RIS.example:443", http://a:80, "https://a:8443", "http://[::1]:80"]\n'
    origins = load(write(LEAST + text), {}).web.origins
    assert origins == ("https://ris.example", "http://a", "https://a:8443", "http://[::1]")


# --- The file as a whole


def test_the_first_of_the_two_usual_files_is_taken(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [str(path) for path in loader.DEFAULT_PATHS] == ["config.yaml", "/etc/worklist-broker/config.yaml"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loader, "DEFAULT_PATHS", (Path("config.yaml"), tmp_path / "etc.yaml"))
    (looked,) = report(None)
    assert looked.startswith(f"no configuration file: looked for {tmp_path}/config.yaml and {tmp_path}/etc.yaml; ")
    assert "copy config.example.yaml" in looked
    (tmp_path / "etc.yaml").write_text(LEAST.replace("Клиника", "second"), encoding="utf-8")
    assert load(None, {}).clinic.name == "second"
    write(LEAST)
    assert load(None, {}).clinic.name == "Клиника"


def test_a_named_file_that_is_missing_is_not_replaced_by_a_usual_one(tmp_path: Path) -> None:
    (line,) = report(tmp_path / "missing.yaml")
    assert line.startswith("no configuration file: looked for missing.yaml; ")


def test_a_directory_or_an_unreadable_file_is_reported_as_such(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(tmp_path / ".")[0].endswith(": cannot be read: Is a directory")

    def refuse(self: Path) -> bytes:  # permissions do not stop root, who may run the tests
        raise PermissionError(13, "Permission denied")

    path = write(LEAST)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert report(path) == ["config.yaml: cannot be read: Permission denied"]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_reported_as_empty(write: Write, text: str) -> None:
    assert report(write(text)) == ["config.yaml:1: the file is empty; start from config.example.yaml"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "5\n"])
def test_a_file_that_is_not_a_mapping_is_refused(write: Write, text: str) -> None:
    (line,) = report(write(text))
    assert line.startswith("config.yaml:1: the file must consist of sections such as `clinic:`")


def test_a_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(LEAST.encode("cp1251"))
    assert report(path) == ["config.yaml:2: the file is not UTF-8; save it in that encoding"]


def test_a_control_character_is_refused_with_the_line(write: Write) -> None:
    assert report(write(LEAST + "log:\n  level: in\x00fo\n")) == [
        "config.yaml:6: a control character is not allowed here"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("log:\n  level: a: b\n", 6), ("log:\n\tlevel: info\n", 6), ("web: [\n", 6), ("log:\n  level: @x\n", 6)],
)
def test_what_is_not_yaml_is_refused_with_the_line(write: Write, text: str, line: int) -> None:
    (mistake,) = report(write(LEAST + text))
    assert mistake.startswith(f"config.yaml:{line}: this is not YAML: ")


@pytest.mark.parametrize("value", ["*one", "&one two", "!one", "!one two"])
def test_aliases_anchors_and_tags_have_to_be_quoted(write: Write, value: str) -> None:
    (mistake,) = report(write(f"clinic:\n  name: {value}\ndata:\n  directory: data\n"))[:1]
    assert mistake.startswith("config.yaml:2: ")
    assert mistake.endswith("a value that begins with * & or ! must be quoted")


@pytest.mark.slow
def test_endless_nesting_is_refused(write: Write) -> None:
    assert report(write("a: " + "[" * 1000 + "]" * 1000)) == ["config.yaml:1: this is nested too deeply"]
    assert "must be quoted" in report(write("a: &a [*a]\n"))[0]


# --- Mistakes in keys and values


def test_all_mistakes_come_in_one_report_with_their_lines_in_order(write: Write) -> None:
    path = write(
        "clinic:\n"
        "  nmae: X\n"
        "  time_zone: Europe/Mosow\n"
        "web:\n"
        "  port: 70000\n"
        "  port: 80\n"
        "dicom:\n"
        "  ae_title: SEVENTEEN_LETTERS\n"
        "  unknown_devices: no\n"
        "logg:\n"
    )
    assert report(path, {"WLB__PACS__PORT": "0", "WLB__DICOM__PROT": "1"}) == [
        "config.yaml:1: clinic.name: is required",
        "config.yaml:1: data.directory: is required",
        "config.yaml:2: clinic.nmae: is not a known key; did you mean name?",
        "config.yaml:3: clinic.time_zone: is not a known time zone; did you mean Europe/Moscow? (got Europe/Mosow)",
        "config.yaml:5: web.port: must be at most 65535 (got 70000)",
        "config.yaml:6: web.port: is already set in line 5",
        "config.yaml:8: dicom.ae_title: must be an AE title: 1 to 16 ASCII characters, no backslash, "
        "no blank at either end (got SEVENTEEN_LETTERS)",
        "config.yaml:9: dicom.unknown_devices: must be 'refuse' or 'learn' (got no)",
        "config.yaml:10: logg: is not a known key; did you mean log?",
        "environment: WLB__DICOM__PROT: is not a known key; did you mean WLB__DICOM__PORT?",
        "environment: WLB__PACS__PORT: must be at least 1 (got 0)",
    ]


def test_a_section_given_twice_is_a_mistake_and_the_keys_of_both_are_checked(write: Write) -> None:
    text = LEAST + "web:\n  port: x\nweb:\n  port: 80\n  prot: 1\n"
    assert [line.partition(" (got")[0] for line in report(write(text))] == [
        "config.yaml:6: web.port: must be a whole number in plain decimal digits: "
        "no leading zero, no underscore, no sign",
        "config.yaml:7: web: is already set in line 5",
        "config.yaml:8: web.port: is already set in line 6",
        "config.yaml:9: web.prot: is not a known key; did you mean port?",
    ]


def test_a_key_in_the_wrong_section_is_shown_the_way(write: Write) -> None:
    (top,) = report(write(LEAST + "token_file: x\n"))
    assert top == "config.yaml:5: token_file: is not a known key; did you mean bus.token_file?"
    (log,) = report(write(LEAST + "log:\n  zzz:\n"))
    assert log == "config.yaml:6: log.zzz: is not a known key; known here: level"


def test_values_of_the_wrong_shape_are_refused(write: Write) -> None:
    text = "web:\n  port: [1]\n  origins:\n    a: b\nlog: 5\nbus:\n  versions: [1]\n  rate:\n    a: b\n? [x]\n: y\n"
    assert report(write(LEAST + text)) == [
        "config.yaml:6: web.port: must have a single value (got a list)",
        "config.yaml:7: web.origins: must be a list (got a mapping)",
        "config.yaml:9: log: must have its keys beneath it, indented (got 5)",
        "config.yaml:11: bus.versions: must have its keys beneath it, indented (got a list)",
        "config.yaml:12: bus.rate: must have a single value (got a mapping)",
        "config.yaml:14: the file: a key must be a single word",
    ]


@pytest.mark.parametrize("value", ["010", "1_000", "0x50", "0o17", "-1", "+80", "80.0", "1:30", "yes", "٨٠", '""'])
def test_whole_numbers_are_plain_decimal_digits(write: Write, value: str) -> None:
    (line,) = report(write(LEAST + f"web:\n  port: {value}\n"))
    wrong = "config.yaml:6: web.port: must be a whole number in plain decimal digits: "
    assert line.startswith(wrong)
    assert line.endswith(f"(got {value})" if value != '""' else "(got '')")


@pytest.mark.parametrize(("value", "seconds"), [("30", 30.0), ("2.5", 2.5), ('"7"', 7.0)])
def test_seconds_may_have_a_fraction(write: Write, value: str, seconds: float) -> None:
    assert load(write(LEAST + f"dicom:\n  idle_timeout: {value}\n"), {}).dicom.idle_timeout == seconds


WRONG = [
    ("clinic", "oid", "1.02.3"),
    ("clinic", "oid", "1.45"),
    ("clinic", "oid", "urn:oid:1.2.3"),
    ("clinic", "uid_root", "1.2." + "3" * 35),
    ("clinic", "uid_root", "1.2.3."),
    ("clinic", "uid_root", "3.2.1"),
    ("clinic", "accession_prefix", "ABCDEF"),
    ("clinic", "accession_prefix", "Ab"),
    ("clinic", "accession_prefix", "АВ"),  # Cyrillic
    ("clinic", "hours", "8-20"),
    ("clinic", "hours", "08:00"),
    ("clinic", "hours", "08:00-24:30"),
    ("clinic", "hours", "20:00-08:00"),
    ("clinic", "hours", "08:00-08:00"),
    ("clinic", "hours", '""'),
    ("clinic", "time_zone", "Europe"),
    ("clinic", "time_zone", "../etc/passwd"),
    ("clinic", "time_zone", '""'),
    ("web", "address", "127.0.0.1:8080"),
    ("web", "address", "300.1.1.1"),
    ("web", "address", "http://localhost"),
    ("web", "address", '""'),
    ("web", "session_hours", "0"),
    ("web", "session_hours", "169"),
    ("web", "origins", "[https://a/]"),
    ("web", "origins", "[ris.example]"),
    ("web", "origins", "['*']"),
    ("dicom", "ae_title", '""'),
    ("dicom", "ae_title", r'"A\\B"'),
    ("dicom", "ae_title", '" A"'),
    ("dicom", "ae_title", '"A\\tB"'),
    ("dicom", "ae_title", "РЕНТГЕН"),
    ("dicom", "port", "65536"),
    ("dicom", "unknown_devices", "learned"),
    ("dicom", "max_associations", "0"),
    ("dicom", "idle_timeout", "0"),
    ("dicom", "idle_timeout", ".inf"),
    ("dicom", "idle_timeout", "-1"),
    ("dicom", "max_associations", "10001"),
    ("dicom", "max_per_address", "0"),
    ("dicom", "association_timeout", "0"),
    ("dicom", "message_timeout", "0"),
    ("dicom", "send_timeout", "-1"),
    ("dicom", "max_pdu", "4095"),
    ("dicom", "max_pdu", "1048577"),
    ("dicom", "max_message", "65535"),
    ("dicom", "tls_port", "65536"),
    ("dicom", "lists", "{WORKLIST: [CT_1]}"),
    ("dicom", "lists", "{CT: []}"),
    ("dicom", "lists", "{КТ: [CT_1]}"),
    ("dicom", "lists", "[CT]"),
    ("pacs", "port", "0"),
    ("pacs", "viewer", '"javascript:alert({study})"'),
    ("pacs", "viewer", '"https://host/{uid}"'),
    ("pacs", "viewer", '"radiant://?v={ae}&v={study}"'),
    ("bus", "dialect", "r5"),
    ("bus", "proxy", "http://user:password@proxy:3128"),
    ("bus", "proxy", "proxy:3128"),
    ("bus", "images_url", "ftp://pacs/{study}"),
    ("bus", "sends_start", "yes"),
    ("bus", "encounters", "finance/9=2/AMB"),
    ("bus", "encounters", "finance/3=AMB"),
    ("bus", "declined_status", "failed"),
    ("bus", "texts", "utf-8"),
    ("bus", "patient_search", "yes"),
    ("bus", "fetch_every", "0"),
    ("bus", "keep_days", "0"),
    ("bus", "rate", "0"),
    ("bus", "timeout", "0"),
    ("bus", "versions", "{abc: 1}"),
    ("bus", "versions", "{1.2.3: }"),
    ("bus", "versions", "{1.2.3: ''}"),
    ("bus", "organisation", "clinic"),
    ("bus", "system_procedure", '""'),
    ("bus", "mis_oid", "x"),
    ("backup", "at", "2:30"),
    ("backup", "at", "24:00"),
    ("backup", "at", "12:30:45"),
    ("backup", "keep", "-1"),
    ("log", "level", "verbose"),
]


@pytest.mark.parametrize(("section", "key", "value"), WRONG)
def test_a_wrong_value_is_one_mistake_at_its_key(write: Write, section: str, key: str, value: str) -> None:
    typed = {"clinic": "  name: X\n"}.get(section, "") + f"  {key}: {value}\n"
    text = f"{section}:\n{typed}" + ("" if section == "clinic" else "clinic:\n  name: X\n") + "data:\n  directory: d\n"
    (line,) = report(write(text))
    assert line.startswith(f"config.yaml:{3 if section == 'clinic' else 2}: {section}.{key}")


RIGHT = [
    ("clinic", "oid", "1.2.643.5.1.13.13.12.2.77.1"),
    ("clinic", "uid_root", "1.2." + "3" * 34),
    ("clinic", "uid_root", "2.999"),
    ("clinic", "accession_prefix", "AB9ZZ"),
    ("clinic", "hours", "00:00-24:00"),
    ("clinic", "hours", "07:30-19:45"),
    ("clinic", "time_zone", "Asia/Yekaterinburg"),
    ("web", "address", '"::"'),
    ("web", "address", "worklist.local"),
    ("web", "port", "0"),
    ("dicom", "ae_title", "ALL SIXTEEN CHAR"),
    ("dicom", "unknown_devices", "learn"),
    ("dicom", "max_pdu", "4096"),
    ("dicom", "max_message", "65536"),
    ("backup", "keep", "0"),
    ("backup", "at", "00:00"),
    ("log", "level", "debug"),
]


@pytest.mark.parametrize(("section", "key", "value"), RIGHT)
def test_a_right_value_is_kept(write: Write, section: str, key: str, value: str) -> None:
    text = LEAST.replace("data:", f"  {key}: {value}\ndata:") if section == "clinic" else LEAST
    read = load(write(text if section == "clinic" else f"{text}{section}:\n  {key}: {value}\n"), {})
    assert str(getattr(getattr(read, section), key)) == value.strip('"')


@pytest.mark.parametrize(
    ("hours", "problem"),
    [
        ("9-18", "must be two times of day, such as 08:00-20:00"),
        ("20:00-08:00", "must end later on the same day than it begins; 00:00-24:00 is round the clock"),
    ],
)
def test_wrong_opening_hours_are_reported_with_their_line(write: Write, hours: str, problem: str) -> None:
    (line,) = report(write(LEAST.replace("data:", f"  hours: {hours}\ndata:")))
    assert line == f"config.yaml:3: clinic.hours: {problem} (got {hours})"


def test_opening_hours_are_times_since_midnight(write: Write) -> None:
    assert load(write(LEAST), {}).clinic.opening_hours == (datetime.timedelta(hours=8), datetime.timedelta(hours=20))
    read = load(write(LEAST.replace("data:", "  hours: 07:30 - 24:00\ndata:")), {})
    assert read.clinic.opening_hours == (
        datetime.timedelta(hours=7, minutes=30),
        datetime.timedelta(hours=24),
    )


@pytest.mark.parametrize("name", ['""', '"  "', '"a\\nb"'])
def test_the_clinic_needs_a_name_of_one_line(write: Write, name: str) -> None:
    (line,) = report(write(LEAST.replace("Клиника", name)))
    assert line.startswith("config.yaml:2: clinic.name: must ")


def test_the_data_directory_may_be_made_later_but_is_not_a_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    assert report(write(LEAST)) == [
        "config.yaml:4: data.directory: must be a directory, and is something else (got data)"
    ]
    assert report(write(LEAST.replace("directory: data", 'directory: ""'))) == [
        "config.yaml:4: data.directory: must be a path (got '')"
    ]


def test_a_time_zone_that_cannot_be_looked_up_names_the_package(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    text = LEAST.replace("data:", "  time_zone: No/Where\ndata:")
    assert "install the package tzdata" in report(write(text))[0]


# --- Keys that go together


def test_tls_needs_both_files_and_they_must_exist(write: Write, tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    web = load(write(LEAST + "web:\n  tls_certificate: c.pem\n  tls_key: k.pem\n"), {}).web
    assert (web.tls_certificate, web.tls_key) == (tmp_path / "c.pem", tmp_path / "k.pem")
    alone = "web.tls_key: goes together with web.tls_certificate: set both or none"
    assert report(write(LEAST + "web:\n  tls_certificate: c.pem\n")) == [f"config.yaml:5: {alone}"]
    assert report(write(LEAST + "web:\n  tls_key: k.pem\n")) == [f"config.yaml:6: {alone} (got …)"]
    dicom = load(write(LEAST + "dicom:\n  tls_certificate: c.pem\n  tls_key: k.pem\n  tls_ca: c.pem\n"), {}).dicom
    assert (dicom.tls_certificate, dicom.tls_key) == (tmp_path / "c.pem", tmp_path / "k.pem")
    alone = "dicom.tls_key: goes together with dicom.tls_certificate: set both or none"
    assert report(write(LEAST + "dicom:\n  tls_key: k.pem\n")) == [f"config.yaml:6: {alone} (got …)"]
    alone = "pacs.tls_certificate: goes together with pacs.tls_ca"
    own = LEAST + "pacs:\n  ae_title: P\n  address: p\n  tls_certificate: c.pem\n  tls_key: k.pem\n"
    assert [line for line in report(write(own)) if "pacs" in line] == [f"config.yaml:8: {alone} (got …)"]
    alone = "dicom.tls_ca: goes together with dicom.tls_certificate"
    assert report(write(LEAST + "dicom:\n  tls_ca: c.pem\n")) == [f"config.yaml:6: {alone} (got …)"]
    missing = report(write(LEAST + "web:\n  tls_certificate: no.pem\n"))
    assert [line.split(": ")[1] for line in missing] == ["web.tls_key", "web.tls_certificate"]


def test_the_pacs_needs_a_title_and_an_address(write: Write) -> None:
    pacs = load(write(LEAST + "pacs:\n  ae_title: ARCHIVE\n  address: 10.0.0.5\n"), {}).pacs
    assert (pacs.ae_title, pacs.address) == ("ARCHIVE", "10.0.0.5")
    for text in ("  ae_title: ARCHIVE\n", "  address: 10.0.0.5\n"):
        (line,) = report(write(LEAST + "pacs:\n" + text))
        assert "pacs.address: goes together with pacs.ae_title: set both or none" in line


def test_the_bus_reads_its_token_from_the_file_each_time(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" first \n", encoding="ascii")
    text = f"bus:\n  url: http://bus/api/fhir/\n  token_file: token\n  organisation: {GUID}\n  mis_oid: 1.2.3\n"
    bus = load(write(LEAST + text), {}).bus
    assert (bus.url, bus.organisation, bus.mis_oid, bus.token) == ("http://bus/api/fhir", GUID, "1.2.3", "first")
    (tmp_path / "token").write_text("second", encoding="ascii")
    assert bus.token == "second"
    (tmp_path / "token").write_text("", encoding="ascii")
    with pytest.raises(ValueError, match="empty"):
        _ = bus.token


def test_orders_belong_to_the_clinics_oid_unless_configured_otherwise(write: Write) -> None:
    with_oid = LEAST.replace("data:", "  oid: 1.2.3\ndata:")
    assert load(write(with_oid), {}).bus.mis_oid == "1.2.3"
    assert load(write(with_oid + "bus:\n  mis_oid: 1.2.4\n"), {}).bus.mis_oid == "1.2.4"
    assert load(write(LEAST), {"WLB__CLINIC__OID": "1.2.5"}).bus.mis_oid == "1.2.5"
    (line,) = report(write(with_oid.replace("1.2.3", "x")))
    assert "clinic.oid: must be an OID" in line


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://127.0.0.1:8080/fhir", True),
        ("http://localhost:8080/fhir", True),
        ("http://127.0.0.1:8081/fhir", False),
        ("http://10.0.0.1:8080/fhir", False),
    ],
)
def test_this_program_is_not_its_own_region(write: Write, tmp_path: Path, url: str, *, ours: bool) -> None:
    (tmp_path / "token").write_text("secret", encoding="ascii")
    text = f"bus:\n  url: {url}\n  token_file: token\n  organisation: {GUID}\n  mis_oid: 1.2.3\n"
    if ours:
        (line,) = report(write(LEAST + text))
        assert "bus: url is the address of this program itself" in line
    else:
        assert load(write(LEAST + text), {}).bus.url == url


@pytest.mark.parametrize("url", ["http://bus/fhir", "ftp://bus"])
def test_a_bus_url_right_or_wrong_asks_for_all_that_goes_with_it(write: Write, url: str) -> None:
    lines = report(write(LEAST + f"bus:\n  url: {url}\n"))
    assert lines[:3] == [
        "config.yaml:5: bus.token_file: is needed when bus.url is set",
        "config.yaml:5: bus.organisation: is needed when bus.url is set",
        "config.yaml:5: bus.mis_oid: is needed (or clinic.oid) when bus.url is set",
    ]
    assert len(lines) == (3 if url.startswith("http") else 4)


@pytest.mark.parametrize(
    "url",
    ["bus/fhir", "https://", "http://bus:port/", "http://bus/?x=1", "http://bus/#x", "http://u@bus/", "http://б/", "x"],
)
def test_a_bus_url_is_plain(write: Write, url: str) -> None:
    assert any(
        "bus.url: must be an http:// or https:// address without name, password, query or fragment" in line
        for line in report(write(LEAST + f"bus:\n  url: {url}\n"))
    )


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(b"", "empty"), (b" \n", "empty"), (b"N3 abc", "the token alone"), ("токен".encode(), "the token alone")],
)
def test_a_token_file_holds_one_token(write: Write, tmp_path: Path, content: bytes, wrong: str) -> None:
    (tmp_path / "token").write_bytes(content)
    (line,) = report(write(LEAST + "bus:\n  token_file: token\n"))
    assert line.startswith("config.yaml:6: bus.token_file: this file ")
    assert wrong in line


# --- Secrets


@pytest.mark.parametrize(
    "text",
    [
        "bus:\n  token: s3cret\n",
        "bus:\n  token_file: s3cret\n",
        "bus:\n  token_file: {s3cret: 1}\n",
        "bus:\n  password: s3cret\n",
        "bus:\n  url: https://user:s3cret@bus/fhir\n",
        "bus:\n  url: https:/user:s3cret@bus/fhir\n",
        'bus:\n  url: "https://user:a\\ns3cret@bus/fhir"\n',
        "bus:\n  url: https://bus/fhir?token=s3cret\n",
        "bus:\n  token_file: *s3cret\n",
        "bus:\n  token_file: !s3cret!x y\n",
        "web:\n  tls_key: s3cret\n",
    ],
)
def test_secrets_are_never_shown(write: Write, text: str) -> None:
    lines = report(write(LEAST + text))
    assert not any("s3cret" in line for line in lines)


def test_a_secret_in_the_environment_or_in_its_file_is_never_shown(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret of two words", encoding="ascii")
    for environ in (
        {"WLB__BUS__TOKEN": "s3cret"},
        {"WLB__BUS__TOKEN_FILE": "s3cret"},
        {"WLB__BUS__TOKEN_FILE": "token"},
    ):
        (line,) = report(write(LEAST), environ)
        assert line.startswith("environment: WLB__BUS__TOKEN")
        assert "s3cret" not in line


def test_the_report_of_a_missing_secret_file_names_its_directory(write: Write, tmp_path: Path) -> None:
    (line,) = report(write(LEAST + "bus:\n  token_file: token\n"))
    wrong = f"no file in {tmp_path} can be read under this name: No such file or directory (got …)"
    assert line == f"config.yaml:6: bus.token_file: {wrong}"


def test_long_or_odd_values_are_shown_shortened_and_harmless(write: Write) -> None:
    (line,) = report(write(LEAST + f'log:\n  level: "{"x" * 500}"\n'))
    assert line.endswith(f"(got {'x' * 60}…)")
    (line,) = report(write(LEAST + 'log:\n  level: "a\\x1b[2J\\n"\n'))
    assert line.endswith(r"(got 'a\x1b[2J\n')")


# --- The environment


def test_every_key_can_be_set_by_the_environment(write: Write, tmp_path: Path) -> None:
    for name in ("token", "cert", "key"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    values: dict[str, dict[str, tuple[str, object]]] = {
        "clinic": {
            "name": ("no", "no"),
            "address": ("г. Энск, ул. Заречная, 5", "г. Энск, ул. Заречная, 5"),
            "oid": ("1.2.3", "1.2.3"),
            "time_zone": ("Asia/Omsk", "Asia/Omsk"),
            "uid_root": ("1.2", "1.2"),
            "accession_prefix": ("01", "01"),
            "shared_accession_numbers": ("true", True),
            "hours": ("09:00-18:00", "09:00-18:00"),
            "repeat_days": ("CT=90,DX/4=30", {"CT": 90, "DX/4": 30}),
        },
        "web": {
            "address": ("::1", "::1"),
            "port": ("81", 81),
            "tls_certificate": ("cert", tmp_path / "cert"),
            "tls_key": ("key", tmp_path / "key"),
            "session_hours": ("1", 1),
            "origins": ("https://a, https://b:1", ("https://a", "https://b:1")),
            "trusted_proxies": ("127.0.0.1, ::1", ("127.0.0.1", "::1")),
        },
        "dicom": {
            "ae_title": ("A B", "A B"),
            "address": ("127.0.0.1", "127.0.0.1"),
            "port": ("104", 104),
            "unknown_devices": ("learn", "learn"),
            "max_associations": ("7", 7),
            "max_per_address": ("3", 3),
            "idle_timeout": ("1.5", 1.5),
            "association_timeout": ("2.5", 2.5),
            "message_timeout": ("3.5", 3.5),
            "send_timeout": ("4.5", 4.5),
            "answer_timeout": ("5", 5.0),
            "max_pdu": ("16384", 16384),
            "max_message": ("1000000", 1_000_000),
            "accepts_reports": ("false", False),
            "max_document": ("20000000", 20_000_000),
            "tls_port": ("2763", 2763),
            "tls_certificate": ("cert", tmp_path / "cert"),
            "tls_key": ("key", tmp_path / "key"),
            "tls_ca": ("cert", tmp_path / "cert"),
            "lists": ("CAB=FLG_12 + каб. 12, CT=CT_1", {"CAB": ("FLG_12", "каб. 12"), "CT": ("CT_1",)}),
            "worklist_folder": ("wl", tmp_path / "wl"),
            "forward_mpps": (
                "RIS@10.0.0.8:104, PACS@pacs.clinic:11112",
                ("RIS@10.0.0.8:104", "PACS@pacs.clinic:11112"),
            ),
        },
        "pacs": {
            "ae_title": ("P", "P"),
            "address": ("pacs", "pacs"),
            "port": ("11112", 11112),
            "tls_ca": ("cert", tmp_path / "cert"),
            "tls_certificate": ("cert", tmp_path / "cert"),
            "tls_key": ("key", tmp_path / "key"),
            "images_within": ("90", 90),
            "wait_for_images": ("true", True),
            "viewer": ("https://h/?s={study}", "https://h/?s={study}"),
            "send_reports": ("true", True),
        },
        "bus": {
            "dialect": ("r4", "r4"),
            "url": ("https://bus", "https://bus"),
            "token_file": ("token", tmp_path / "token"),
            "organisation": (GUID, GUID),
            "mis_oid": ("1.2.4", "1.2.4"),
            "rate": ("1", 1),
            "timeout": ("0.5", 0.5),
            "versions": ("1.2=1.10, 1.3 = 2", {"1.2": "1.10", "1.3": "2"}),
            "proxy": ("http://proxy:3128/", "http://proxy:3128"),
            "ca_file": ("cert", tmp_path / "cert"),
            "client_certificate": ("cert", tmp_path / "cert"),
            "client_key": ("key", tmp_path / "key"),
            "sends_start": ("true", True),
            "encounters": ("finance/3=2/AMB, modality/MG=7/AMB", {"finance/3": "2/AMB", "modality/MG": "7/AMB"}),
            "declined_status": ("rejected", "rejected"),
            "accession_numbers": ("bus", "bus"),
            "texts": ("base64", "base64"),
            "images_url": ("https://pacs/{study}", "https://pacs/{study}"),
            "fetch_every": ("2.5", 2.5),
            "patient_search": ("numbers", "numbers"),
            "auto_accept": ("DX=XRAY_14", {"DX": "XRAY_14"}),
            "opinions": (f"{GUID}=understands", {GUID: "understands"}),
            "opinion_hours": ("48", 48),
            "opinion_urgent_hours": ("2", 2),
            "result_days": ("30", 30),
            "history_hours": ("1", 1),
            "keep_days": ("7", 7),
            "system_procedure": ("1.2.5", "1.2.5"),
            "system_body_site": ("1.2.6", "1.2.6"),
            "system_diagnosis": ("1.2.7", "1.2.7"),
        },
        "reading": {
            "hold_minutes": ("5", 5),
            "lease_minutes": ("20", 20),
            "arbitration": ("recalls", "recalls"),
            "strict": ("true", True),
            "own_referrals": ("true", True),
            "decide_together": ("true", True),
            "deadline_hours": ("48", 48),
            "over_read_hours": ("48", 48),
            "pause_seconds": ("0", 0),
        },
        "data": {"directory": ("/d", Path("/d"))},
        "backup": {"directory": ("/b", Path("/b")), "at": ("03:00", "03:00"), "keep": ("1", 1)},
        "log": {"level": ("error", "error")},
    }
    assert {section: tuple(keys) for section, keys in values.items()} == known_keys()
    environ = {f"WLB__{s}__{k}".upper(): text for s, keys in values.items() for k, (text, _) in keys.items()}
    read = load(write(LEAST), environ)
    for section, keys in values.items():
        for key, (_, value) in keys.items():
            assert getattr(getattr(read, section), key) == value, f"{section}.{key}"


def test_an_override_replaces_the_wrong_value_of_the_file(write: Write) -> None:
    assert load(write(LEAST + "dicom:\n  port: x\n"), {"WLB__DICOM__PORT": "104"}).dicom.port == 104


def test_an_empty_override_takes_a_value_away(write: Write) -> None:
    text = "pacs:\n  ae_title: A\n  address: a\nbackup:\n  directory: b\nweb:\n  origins: [https://a]\n"
    empty = dict.fromkeys(
        ("WLB__PACS__ADDRESS", "WLB__PACS__AE_TITLE", "WLB__BACKUP__DIRECTORY", "WLB__WEB__ORIGINS"), ""
    )
    read = load(write(LEAST + text), empty)
    assert (read.pacs.address, read.pacs.ae_title, read.backup.directory, read.web.origins) == ("", "", None, ())


def test_an_override_in_a_malformed_section_reports_the_section(write: Write) -> None:
    (line,) = report(write(LEAST + "log: 5\n"), {"WLB__LOG__LEVEL": "debug"})
    assert line == "config.yaml:5: log: must have its keys beneath it, indented (got 5)"


def test_other_variables_are_left_alone(write: Write) -> None:
    load(write(LEAST), {"WLB": "x", "WLB_DICOM_PORT": "x", "PATH": "x"})
    (line,) = report(write(LEAST), {"WLB__DICOM": "x"})
    assert line.startswith("environment: WLB__DICOM: is not a known key")


def test_the_environment_of_the_process_is_the_default(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WLB__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WLB__WEB__PORT", "81")
    assert load(write(LEAST)).web.port == 81


def test_the_package_knows_its_version() -> None:
    assert re.match(r"\d+(\.\d+)*", broker.__version__)
