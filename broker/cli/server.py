"""The commands of the program as a whole: run, check, demo, version."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from broker import __version__
from broker.app.application import Application
from broker.app.logs import set_up_logging
from broker.cli.commands import Commands, Exit
from broker.cli.output import show
from broker.config.loader import ConfigError, load
from broker.demo import clinic


def register(commands: Commands) -> None:
    """Add the commands."""
    commands.serving("run", _run, "run the broker: screens, DICOM port, exchange with the bus", config=True)
    commands.reading("check", _check, "check the configuration and report every mistake")

    demo = commands.serving("demo", _demo, "run everything on invented data, with a practice bus; no root needed")
    demo.add_argument("--data", type=Path, metavar="DIR", help="keep the data here (default: a new temporary folder)")
    demo.add_argument("--web-port", type=int, default=8080, metavar="N", help="port of the screens (default 8080)")
    demo.add_argument("--dicom-port", type=int, default=11112, metavar="N", help="port of the worklist (default 11112)")
    demo.add_argument("--bus-port", type=int, default=8090, metavar="N", help="port of the practice bus (default 8090)")
    demo.add_argument("--seconds", type=float, metavar="N", help="stop after this many seconds")

    commands.reading("version", _version, "print the version", config=False)


def _run(args: argparse.Namespace) -> int:
    config = load(args.config)
    set_up_logging(config.log.level)
    # NiceGUI reads the variable when it is imported. What it stores there is private.
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(config.data.directory / "nicegui"))
    os.umask(0o077)
    Application(config).run()
    return Exit.OK


def _check(args: argparse.Namespace) -> int:
    try:
        config = load(args.config)
    except ConfigError as error:
        if not args.json:
            raise
        show(True, {"valid": False, "mistakes": error.report}, ())
        return Exit.CONFIG
    name, directory = config.clinic.name, str(config.data.directory)
    show(
        args.json,
        {"valid": True, "clinic": name, "data": directory},
        [f"The configuration is right. Clinic: {name}. Data: {directory}"],
    )
    return Exit.OK


def _demo(args: argparse.Namespace) -> int:
    clinic.run(args.data, clinic.Ports(args.web_port, args.dicom_port, args.bus_port), args.seconds)
    return Exit.OK


def _version(args: argparse.Namespace) -> int:
    show(args.json, {"version": __version__}, [f"worklist-broker {__version__}"])
    return Exit.OK
