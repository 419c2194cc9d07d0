"""The installer and the systemd unit.

Most tests run install.sh on a small stand-in for the checkout, with a shell script in the program's place, so that
they take no time and need no network; one slow test installs the real thing below a temporary directory.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
UNIT = CHECKOUT / "systemd" / "worklist-broker.service"
SCRIPTS = [CHECKOUT / "install.sh", CHECKOUT / ".ci" / "run"]

EX_USAGE, EX_CONFIG = 64, 78

# Stands for .venv/bin/python: says what it runs, and fails with the code in the file of the tool's name, if any.
PYTHON = """#!/bin/sh
[ "$1" != -c ] || exit 0
echo "$*"
code=$(dirname "$0")/$2
[ ! -e "$code" ] || exit "$(cat "$code")"
"""

# Stands for the program: notes how it was called, knows accounts, and refuses a configuration that says BROKEN.
PROGRAM = """#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/calls"
case "$1 $2" in
    "check -c") ! grep -q BROKEN "$3" || { echo "config.yaml:1: BROKEN"; exit 78; } ;;
    "account list") cat "$here/accounts" 2>/dev/null || true ;;
    "account add") echo "$3" >"$here/accounts"; echo "password: correct horse" ;;
esac
"""


def run(
    script: Path, *arguments: str, path: Sequence[Path] = (), cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script in an environment as bare as that of a fresh login, with the strictest umask."""
    system = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
    environment = {"HOME": str(script.parent), "PATH": ":".join([*map(str, path), *system])}
    # Where packages come from and whom to trust is the machine's to say.
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "WLB_"))}
    return subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, env=environment, cwd=cwd, umask=0o077, check=False
    )


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkout with the installer and next to nothing to install."""
    checkout = tmp_path / "a check out"
    for name in ("broker", "ui", "systemd", "docs"):
        (checkout / name).mkdir(parents=True)
        (checkout / name / "file").write_text("1")
    for path in ("install.sh", "pyproject.toml", "LICENSE", "config.example.yaml", "systemd/worklist-broker.service"):
        shutil.copy(CHECKOUT / path, checkout / path)
    for name in ("README.md", "CHANGELOG.md", "requirements.lock", "requirements-test.lock"):
        (checkout / name).write_text("# Worklist Broker\n")
    return checkout


# --- What is told, and how it is written ------------------------------------------------------------------------


def test_the_help_names_every_option_and_every_place() -> None:
    answer = run(CHECKOUT / "install.sh", "--help")
    assert answer.returncode == 0
    for word in (
        "--demo",
        "--test",
        "--setup-only",
        "--force",
        "--root DIR",
        "WLB_WHEELHOUSE",
        "/opt/worklist-broker/current",
        "/etc/worklist-broker/config.yaml",
        "/var/lib/worklist-broker",
        "/etc/systemd/system/worklist-broker.service",
        "/usr/local/bin/worklist-broker",
    ):
        assert word in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    "arguments", [["--install"], ["demo"], ["--setup-only"], ["--force", "--demmo"]], ids=lambda words: " ".join(words)
)
def test_a_mistyped_option_changes_nothing_and_points_at_the_help(arguments: list[str]) -> None:
    answer = run(CHECKOUT / "install.sh", *arguments)
    assert answer.returncode == EX_USAGE
    assert "install.sh: " in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_sound_and_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


def test_the_installer_names_no_host() -> None:
    """Where packages come from is a setting of pip and of apt, never of this project."""
    text = (CHECKOUT / "install.sh").read_text()
    assert not re.search(r"https?://", text)
    assert not re.search(r"\b\w+\.(org|com|net|io|ru)\b", text)


# --- The unit ---------------------------------------------------------------------------------------------------


def directives() -> list[tuple[str, str, str]]:
    """Return (line above, name, value) of every directive."""
    lines = UNIT.read_text().splitlines()
    found = []
    for above, line in pairwise(lines):
        if line and line[0] not in "#[":
            name, value = line.split("=", 1)
            found.append((above, name, value))
    return found


def test_every_directive_has_a_comment_above_it() -> None:
    assert [f"{name}={value}" for above, name, value in directives() if not above.startswith("# ")] == []


def test_the_unit_runs_what_the_installer_lays_out() -> None:
    unit = {name: value for _, name, value in directives()}
    assert unit["ExecStart"] == (
        "/opt/worklist-broker/current/.venv/bin/worklist-broker run -c /etc/worklist-broker/config.yaml"
    )
    assert unit["Type"] == "notify"
    assert unit["User"] == unit["Group"] == unit["StateDirectory"] == "worklist-broker"
    assert unit["UMask"] == "0077"


def test_a_wrong_configuration_is_not_started_again_and_again() -> None:
    unit = {name: value for _, name, value in directives()}
    assert unit["Restart"] == "on-failure"
    assert str(EX_CONFIG) in unit["RestartPreventExitStatus"].split()
    assert {"StartLimitIntervalSec", "StartLimitBurst"} <= unit.keys()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_every_directive() -> None:
    answer = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    # That the program is not installed here is no fault of the unit.
    complaints = [line for line in answer.stderr.splitlines() if "is not executable" not in line]
    assert [line for line in complaints if "worklist-broker.service" in line] == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_service_is_little_exposed() -> None:
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert level is not None, answer.stderr
    assert float(level[1]) <= 2.0


# --- The demo and the tests -------------------------------------------------------------------------------------


@pytest.fixture
def set_up(small: Path) -> Path:
    """The small checkout as the installer leaves it after setting up for the tests, with stand-ins for Python."""
    write_program(small / ".venv" / "bin" / "worklist-broker", '#!/bin/sh\necho "$PWD: $*"\n')
    write_program(small / ".venv" / "bin" / "python", PYTHON)
    for name in ("lint-imports", "vulture", "codespell"):
        write_program(small / ".venv" / "bin" / name, f"#!/bin/sh\necho '-m {name}'\n")
    stamp = subprocess.run(
        ["bash", "-c", 'source ./install.sh; printf "%s" "$(checkout_state)test"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=small,
    )
    (small / ".venv" / ".set-up").write_text(stamp.stdout + "\n")
    # As if the packages with the test peers were installed, lest a test install them.
    write_program(small / "peers" / "dpkg-query", "#!/bin/sh\nprintf 'ii '\n")
    return small


def test_the_demo_gets_its_options_and_the_directory_it_was_called_from(set_up: Path, tmp_path: Path) -> None:
    answer = run(set_up / "install.sh", "--demo", "--web-port", "0", "--data", "a b", cwd=tmp_path)
    assert answer.stdout == f"{tmp_path}: demo --web-port 0 --data a b\n"
    assert answer.returncode == 0


def test_set_up_only_does_not_start_the_demo(set_up: Path) -> None:
    answer = run(set_up / "install.sh", "--setup-only", "--demo")
    assert (answer.returncode, answer.stdout) == (0, "")


def test_all_checks_run_and_pytest_gets_its_options(set_up: Path) -> None:
    answer = run(set_up / "install.sh", "--test", "-m", "not slow", path=[set_up / "peers"])
    assert answer.returncode == 0, answer.stderr
    assert [line for line in answer.stdout.splitlines() if line.startswith("-m ")] == [
        "-m ruff check .",
        "-m ruff format --check .",
        "-m mypy",
        "-m lint-imports",
        "-m vulture",
        "-m codespell",
        "-m pytest -m not slow",
    ]


def test_the_first_failure_gives_the_exit_code_and_the_rest_still_runs(set_up: Path) -> None:
    (set_up / ".venv" / "bin" / "mypy").write_text("2")
    (set_up / ".venv" / "bin" / "pytest").write_text("1")
    answer = run(set_up / "install.sh", "--test", path=[set_up / "peers"])
    assert answer.returncode == 2
    assert "-m pytest\n" in answer.stdout


def test_continuous_integration_runs_the_checks(set_up: Path) -> None:
    (set_up / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci" / "run", set_up / ".ci" / "run")
    answer = run(set_up / ".ci" / "run", "-x", path=[set_up / "peers"], cwd=set_up / "ui")
    assert re.search(r"^-m pytest .*-x$", answer.stdout, re.MULTILINE)


@pytest.mark.slow
def test_without_a_wheel_in_the_wheelhouse_nothing_is_downloaded(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small / "wheelhouse").mkdir()
    monkeypatch.delenv("WLB_WHEELHOUSE", raising=False)
    answer = run(small / "install.sh", "--setup-only", "--demo")
    assert answer.returncode == 69
    assert not (small / ".venv" / ".set-up").exists()


# --- The service ------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """A directory that stands for a machine, and a checkout whose release is already built there."""

    root: Path
    checkout: Path

    @property
    def releases(self) -> Path:
        return self.root / "opt" / "worklist-broker" / "releases"

    @property
    def current(self) -> Path:
        return self.root / "opt" / "worklist-broker" / "current"

    @property
    def config(self) -> Path:
        return self.root / "etc" / "worklist-broker" / "config.yaml"

    @property
    def calls(self) -> list[str]:
        return (self.current / ".venv" / "bin" / "calls").read_text().splitlines()

    def build(self) -> Path:
        """Put a stand-in where the release of the checkout belongs, so that none is built."""
        title = subprocess.run(
            ["bash", "-c", "source ./install.sh; release_title"],
            capture_output=True,
            text=True,
            check=True,
            cwd=self.checkout,
        )
        release = self.releases / title.stdout.strip()
        write_program(release / ".venv" / "bin" / "worklist-broker", PROGRAM)
        (release / ".complete").touch()
        return release

    def install(self) -> subprocess.CompletedProcess[str]:
        return run(self.checkout / "install.sh", "--root", str(self.root))


@pytest.fixture
def machine(small: Path, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root", small)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_installation_lays_everything_out(machine: Machine) -> None:
    release = machine.build()
    answer = machine.install()
    assert answer.returncode == 0, answer.stderr
    assert machine.current.is_symlink()
    assert machine.current.resolve() == release
    data = machine.root / "var" / "lib" / "worklist-broker"
    assert mode(data) == 0o700
    assert mode(machine.config) == 0o640
    assert mode(machine.config.parent) == 0o750
    assert f"\n  directory: {data}\n" in machine.config.read_text()
    unit = machine.root / "etc" / "systemd" / "system" / "worklist-broker.service"
    assert unit.read_bytes() == UNIT.read_bytes()
    assert os.access(machine.root / "usr" / "local" / "bin" / "worklist-broker", os.X_OK)
    assert answer.stdout.count("password: correct horse") == 1
    assert machine.calls == [
        f"check -c {machine.config}",
        f"account list -c {machine.config}",
        f"account add admin --name Администратор --role administrator --generate -c {machine.config}",
    ]


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.build()
    machine.install()
    machine.config.write_text("# mine\n")
    before = sorted(machine.root.rglob("*"))
    answer = machine.install()
    assert answer.returncode == 0, answer.stderr
    assert machine.config.read_text() == "# mine\n"
    assert sorted(machine.root.rglob("*")) == before
    assert "password" not in answer.stdout


def test_a_changed_checkout_becomes_a_new_release(machine: Machine) -> None:
    first = machine.build()
    machine.install()
    (machine.checkout / "broker" / "file").write_text("2")
    second = machine.build()
    assert second != first
    assert machine.install().returncode == 0
    assert machine.current.resolve() == second


def test_a_configuration_that_the_new_release_refuses_leaves_the_old_one_in_use(machine: Machine) -> None:
    first = machine.build()
    machine.install()
    machine.config.write_text("BROKEN")
    (machine.checkout / "ui" / "file").write_text("2")
    machine.build()
    answer = machine.install()
    assert answer.returncode == EX_CONFIG
    assert "config.yaml:1: BROKEN" in answer.stdout
    assert f"stays {first}" in answer.stderr
    assert machine.current.resolve() == first


def test_a_release_that_does_not_run_is_not_blamed_on_the_configuration(machine: Machine) -> None:
    first = machine.build()
    machine.install()
    (machine.checkout / "ui" / "file").write_text("2")
    write_program(machine.build() / ".venv" / "bin" / "worklist-broker", "#!/bin/sh\nexit 3\n")
    answer = machine.install()
    assert answer.returncode == 3
    assert "does not run" in answer.stderr
    assert machine.current.resolve() == first


def test_three_releases_are_kept_and_the_one_in_use_is_never_removed(machine: Machine) -> None:
    release = machine.build()
    for age, name in enumerate(["0.0.5", "0.0.4", "0.0.3", "0.0.2"], start=1):
        (machine.releases / name).mkdir()
        os.utime(machine.releases / name, (1_000_000 - age, 1_000_000 - age))
    # The one in use is the oldest, as after going back to it.
    os.utime(release, (1, 1))
    assert machine.install().returncode == 0
    assert {path.name for path in machine.releases.iterdir()} == {release.name, "0.0.5", "0.0.4"}


def test_an_override_in_the_callers_environment_does_not_reach_the_check(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = machine.build()
    write_program(release / ".venv" / "bin" / "worklist-broker", "#!/bin/sh\nenv\n")
    monkeypatch.setenv("WLB__DICOM__PORT", "104")
    answer = machine.install()
    assert "NICEGUI_STORAGE_PATH=" in answer.stdout
    assert "WLB__DICOM__PORT" not in answer.stdout


@pytest.mark.slow
def test_the_real_program_is_installed_and_answers(tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = run(CHECKOUT / "install.sh", f"--root={root}")
    assert first.returncode == 0, first.stdout + first.stderr
    program = root / "opt" / "worklist-broker" / "current" / ".venv" / "bin" / "worklist-broker"
    config = root / "etc" / "worklist-broker" / "config.yaml"
    assert "admin" in run(program, "account", "list", "-c", str(config), cwd=tmp_path).stdout
    assert run(program, "check", "-c", str(config), cwd=tmp_path).returncode == 0
    # The service's user, who is none of its owners, can run it.
    assert all(mode(path) & 0o005 == 0o005 for path in (program, program.parent, program.parents[2]))
    # The release stands alone: it does not import from the checkout it was built in.
    where = run(program.parent / "python", "-c", "import broker, ui; print(broker.__file__, ui.__file__)", cwd=tmp_path)
    assert where.stdout.count(str(root)) == 2
    again = run(CHECKOUT / "install.sh", f"--root={root}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Building" not in again.stdout
    assert "password" not in again.stdout.lower()
