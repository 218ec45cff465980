# Finds programs, or installs the Debian packages that have them. Sourced by scripts, which say by `fail` what is missing.
# shellcheck shell=bash

# Installs packages, as root on Debian and Ubuntu. Whoever calls it looks whether that helped.
install_packages() { # PACKAGE...
  ((EUID == 0)) && command -v apt-get >/dev/null || return 0
  printf '%s: installing %s\n' "${0##*/}" "$*" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 </dev/null || true
  apt-get install -qq --yes --no-install-recommends "$@" >&2 </dev/null || true
  hash -r
}

# Finds a program, or installs its package.
need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null && return 0
  install_packages "$2"
  command -v "$1" >/dev/null || fail "$1 is missing: install it (Debian and Ubuntu: apt-get install $2)"
}

has_python() {
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Makes DIRECTORY a Python environment with what REQUIREMENTS lists, unless it is one already. False if that is not possible.
python_tools() { # DIRECTORY REQUIREMENTS
  cmp -s -- "$2" "$1/installed" && "$1/bin/python" -c '' 2>/dev/null && return 0
  has_python || install_packages python3 python3-venv
  has_python || return 1
  printf '%s: installing what %s lists\n' "${0##*/}" "${2#"$PWD"/}" >&2
  rm -rf -- "$1"
  python3 -m venv "$1" &&
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" >&2 </dev/null &&
    cp -- "$2" "$1/installed"
}
