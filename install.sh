#!/usr/bin/env bash
#
# Sets up Worklist Broker: the demo or the tests inside this checkout, or the service of this machine.
# `./install.sh --help` explains what each does and what it leaves behind.

# Called as `sh install.sh`, go on in bash.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"

set -euo pipefail

readonly NAME=worklist-broker
readonly KEPT_RELEASES=3
# The external programs that the tests use: DICOM tools, a PACS, a browser, and systemd-analyze.
readonly TEST_PEERS=(dcmtk orthanc orthanc-dicomweb chromium systemd gcc libc6-dev)
# Exit codes of sysexits.h, as the program itself uses them.
readonly EX_USAGE=64 EX_UNAVAILABLE=69 EX_NOPERM=77 EX_CONFIG=78

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
wheelhouse=${WLB_WHEELHOUSE:-}
root='' force='' setup_only='' scratch='' python='' python_kind=any

usage() {
    cat <<'HELP'
Worklist Broker: referrals, Modality Worklist, MPPS and the regional bus for a clinic without a RIS.

  ./install.sh --demo [OPTIONS OF THE DEMO]     try it: invented patients, devices and a practice bus
  ./install.sh --test [OPTIONS OF PYTEST]       check it: linters, types and the tests
  sudo ./install.sh [--force]                   install it as a service of this machine

It can be run again at any time: what is already there is left as it is. Needs Python 3.11 or newer.

Demo
  Makes .venv in this checkout and runs `worklist-broker demo` in it until Ctrl-C. No root needed; nothing outside
  this directory changes (but for Debian's python3-venv, where it is missing and you are root). Everything after
  --demo goes to the demo:
    ./install.sh --demo --web-port 8081 --data ./demo-data

Tests
  As the demo, with the test tools. As root it also installs by apt what of dcmtk, orthanc, orthanc-dicomweb, chromium,
  systemd and a C compiler (for .ci/other-dates) is missing; otherwise it says what is missing and goes on. Where Node
  and npm are, a DICOM client and a FHIR validator from npm are put into tests/peers/*js/node_modules. Exits with the
  code of the first check that failed. Everything after --test goes to pytest:
    ./install.sh --test                         everything
    ./install.sh --test -m "not slow"           without browsers, kills and whole days
    ./install.sh --test tests/store -x          one directory, up to the first failure

Service
  /opt/worklist-broker/releases/VERSION-COMMIT  one release with its own Python packages; the last three are kept
  /opt/worklist-broker/current                  a link to the release in use, switched in one step
  /etc/worklist-broker/config.yaml              the configuration; made once, then yours
  /var/lib/worklist-broker                      the data; belongs to the user worklist-broker, closed to all others
  /etc/systemd/system/worklist-broker.service   the unit; your changes go into `systemctl edit worklist-broker`
  /usr/local/bin/worklist-broker                the program for the shell, always run as the user worklist-broker

  The first time it also makes the account `admin` and prints its password, once. To upgrade, get the new version of
  this checkout and run it again: the release is built and the configuration checked by it before the running one is
  stopped. A release that is already in use is not built again, unless --force is given.

  Status and log:     systemctl status worklist-broker;  journalctl -u worklist-broker
  After editing:      worklist-broker check && systemctl restart worklist-broker
  Back to an earlier: ln -sfn releases/EARLIER /opt/worklist-broker/current && systemctl restart worklist-broker
                      (refused with a message once a newer release has changed the database)
  Remove it:          systemctl disable --now worklist-broker, then remove the six paths above; /var/lib/worklist-broker
                      holds the referrals, so save it first

Options (before --demo or --test)
  --setup-only        set up for the demo or the tests, and stop there
  --force             build a release even when this one is already in use
  --root DIR          install the service below DIR, for trying it out: paths begin with DIR, no user is made, no
                      owner is changed, systemd is left alone; root is not needed
  -h, --help          this text

Without the Internet
  Packages are those of requirements.lock (of requirements-test.lock for the tests), each checked by its hash. They
  come from where pip is configured to get them (pip.conf, PIP_INDEX_URL, PIP_CERT and the like are honoured), or from a
  directory of wheels: ./wheelhouse or $WLB_WHEELHOUSE, and then from nowhere else. To fill one, on a machine with the
  same Python and access:
    ./install.sh --setup-only --test
    .venv/bin/python -m pip download --require-hashes --requirement requirements-test.lock --dest wheelhouse
HELP
}

main() {
    local mode=install_service
    while (($#)); do
        case $1 in
            --demo) mode=run_demo; shift; break ;;
            --test) mode=run_tests; shift; break ;;
            --setup-only) setup_only=yes ;;
            --force) force=yes ;;
            --root) root=${2:?--root needs a directory}; shift ;;
            --root=*) root=${1#--root=} ;;
            -h | --help) usage; exit 0 ;;
            *) die $EX_USAGE "unknown option: $1 (./install.sh --help lists them)" ;;
        esac
        shift
    done
    if [[ -n $setup_only && $mode == install_service ]]; then
        die $EX_USAGE "--setup-only goes with --demo or --test"
    fi
    if [[ -z $wheelhouse && -d $here/wheelhouse ]]; then
        wheelhouse=$here/wheelhouse
    fi
    if [[ -n $wheelhouse ]]; then
        [[ -d $wheelhouse ]] || die $EX_UNAVAILABLE "no such directory of wheels: $wheelhouse"
        wheelhouse=$(cd -- "$wheelhouse" && pwd)
    fi
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    "$mode" "$@"
}

say() { printf '%s\n' "$*"; }

die() {
    local code=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$code"
}

# --- In the checkout --------------------------------------------------------------------------------------------

run_demo() {
    set_up_checkout ''
    [[ -z $setup_only ]] || exit 0
    rm -rf -- "$scratch" # exec does not come back to the trap
    exec "$here/.venv/bin/$NAME" demo "$@"
}

run_tests() {
    local failed=0
    install_test_peers
    install_node_peers
    set_up_checkout test
    [[ -z $setup_only ]] || exit 0
    cd -- "$here"
    # All of them run, so that one go shows everything there is to fix.
    run_check python -m ruff check .
    run_check python -m ruff format --check .
    run_check python -m mypy
    run_check lint-imports
    run_check vulture
    run_check codespell
    run_check python -m pytest "$@"
    exit "$failed"
}

# Runs a program of .venv and keeps the code of the first that failed in `failed`.
run_check() {
    local code=0 program=$1
    shift
    say "== $program $*"
    "$here/.venv/bin/$program" "$@" || code=$?
    if ((code && !failed)); then
        failed=$code
    fi
}

install_test_peers() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "This is not Debian: tests that need ${TEST_PEERS[*]} look for their programs in PATH."
        return
    fi
    for package in "${TEST_PEERS[@]}"; do
        has_package "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        say "Not installed, and not root to install: ${missing[*]}. Tests that need them will say so."
        return
    fi
    if ! apt_install "${missing[@]}"; then
        say "apt could not install ${missing[*]}. Tests that need them will say so."
    elif [[ " ${missing[*]} " == *" orthanc "* ]] && systemd_runs; then
        # The package starts a PACS on this machine; the tests start their own.
        systemctl disable --quiet --now orthanc
    fi
}

# Gets what the tests use from npm into the directories of their tests: a DICOM client that is not built on pynetdicom,
# and a validator of FHIR resources; does nothing where they are already.
install_node_peers() {
    local peer
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        say "No node or no npm (Debian: apt install nodejs npm). Tests of programs from npm will say so."
        return
    fi
    for peer in "$here"/tests/peers/{dcmjs,fhirjs}; do
        # npm writes this file when everything is in place.
        [[ ! $peer/node_modules/.package-lock.json -nt $peer/package-lock.json ]] || continue
        say "Getting from npm: $peer/node_modules"
        if ! (cd -- "$peer" && npm ci --silent) >"$scratch/npm.log" 2>&1; then
            cat -- "$scratch/npm.log" >&2
            say "npm could not fill $peer. Tests that need it will say so."
        fi
    done
}

# Makes .venv hold this checkout (editable) and the packages of its lock, for the tests those of the longer one;
# returns at once if it does.
set_up_checkout() {
    local extra=$1 venv=$here/.venv known='' wanted
    wanted=$(checkout_state)
    if [[ -f $venv/.set-up ]] && "$venv/bin/python" -c '' 2>/dev/null; then
        known=$(<"$venv/.set-up")
    fi
    # What was set up for the tests is enough for the demo, too.
    [[ $known != "$wanted$extra" && $known != "${wanted}test" ]] || return 0
    say "Setting up $venv; the first time takes a minute or two."
    if [[ $known != "$here "* ]]; then
        make_venv "$venv"
    fi
    rm -f -- "$venv/.set-up"
    install_locked "$venv" "$here/requirements${extra:+-$extra}.lock" --editable "$here"
    printf '%s\n' "$wanted$extra" >"$venv/.set-up"
}

# Prints what .venv depends on. The path is part of it, because programs in .venv/bin begin with it: a moved checkout
# needs a new .venv.
checkout_state() {
    say "$here $(cat -- "$here"/{pyproject.toml,requirements.lock,requirements-test.lock} | sha256sum)"
}

# --- The service ------------------------------------------------------------------------------------------------

install_service() {
    if [[ -z $root ]]; then
        ((EUID == 0)) || die $EX_NOPERM "a service is installed by root: sudo ./install.sh (or try ./install.sh --demo)"
        # The service cannot read a Python in somebody's home, so use only those of the system.
        python_kind=public
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    else
        root=$(realpath --canonicalize-missing -- "$root")
    fi
    umask 022
    local opt=$root/opt/$NAME etc=$root/etc/$NAME data=$root/var/lib/$NAME
    local unit=$root/etc/systemd/system/$NAME.service config=$etc/config.yaml
    local current=$opt/current release changed='' failed=0

    make_user
    install --directory "$opt/releases" "$(dirname "$unit")" "$root/usr/local/bin"
    exec 9>"$opt/.lock"
    flock --nonblock 9 || die $EX_UNAVAILABLE "another install.sh is at work in $opt"

    make_directory 0750 "root:$NAME" "$etc"
    make_directory 0700 "$NAME:$NAME" "$data"
    build_release
    write_config
    check_config

    # From here on the new release is used: stop the old one before the new one opens the database.
    if [[ ! $current -ef $release ]]; then
        changed=yes
        if systemd_runs && systemctl is-active --quiet "$NAME"; then
            systemctl stop "$NAME"
        fi
        ln --symbolic --force --no-dereference "releases/$(basename "$release")" "$current.new"
        mv --no-target-directory "$current.new" "$current"
        say "In use: $release"
    fi
    write_command
    make_first_administrator
    write_unit
    start_service
    prune_releases
    exit "$failed"
}

make_user() {
    [[ -z $root ]] || return 0
    getent passwd "$NAME" >/dev/null ||
        useradd --system --user-group --no-create-home --home-dir "/var/lib/$NAME" \
            --shell /usr/sbin/nologin --comment "Worklist Broker" "$NAME"
}

make_directory() {
    local mode=$1 owner=$2 path=$3
    install --directory --mode "$mode" "$path"
    own "$owner" "$path"
}

own() { [[ -n $root ]] || chown "$@"; }

# Builds this checkout into releases/VERSION-COMMIT and puts the path into `release`; complete releases are kept.
build_release() {
    local title
    title=$(release_title)
    release=$opt/releases/$title
    if [[ -e $release/.complete && -n $force ]]; then
        release+=-$(date +%Y%m%d%H%M%S)
    fi
    # Without its mark it is incomplete: left by an interrupted run.
    [[ ! -e $release/.complete ]] || return 0
    say "Building $release; this takes a minute or two."
    rm -rf -- "$release"
    make_venv "$release/.venv"
    # Built from a copy: setuptools writes beside its sources, and would also pick up what an older build left there.
    mkdir "$scratch/source"
    cp -R -- "$here"/{pyproject.toml,README.md,LICENSE,broker,ui} "$scratch/source"
    install_locked "$release/.venv" "$here/requirements.lock" "$scratch/source"
    cp -R -- "$here"/{README.md,CHANGELOG.md,LICENSE,config.example.yaml,docs} "$release"
    date --utc +%FT%TZ >"$release/.complete"
}

# Prints VERSION-COMMIT; without git, or with changes that are not committed, VERSION-CHECKSUM of the files.
release_title() {
    local version commit files=(pyproject.toml requirements.lock README.md CHANGELOG.md LICENSE config.example.yaml)
    files+=(docs broker ui)
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/pyproject.toml")
    # Root may build the checkout of somebody else, which git distrusts unless configured.
    local git=(git -c "safe.directory=$here" -C "$here")
    if [[ -e $here/.git ]] && commit=$("${git[@]}" rev-parse --short=10 HEAD 2>/dev/null) &&
        [[ -z $("${git[@]}" --no-optional-locks status --porcelain -- "${files[@]}") ]]; then
        say "$version-$commit"
    else
        say "$version-$(cd -- "$here" && find "${files[@]}" -name __pycache__ -prune -o -type f -print0 |
            LC_ALL=C sort --zero-terminated | xargs --null sha256sum | sha256sum | cut -c1-10)"
    fi
}

# Makes the configuration from the example, once; whatever is there is never written again.
write_config() {
    [[ ! -e $config ]] || return 0
    # Whatever the example says, the data directory is the one made here, also below --root.
    awk -v directory="$data" '
        /^[a-z_]+:/ { section = $1 }
        section == "data:" && /^ +directory:/ { sub(/directory:.*/, "directory: " directory); done = 1 }
        { print }
        END { exit !done }
    ' "$here/config.example.yaml" >"$config.new" || die $EX_CONFIG "config.example.yaml has no data.directory"
    chmod 0640 "$config.new"
    own "root:$NAME" "$config.new"
    mv -- "$config.new" "$config"
    say "Configuration: $config"
}

