# What scripts share. Sourced by bash.

# fail SENTENCE: says what is wrong, and ends.
fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Whether these packages can be installed here.
can_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# install PACKAGE...: from Debian, without starting any service.
install() {
  local policy=/usr/sbin/policy-rc.d ours=
  printf 'Installing %s\n' "$*" >&2
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    ours=1
  fi
  local done=0
  {
    DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  } || done=$?
  [ -z "$ours" ] || rm -f "$policy"
  [ "$done" = 0 ] || fail "apt-get could not install $*. Install it by hand, then run this again."
}

# BLMPOP came with 7.0. "Redis server v=7.0.15 sha=…"
has_redis() {
  command -v redis-server >/dev/null || return
  local version
  version=$(redis-server --version | sed -n 's/.* v=\([0-9][0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 7 ]
}
has_postgres() { command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
has_python() { command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; }
has_pip() { python3 -m pip --version >/dev/null 2>&1; }
has_registry() { command -v docker-registry >/dev/null; }
has_skopeo() { command -v skopeo >/dev/null; }
has_umoci() { command -v umoci >/dev/null; }
has_compiler() { command -v cc >/dev/null; }

# need TEST PACKAGE SENTENCE: passes the test, installs the package, or fails with the sentence.
need() {
  "$1" && return
  can_install || fail "$3"
  install "$2"
  "$1" || fail "$3"
}
