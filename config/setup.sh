# What ./run and ./test need before Python can take over: both source it. Does only what is missing: the second time
# it costs a tenth of a second. Alone it installs and stops:   bash config/setup.sh

SYSTEM_PACKAGES=(ffmpeg libimage-exiftool-perl bubblewrap file ca-certificates
  libgl1 libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core
  tesseract-ocr-eng tesseract-ocr-ara)
COMMANDS=(ffmpeg ffprobe exiftool bwrap file)

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

need_python() {
  command -v python3 >/dev/null || die "Amparo needs Python 3.11 or newer, and there is no python3 here." \
    "On Debian 12, Ubuntu 24.04 or newer: sudo apt-get install python3 python3-venv"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Amparo needs Python 3.11 or newer; this is" \
    "$(python3 --version 2>&1). Debian 12 and Ubuntu 24.04 bring a newer one; put it first in PATH and try again."
}

# need_packages NAME...: install those that are missing, or say the one line that does and stop.
need_packages() {
  local missing=() name command present
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    for command in "${COMMANDS[@]}"; do command -v "$command" >/dev/null || missing+=("$command"); done
    ((${#missing[@]} == 0)) || die "This is not Debian or Ubuntu, so nothing was installed. Missing programs:" \
      "${missing[*]}. Install what the Debian packages ${*} hold, then try again."
    return 0
  fi
  python3 -c 'import ensurepip' 2>/dev/null || set -- python3-venv "$@"
  present=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for name; do [[ $'\n'$present$'\n' == *$'\n'"installed $name"$'\n'* ]] || missing+=("$name"); done
  ((${#missing[@]})) || return 0
  local root=()
  if ((EUID)); then
    root=(sudo)
    sudo -n true 2>/dev/null || die "Some system packages are missing. Run this once, then try again:"$'\n\n'\
"  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"$'\n'
  fi
  say "Installing system packages: ${missing[*]}"
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
  mkdir -p .venv
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >.venv/apt.log 2>&1 ||
    { tail -n 20 .venv/apt.log >&2; die "apt could not install them (all of its output: .venv/apt.log)."; }
}

# need_python_packages FILE: what the locked file names, by hash, into .venv.
need_python_packages() {
  local lock=$1 stamp sum
  stamp=.venv/$(basename "$lock").installed
  sum="$(sha256sum <"$lock") $(python3 -c 'import sys; print(sys.version)')"
  [[ -f $stamp && $(<"$stamp") == "$sum" ]] && .venv/bin/python -c '' 2>/dev/null && return 0
  say "Installing Python packages from $lock (the first time some gigabytes: torch)"
  .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r config/uv.txt
  use_the_settings_of_pip
  .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes --strict -r "$lock"
  printf '%s' "$sum" >"$stamp"
}

# uv reads no pip configuration: hand it the index, the certificates and the wheel folder that pip was told of.
use_the_settings_of_pip() {
  local ask=(.venv/bin/python -m pip config get)
  export UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
  local index=${PIP_INDEX_URL:-$("${ask[@]}" global.index-url 2>/dev/null || true)}
  local certs=${PIP_CERT:-$("${ask[@]}" global.cert 2>/dev/null || true)}
  [[ -z $index || -n ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]] || export UV_DEFAULT_INDEX=$index
  [[ -z $certs || -n ${SSL_CERT_FILE:-} ]] || export SSL_CERT_FILE=$certs
  [[ ${PIP_NO_INDEX:-0} == 0 ]] || export UV_NO_INDEX=1 UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  cd "$(dirname "$(realpath "$0")")/.."
  need_python
  need_packages "${SYSTEM_PACKAGES[@]}"
  need_python_packages "${AMPARO_REQUIREMENTS:-requirements.txt}"
fi