# Runs the program of the new release as the service's user, with as few variables set as the service has: one that
# overrides a key (WLB__…) must not make a configuration look right that the service will refuse.
as_service() {
    local as=(runuser --user "$NAME" --)
    [[ -z $root ]] || as=()
    (
        umask 077
        cd -- "$data"
        "${as[@]}" env -i PATH="$PATH" HOME="$data" PYTHONUTF8=1 NICEGUI_STORAGE_PATH="$data/nicegui" \
            "$release/.venv/bin/$NAME" "$@" 9>&-
    )
}

# Exits unless the new release can start with the existing configuration.
check_config() {
    local code=0 stays="Nothing is in use yet."
    [[ ! -e $current ]] || stays="The release in use stays $(readlink -f "$current")."
    as_service check -c "$config" || code=$?
    case $code in
        0) ;;
        "$EX_CONFIG") die $EX_CONFIG "$config has the mistakes above; correct it and run this again. $stays" ;;
        *) die "$code" "the new release does not run on this machine, see above. $stays" ;;
    esac
}

# Puts the program into PATH, run as its own user so that no file of the data directory comes to belong to root.
write_command() {
    local command=$root/usr/local/bin/$NAME
    cat >"$command.new" <<COMMAND
#!/bin/sh
# Written by Worklist Broker's install.sh. Runs the release in use as the service's user: a file of the data
# directory that belonged to root would stop the service.
if [ "\$(id -un)" = $NAME ]; then
    exec /opt/$NAME/current/.venv/bin/$NAME "\$@"
fi
if [ "\$(id -u)" -ne 0 ]; then
    echo "$NAME: run this as root: sudo $NAME \$*" >&2
    exit $EX_NOPERM
fi
# The present directory may be closed to that user, /root for one.
runuser --user $NAME -- test -x . || cd /
export HOME=/var/lib/$NAME NICEGUI_STORAGE_PATH=/var/lib/$NAME/nicegui
umask 077
exec runuser --user $NAME -- /opt/$NAME/current/.venv/bin/$NAME "\$@"
COMMAND
    chmod 0755 "$command.new"
    mv -- "$command.new" "$command"
}

