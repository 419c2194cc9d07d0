"""The demonstration: the whole program on an embedded database with invented people, devices and a practice bus."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from broker.app import clock
from broker.app.application import Application
from broker.app.logs import set_up_logging
from broker.bus import practice
from broker.config.configuration import Config
from broker.demo import region
from broker.demo.consultant import Consultant
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.devices import Device
from broker.domain.clinic.directory import Entry
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Priority, ReferralDraft
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.reading.opinions import Finding
from broker.domain.reading.report_templates import ReportTemplate
from broker.domain.studies.performed import (
    Dose,
    Message,
    PerformedChange,
    PerformedSeries,
    PerformedState,
    PerformedStep,
    StepReference,
)
from broker.store.database import Store
from broker.store.queries import access, schedule
from broker.workflow import accounts, devices, directories
from broker.workflow.directories import DirectorySource
from broker.workflow.reading import reads, report_templates
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps

PASSWORD = "practice-2026"
ACCOUNTS = (
    ("orlova", "Орлова Наталья Викторовна", Role.REGISTRAR, ""),
    ("yudin", "Юдин Константин Егорович", Role.TECHNOLOGIST, ""),
    ("volskaya", "Вольская Татьяна Андреевна", Role.RADIOLOGIST, "врач-рентгенолог"),
    ("larin", "Ларин Павел Сергеевич", Role.RADIOLOGIST, "врач-рентгенолог"),
    ("gushchina", "Гущина Елена Марковна", Role.RADIOLOGIST, "врач-рентгенолог"),
    ("admin", "Администратор", Role.ADMINISTRATOR, ""),
)
DEVICES = (
    Device("FLG_12", "Флюорограф", "DX", "каб. 12"),
    Device("XRAY_14", "Рентген", "DX", "каб. 14"),
    Device("MAMMO_9", "Маммограф", "MG", "каб. 9"),
)
# Invented people: name, birth date, sex.
PEOPLE = (
    ("Кузнецова Марина Петровна", "1961-03-12", "F"),
    ("Кузнецов Андрей Ильич", "1988-07-30", "M"),
    ("Иванов Иван Иванович", "1974-10-18", "M"),
    ("Петрова Анна Сергеевна", "1992-02-29", "F"),
    ("Абдурахманов Магомедрасул Шарапутдинович", "1957-12-01", "M"),
    ("Ли Ен", "1999-09-09", "M"),
    ("Ёлкина Ольга Юрьевна", "1983-06-21", "F"),
    ("Смирнов Дмитрий Олегович", "2001-11-24", "M"),
    ("Герасименко Виктория Анатольевна", "1966-08-15", "F"),
    ("Мухаметзянова Гульнара Рифкатовна", "1979-04-03", "F"),
    ("Попов Степан Фёдорович", "1938-02-17", "M"),
    ("Соколова Вера Игоревна", "1995-03-08", "F"),
)
# Person, procedure, device, minutes from now. The first four have been done, the fifth is on the device.
REFERRALS = (
    (2, "WLB-FLG1", "FLG_12", -50),
    (11, "WLB-FLG1", "FLG_12", -40),
    (6, "WLB-KNEE", "XRAY_14", -35),
    (0, "WLB-MMG4", "MAMMO_9", -30),
    (5, "WLB-FLG1", "FLG_12", -5),
    (3, "WLB-FLG1", "FLG_12", 10),
    (4, "WLB-FLG2", "FLG_12", 20),
    (0, "WLB-KNEE", "XRAY_14", 15),
    (10, "WLB-CHEST2", "XRAY_14", 30),
    (1, "WLB-SINUS", "XRAY_14", 60),
    (9, "WLB-MMG4", "MAMMO_9", 25),
    (8, "WLB-MMG4", "MAMMO_9", 45),
)
# Two doctors read these.
DOUBLE = frozenset({"WLB-FLG1", "WLB-FLG2", "WLB-MMG4"})
LUNGS = (
    "Лёгочные поля прозрачны, очаговых и инфильтративных теней нет. Корни структурны, не расширены. Синусы свободны."
    " Диафрагма расположена обычно. Срединная тень не расширена."
)
# Procedure, name, description, conclusion of what the key of «норма» writes.
NORMS = (
    ("WLB-FLG1", "норма лёгких", LUNGS, "Лёгкие и сердце без патологических изменений."),
    ("WLB-FLG2", "норма лёгких", LUNGS, "Лёгкие и сердце без патологических изменений."),
    ("WLB-CHEST2", "норма лёгких", LUNGS, "Лёгкие и сердце без патологических изменений."),
    (
        "WLB-MMG4",
        "норма молочных желёз",
        "Молочные железы симметричны, кожа и соски не изменены. Узловых образований и скоплений микрокальцинатов нет.",
        "Патологических изменений не выявлено.",
    ),
)
SYSTEM = Actor(ActorKind.SYSTEM, "demo", "Демонстрация")
CLINICS = DirectorySource("organisations", "1.2.643.2.69.1.1.1.64", "demo", "demo")
CLINIC_NAMES = (
    Entry(practice.PRACTICE_ORGANISATION, "Клиника на Заречной"),
    Entry(practice.PRACTICE_ORGANISATION_2, "Больница № 2"),
    Entry(practice.PRACTICE_ORGANISATION_3, "Диагностический центр"),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports that the demonstration listens on."""

    web: int
    dicom: int
    bus: int


