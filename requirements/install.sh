#!/bin/sh
# Make .venv hold what requirements/$1.txt locks, and polychat itself, editable. The Makefile calls it; PYTHON may name a Python.
set -eu
locked=$1

sound() {
    # A venv whose making was cut short lacks its Python or its pip (uv's need no pip: the lock brings it).
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)' 2>/dev/null &&
        { with_uv || .venv/bin/python -m pip --version >/dev/null 2>&1; }
}

with_uv() { command -v uv >/dev/null 2>&1; }

create() {
    if with_uv; then
        uv venv --quiet --python "${PYTHON:->=3.11}" .venv
        return
    fi
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11 python; fi
    for candidate; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        "$candidate" -m venv .venv && return
        rm -rf .venv  # what is missing (on Debian: python3-venv) it has said itself
    done
    echo "polychat needs Python 3.11 or newer with venv; looked for: $*. Install one, or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
}

fill() {
    if with_uv; then
        uv pip install --quiet --python .venv/bin/python "$@"
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

if [ -e .venv/.unfinished ] || ! sound; then
    rm -rf .venv
    create
fi
touch .venv/.unfinished
echo "Setting up .venv from requirements/$locked.txt, once …" >&2
fill --require-hashes -r "requirements/$locked.txt"
fill --no-deps --no-build-isolation -e .
rm .venv/.unfinished
touch ".venv/.$locked"