make_first_administrator() {
    local accounts
    if ! accounts=$(as_service account list -c "$config"); then
        say "The accounts cannot be read; see the message above."
        failed=1
    elif [[ -z $accounts ]]; then
        say "The first administrator; the password is shown only now:"
        as_service account add admin --name "Администратор" --role administrator --generate -c "$config" || failed=$?
    fi
}

write_unit() {
    cmp --quiet -- "$here/systemd/$NAME.service" "$unit" && return
    install --mode 0644 -- "$here/systemd/$NAME.service" "$unit"
    changed=yes
}

start_service() {
    if [[ -n $root ]]; then
        say "Installed below $root; systemd is left alone."
        return
    fi
    if ! systemd_runs; then
        say "systemd does not run here, so the service is installed but neither enabled nor started. Where it runs:"
        say "  systemctl enable --now $NAME"
        return
    fi
    [[ -z $changed ]] || systemctl daemon-reload
    systemctl enable --quiet "$NAME"
    # An earlier failure must not count against the new attempt.
    systemctl reset-failed "$NAME" 2>/dev/null || true
    # Returns once the program has said that its ports are open.
    if systemctl "$([[ -n $changed ]] && echo restart || echo start)" "$NAME"; then
        say "Running. The address of the screens is under web: in $config"
    else
        journalctl --unit "$NAME" --lines 20 --no-pager --output cat >&2 || true
        failed=1
    fi
}