def run(directory: Path | None, ports: Ports, seconds: float | None = None) -> None:
    """Run the demonstration until Ctrl-C or for `seconds`, with its data in `directory`, or a temporary one if None."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="worklist-broker-demo-") as temporary:
            _run(Path(temporary), ports, seconds)
    else:
        _run(directory, ports, seconds)


def _run(directory: Path, ports: Ports, seconds: float | None) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    set_up_logging("warning")
    os.environ["NICEGUI_STORAGE_PATH"] = str(directory / "nicegui")
    os.umask(0o077)
    bus = practice.PracticeServer(
        # Lenient: the demo's procedures have local codes, not those of the official dictionary.
        practice.PracticeBus(practice.PracticeSettings(directory=directory / "bus", lenient=True, clock=clock.utc_now)),
        "127.0.0.1",
        ports.bus,
    )
    bus.start()
    zone = ZoneInfo("Europe/Moscow")
    region.fill(bus.bus, (_patient(4), _patient(0)), _patient(7), clock.utc_now(), zone)
    consultant = Consultant(bus.bus, clock.utc_now)
    consultant.start()
    try:
        config = _config(ports, directory, bus.url)
        application = Application(config)
        fill(application.store, application.clinic)
        if seconds is not None:
            timer = threading.Timer(seconds, application.stop)
            timer.daemon = True  # so that Ctrl-C does not wait for it
            timer.start()
        application.run(ready=lambda: _welcome(application, bus.url))
    finally:
        consultant.stop()
        bus.stop()
    print("The demonstration has ended.")


def _config(ports: Ports, directory: Path, bus_url: str) -> Config:
    token = directory / "bus-token"
    token.write_text(practice.PRACTICE_TOKEN)
    token.chmod(0o600)
    return Config.model_validate(
        {
            "clinic": {
                "name": "Клиника на Заречной",
                "oid": "1.2.643.5.1.13.13.12.2.99.1",
                "uid_root": "1.2.643.5.1.13.13.12.2.99",
                "accession_prefix": "D",
                "shared_accession_numbers": True,
                "repeat_days": {"CT": 90, "DX": 30},
            },
            "web": {"port": ports.web},
            "dicom": {"address": "127.0.0.1", "port": ports.dicom, "unknown_devices": "learn"},
            "bus": {
                "url": bus_url,
                "token_file": str(token),
                "organisation": practice.PRACTICE_ORGANISATION,
                "rate": 6000,
                "fetch_every": 5,
                "images_url": "https://images.example/studies/{study}",
                "opinions": {
                    practice.PRACTICE_ORGANISATION_3: "understands",
                    practice.PRACTICE_ORGANISATION_2: "ordinary",
                },
            },
            "data": {"directory": str(directory)},
            "backup": {"keep": 0},
        }
    )


def fill(store: Store, clinic: Clinic) -> None:
    """Write the invented clinic into a database, and today's referrals, if today has none yet."""
    with store.read() as reader:
        known = {account.login for account in access.accounts(reader)}
        now = clinic.local(store.clock()).replace(second=0, microsecond=0)
        has_work = bool(schedule.day(reader, now.date()))
    for number, (login, name, role, position) in enumerate(ACCOUNTS):
        if login not in known:
            snils = _snils(900 + number) if position else ""
            account = accounts.new_account(login, name, frozenset({role}), PASSWORD, snils=snils, position=position)
            store.write(accounts.add_account, account, SYSTEM)
    store.write(directories.replace_directory, CLINICS, CLINIC_NAMES, SYSTEM)
    if not known:
        _set_up_reading(store)
    for device in DEVICES:
        store.write(devices.put_device, device, SYSTEM)
    if has_work:
        return
    for number, (whose, what, where, minutes) in enumerate(REFERRALS):
        start = _within_today(now, minutes)
        order = store.write(
            referrals.register,
            ReferralDraft(
                patient=_patient(whose),
                procedure_code=what,
                station_ae_titles=(where,),
                start=start,
                referrer=PersonName("Зимин", "Андрей", "Павлович"),
                referrer_position="терапевт",
                diagnosis_code="Z00.0",
                priority=Priority.URGENT if whose == 10 else Priority.ROUTINE,
                submission_id=f"demo {now:%Y%m%d} {number}",
            ),
            SYSTEM,
            clinic,
        )
        if number < 5:
            _perform(store, clinic, where, order.study_instance_uid, start, done=number < 4)


