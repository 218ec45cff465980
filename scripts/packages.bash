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