# Keeps the release in use and the newest others, three in all.
prune_releases() {
    local path others=0
    while read -r path; do
        if [[ ! $path -ef $current ]] && ((++others >= KEPT_RELEASES)); then
            say "Removing the old release $path"
            rm -rf -- "$path"
        fi
    done < <(find "$opt/releases" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
}

systemd_runs() { [[ -z $root && -d /run/systemd/system ]]; }

# --- Python and packages ----------------------------------------------------------------------------------------

# Puts a Python that is new enough into `python`.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if python=$(command -v "$candidate") && suits "$python"; then
            return
        fi
    done
    if ((EUID == 0)) && [[ -z $root ]] && command -v apt-get >/dev/null && ! has_package python3; then
        apt_install python3 python3-venv && python=/usr/bin/python3 && suits "$python" && return
    fi
    die $EX_UNAVAILABLE "no Python 3.11 or newer found: install it (Debian 12 and newer: apt install python3" \
        "python3-venv) and run this again"
}

# Succeeds if a Python is new enough and, for the service, whether others than its owner can read it.
suits() {
    "$1" -c '
import os, sys
of_somebody = os.path.realpath(sys.base_prefix).startswith(("/root/", "/home/"))
sys.exit(sys.version_info < (3, 11) or (of_somebody and sys.argv[1] == "public"))
' "$python_kind" 2>/dev/null
}

