# Sourced by the other scripts: makes .venv and installs Headway into it, editable, with the extras named.
# Works where the system's Python is externally managed or lacks ensurepip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
VENV="${HEADWAY_VENV:-.venv}"

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  echo "Headway needs Python 3.11 or newer; none was found. Set PYTHON to one." >&2
  return 1
}

# install EXTRAS [PIP ARGUMENTS …]: once for a given set of inputs, told by a stamp
install() {
  local extras="$1" python stamp want
  shift
  [ -x "$VENV/bin/python" ] || {
    python="$(find_python)"
    "$python" -m venv --without-pip "$VENV"
  }
  want="$(cat pyproject.toml constraints.txt scripts/requirements-test.txt | cksum) $extras $*"
  stamp="$VENV/.headway-$(printf '%s' "$extras" | tr -c 'a-z' _)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing what is needed into $VENV (once) …" >&2
    python="$(find_python)"
    if ! "$python" -m pip --version >/dev/null 2>&1; then
      echo "Python at $python has no pip. On Debian: apt-get install python3-pip" >&2
      return 1
    fi
    "$python" -m pip --python "$VENV/bin/python" install --quiet -c constraints.txt --editable ".[$extras]" "$@"
    printf '%s' "$want" >"$stamp"
  fi
  PATH="$PWD/$VENV/bin:$PATH"
  case "$VENV" in /*) PATH="$VENV/bin:$PATH" ;; esac
  export PATH
}