def _set_up_reading(store: Store) -> None:
    store.write(reads.set_double, DOUBLE, SYSTEM)
    for code, name, description, conclusion in NORMS:
        template = ReportTemplate(code, name, finding=Finding.NORM, description=description, conclusion=conclusion)
        store.write(report_templates.put, template, SYSTEM)


def _patient(number: int) -> Patient:
    name, born, sex = PEOPLE[number]
    family, given, middle = [*name.split(" "), ""][:3]
    return Patient(PersonName(family, given, middle), date.fromisoformat(born), Sex(sex), snils=_snils(number))


def _snils(number: int) -> str:
    """Return an invented СНИЛС with its check digits."""
    digits = f"{112_233_000 + number}"
    check = sum(int(digit) * weight for digit, weight in zip(digits, range(9, 0, -1), strict=True)) % 101 % 100
    return f"{digits}{check:02d}"


def _within_today(now: datetime, minutes: int) -> datetime:
    """Return a round time so many minutes from now, but never on another day."""
    moved = now + timedelta(minutes=minutes - now.minute % 5)
    day = now.replace(hour=0, minute=0)
    return min(max(moved, day), day + timedelta(hours=23, minutes=55))


def _perform(store: Store, clinic: Clinic, ae_title: str, study: str, start: datetime, *, done: bool) -> None:
    """Record what a modality would have reported earlier today."""
    actor = Actor(ActorKind.DEVICE, ae_title, next(device.name for device in DEVICES if device.ae_title == ae_title))
    uid = f"{study}.1"
    step = PerformedStep(
        sop_instance_uid=uid,
        ae_title=ae_title,
        state=PerformedState.IN_PROGRESS,
        start=start,
        references=(StepReference(study_instance_uid=study),),
    )
    store.write(performed_steps.start, step, Message({}, f"demo start {uid}"), actor, clinic)
    if done:
        change = PerformedChange(
            PerformedState.COMPLETED,
            end=start + timedelta(minutes=4),
            operator="Юдин К. Е.",
            images=2,
            series=tuple(
                PerformedSeries(f"{study}.{series}", description, protocol, "Юдин К. Е.", 1)
                for series, description, protocol in ((2, "Прямая проекция", "PA"), (3, "Боковая проекция", "LAT"))
            ),
            doses={
                "ImageAndFluoroscopyAreaDoseProduct": (Dose("ImageAndFluoroscopyAreaDoseProduct", 1.2, "dGy.cm2"),),
                "TotalNumberOfExposures": (Dose("TotalNumberOfExposures", 2, "1"),),
            },
        )
        store.write(
            performed_steps.change,
            performed_steps.ChangeRequest(uid, change, Message({}, f"demo finish {uid}")),
            actor,
            clinic,
        )


def _welcome(application: Application, bus_url: str) -> None:
    port = application.dicom.port
    logins = "\n".join(f"                 {login:10} {role}" for login, _, role, _ in ACCOUNTS)
    print(
        f"""
Worklist Broker, demonstration. Everybody and everything in it is invented.

  Screens        {application.web_url}
  Sign in as     (password {PASSWORD})
{logins}
  Practice bus   {bus_url.split("/imaging")[0]}/
  Worklist       {application.config.dicom.ae_title} at 127.0.0.1:{port}. With DCMTK, paste:

  findscu -W -aet FLG_12 -aec {application.config.dicom.ae_title} 127.0.0.1 {port} \\
    -k PatientName -k PatientID -k AccessionNumber -k StudyInstanceUID -k RequestedProcedureDescription \\
    -k "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=FLG_12" \\
    -k "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate" \\
    -k "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartTime"

Ctrl-C ends it.
""",
        flush=True,
    )