# Makes a virtual environment with pip in it, also where Debian's python3-venv is missing.
make_venv() {
    local venv=$1 wheel
    find_python
    if ! "$python" -c 'import ensurepip' 2>/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
        apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" || true
    fi
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv --clear "$venv"
    else
        "$python" -m venv --clear --without-pip "$venv"
        wheel=$(find_pip) ||
            die $EX_UNAVAILABLE "this Python has no pip to make .venv with: apt install python3-venv (as root)," \
                "or set PIP_INDEX_URL, or give a wheelhouse (./install.sh --help)"
        # A wheel is a zip file, and Python runs pip out of it.
        "$venv/bin/python" "$wheel/pip" install --quiet --no-index "$wheel"
    fi
}

# Prints the path of a wheel of pip, got without pip: from this machine, else from where pip would get it, else by apt.
find_pip() {
    local wheel
    for wheel in "$wheelhouse"/pip-*.whl /usr/share/python-wheels/pip-*.whl; do
        if [[ -f $wheel ]]; then
            say "$wheel"
            return
        fi
    done
    [[ -z $wheelhouse ]] || return 1
    mkdir -p "$scratch/pip" && cd -- "$scratch/pip" || return 1
    "$python" -m pip download --quiet --no-deps pip >&2 2>/dev/null ||
        download_pip >&2 ||
        { apt-get -qq download python3-pip-whl && dpkg-deb --extract python3-pip-whl_*.deb .; } >&2 ||
        return 1
    wheel=$(find "$scratch/pip" -name 'pip-*.whl' -print -quit)
    [[ -n $wheel ]] && say "$wheel"
}

