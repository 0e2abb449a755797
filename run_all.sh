#!/usr/bin/env bash
# The one command of the compendium: makes the environment, then runs, resumes or tests. See ./run_all.sh --help
set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD
[ "$CALLED_FROM" = "$ROOT" ] || export HELPERS_CALLED_FROM=$CALLED_FROM  # what a caller's paths are below
VENV=$ROOT/.venv
LOG=$ROOT/.venv-setup.log
FREE_GB=4  # the CPU build of torch and the rest need about 3; the CUDA build needs 8

fail() { echo "run_all.sh: $*" >&2; exit 3; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first Python that is new enough; $PYTHON, when set, is the only candidate.
find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer among ${candidates[*]}; install one, or name one: PYTHON=/path/to/python3 ./run_all.sh"
}

# The lock's content and the Python: another of either makes the environment stale.
stamp() { "$1" -c 'import hashlib, sys; print(hashlib.sha256(open("requirements.lock", "rb").read()).hexdigest(), sys.version.split()[0])'; }

ready() { [ -x "$VENV/bin/python" ] && [ -f "$VENV/.ready" ] && [ "$(cat "$VENV/.ready")" = "$(stamp "$VENV/bin/python" 2>/dev/null)" ]; }

set_up() {
    local python=$1 free
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module; install it (on Debian and Ubuntu: apt install python3-venv)"
    [ -w "$ROOT" ] && : 2>/dev/null >"$LOG" || fail "$ROOT cannot be written; copy the compendium to a folder of your own"
    free=$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge "$FREE_GB" ] || fail "$free GB free at $ROOT, the environment needs $FREE_GB GB (8 GB with CUDA); free some space"
    echo "setting up .venv with $("$python" --version) (some minutes, once; details in ${LOG##*/})"
    rm -f "$VENV/.ready"  # only a complete environment has it
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || ! new_enough "$VENV/bin/python"; then
        "$python" -m venv --clear "$VENV" >>"$LOG" 2>&1 || fail "venv could not be made: $(tail -n 1 "$LOG") (${LOG##*/})"
    fi
    "$VENV/bin/python" -m pip install --use-pep517 --disable-pip-version-check -r requirements.lock >>"$LOG" 2>&1 || explain
    "$VENV/bin/python" -m pip install --no-deps --disable-pip-version-check -e . >>"$LOG" 2>&1 || explain
    stamp "$VENV/bin/python" >"$VENV/.ready"
}

# One line for what pip could not do.
explain() {
    if grep -q "No space left on device" "$LOG"; then
        fail "no space left while installing; free some and start again (${LOG##*/})"
    elif grep -qE "NewConnectionError|Name or service not known|Temporary failure in name resolution|ConnectTimeout|Connection refused|Network is unreachable|ProxyError|Max retries exceeded|from versions: none" "$LOG"; then
        fail "the package index cannot be reached; check the network or pip's settings and start again (${LOG##*/})"
    fi
    fail "pip failed: $(grep -E '^ *ERROR' "$LOG" | head -n 1) (${LOG##*/})"
}

# An active conda environment made from environment.yml is used as it is.
name=$(sed -n 's/^name: *//p' environment.yml)
if [ "${CONDA_DEFAULT_ENV:-}" = "$name" ] && [ -x "${CONDA_PREFIX:-}/bin/python" ]; then
    bin=$CONDA_PREFIX/bin
else
    bin=$VENV/bin
    if ! ready; then
        python=$(find_python)
        # A misspelt option is told now, not after the installation; help needs no environment at all.
        [ "${1:-}" = test ] || PYTHONPATH=src "$python" -m runner.options "$@" || exit $?
        for word in "$@"; do case $1:$word in test:*) ;; *:-h | *:--help) exit 0 ;; esac; done
        set_up "$python"
    fi
fi
export PYTHONPATH=$ROOT/src
for name in HELPERS_CACHE HELPERS_MIRROR; do  # stages start in other folders
    [[ ${!name:-/} = /* ]] || export "$name=$CALLED_FROM/${!name}"
done

if [ "${1:-}" = test ]; then
    shift
    unset HELPERS_CALLED_FROM
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    exec "$bin/python" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
fi
exec "$bin/python" -m runner.front_door "$@"
