# Sourced by demo and check, from the repository's root: makes .venv, or takes the one that is
# there, and leaves its interpreter in $python. PYTHON names the interpreter to make it with.

stop() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

make_environment() {
    local chosen=${PYTHON:-python3}
    command -v "$chosen" >/dev/null 2>&1 ||
        stop "$chosen is not installed; install Python 3.10 or newer, or name one: PYTHON=/path/to/python3 $0"
    local version
    version=$(version_of "$chosen") ||
        stop "$chosen does not run; name another interpreter: PYTHON=/path/to/python3 $0"
    usable "$chosen" ||
        stop "$chosen is Python $version, and 3.10 or newer is needed; name another: PYTHON=/path/to/python3 $0"
    "$chosen" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$chosen has no venv; install it (Debian and Ubuntu: apt install python$version-venv) or name another: PYTHON=/path/to/python3 $0"
    printf 'making .venv with Python %s\n' "$version"
    "$chosen" -m venv --clear .venv || stop "could not make .venv with $chosen; see the lines above"
}

# What the caller's shell carries must not leak into the environment.
unset PYTHONPATH PYTHONHOME
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

python=.venv/bin/python
if usable "$python" && "$python" -m pip --version >/dev/null 2>&1; then
    if [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$(version_of "$python")" ]; then
        stop ".venv has Python $(version_of "$python"), not that of PYTHON=$PYTHON; delete .venv to change it"
    fi
else
    make_environment
fi