# Downloads the newest wheel of pip into the present directory from the index that pip's settings name, if they do.
download_pip() {
    "$python" - <<'PYTHON'
import configparser, hashlib, html.parser, os, re, ssl, sys, urllib.parse, urllib.request

home = os.path.expanduser("~")
settings = configparser.ConfigParser(interpolation=None)
settings.read(["/etc/xdg/pip/pip.conf", "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf"])
index = os.environ.get("PIP_INDEX_URL") or settings.get("global", "index-url", fallback="")
cert = os.environ.get("PIP_CERT") or settings.get("global", "cert", fallback=None)
if not index:
    sys.exit(1)
tls = ssl.create_default_context(cafile=cert)
page_url = index.rstrip("/") + "/pip/"
newest = ((), "")


class Links(html.parser.HTMLParser):
    """Keeps the newest final, not yanked wheel of a page of the simple repository API (PEP 503, PEP 592)."""

    def handle_starttag(self, tag, attributes):
        global newest
        link = dict(attributes)
        name = urllib.parse.urlsplit(link.get("href") or "").path.rpartition("/")[2]
        wheel = re.fullmatch(r"pip-([0-9.]+)-py3-none-any\.whl", name)
        if wheel and "data-yanked" not in link:
            version = tuple(map(int, wheel[1].split(".")))
            newest = max(newest, (version, urllib.parse.urljoin(page_url, link["href"])))


Links().feed(urllib.request.urlopen(page_url, timeout=60, context=tls).read().decode())
address, _, checksum = newest[1].partition("#")
wheel = urllib.request.urlopen(address, timeout=60, context=tls).read()
if checksum.startswith("sha256=") and hashlib.sha256(wheel).hexdigest() != checksum[7:]:
    sys.exit("the wheel of pip does not have the checksum that the index gives")
with open(urllib.parse.urlsplit(address).path.rpartition("/")[2], "wb") as file:
    file.write(wheel)
PYTHON
}

# Installs exactly the packages of a lock, each checked by its hash, then the program itself out of a source tree.
install_locked() {
    local venv=$1 lock=$2
    shift 2
    pip_install "$venv" --require-hashes --requirement "$lock"
    # The lock has setuptools, so that nothing else is downloaded to build with.
    pip_install "$venv" --no-deps --no-build-isolation "$@"
}

pip_install() {
    local venv=$1 from=()
    shift
    [[ -z $wheelhouse ]] || from=(--no-index --find-links "$wheelhouse")
    # pip's output is worth reading only if it fails.
    if ! "$venv/bin/python" -m pip install --quiet "${from[@]}" "$@" >"$scratch/pip.log" 2>&1; then
        cat -- "$scratch/pip.log" >&2
        die $EX_UNAVAILABLE "the Python packages could not be installed, see above"
    fi
}

has_package() { [[ $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    say "Installing by apt: $*"
    "${apt[@]}" update && "${apt[@]}" install --yes --no-install-recommends "$@" >/dev/null
}

# Sourced, it only defines its functions, for the tests.
[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
