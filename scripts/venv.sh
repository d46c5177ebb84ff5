# Sourced by the other scripts: makes .venv and installs Headway into it, editable, with the extras named.
# Works where the system's Python is externally managed or lacks ensurepip. PYTHON says which interpreter to take,
# HEADWAY_VENV where its packages go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
VENV="${HEADWAY_VENV:-.venv}"

# Names under which an interpreter may be found: the caller's, what is on PATH, what pyenv keeps beside it (its shims on
# PATH exist for every version and fail for those that are not selected).
candidates() {
  [ -z "${PYTHON:-}" ] || printf '%s\n' "$PYTHON"
  printf '%s\n' python3
  compgen -c python3. | grep -E '^python3\.[0-9]+$' | sort -u -t . -k 2,2nr || true
  compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.*/bin/python3" | sort -rV || true
}

# probe PYTHON: "3.12 /path" if it runs and is a CPython that Headway works on
probe() {
  "$1" 2>/dev/null -c '
import sys
if sys.version_info < (3, 11) or sys.implementation.name != "cpython" or sys.version_info.releaselevel != "final":
    sys.exit(1)
print("%d.%d" % sys.version_info[:2], sys.executable)'
}

# interpreters: what probe says of every version that is found, the preferred one first
interpreters() {
  local candidate found seen=" "
  while IFS= read -r candidate; do
    found="$(probe "$candidate")" || continue
    case "$seen" in *" ${found%% *} "*) continue ;; esac
    seen="$seen${found%% *} "
    printf '%s\n' "$found" 2>/dev/null || return 0 # the reader had enough
  done < <(candidates)
}

find_python() {
  local version path
  if [ -n "${PYTHON:-}" ] && ! probe "$PYTHON" >/dev/null; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer that runs." >&2
    return 1
  fi
  if read -r version path < <(interpreters); then
    printf '%s\n' "$path"
    return 0
  fi
  echo "Headway needs Python 3.11 or newer; none was found. Set PYTHON to one." >&2
  return 1
}

# find_pip: an interpreter whose pip can install into the venv; it need not be the venv's own
find_pip() {
  local version path
  while read -r version path; do
    if "$path" -m pip --python "$VENV/bin/python" --version >/dev/null 2>&1; then
      printf '%s\n' "$path"
      return 0
    fi
  done < <(interpreters)
  echo "None of the Pythons found has pip 22.3 or newer. On Debian: apt-get install python3-pip" >&2
  return 1
}

# make_venv: the virtual environment; made anew if the interpreter that it was made from is gone, or PYTHON is another
make_venv() {
  local found python clear=""
  if [ -f "$VENV/pyvenv.cfg" ] && found="$(probe "$VENV/bin/python")"; then
    [ -n "${PYTHON:-}" ] || return 0
    python="$(probe "$PYTHON")" && [ "${python%% *}" = "${found%% *}" ] && return 0
  fi
  [ ! -f "$VENV/pyvenv.cfg" ] || clear="--clear"
  python="$(find_python)"
  "$python" -m venv $clear --without-pip "$VENV"
}

# install EXTRAS [PIP ARGUMENTS …]: once for a given set of inputs, told by a stamp
install() {
  local extras="$1" pip stamp want version
  shift
  make_venv
  version="$(probe "$VENV/bin/python")"
  version="${version%% *}"
  want="$(cat pyproject.toml constraints.txt scripts/requirements-test.txt | cksum) $version $extras $*"
  stamp="$VENV/.headway-$(printf '%s' "$extras" | tr -c 'a-z' _)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing what is needed into $VENV for Python $version (once) …" >&2
    pip="$(find_pip)"
    "$pip" -m pip --python "$VENV/bin/python" install --quiet -c constraints.txt --editable ".[$extras]" "$@"
    printf '%s' "$want" >"$stamp"
  fi
  case "$VENV" in
    /*) PATH="$VENV/bin:$PATH" ;;
    *) PATH="$PWD/$VENV/bin:$PATH" ;;
  esac
  export PATH
}
