#!/bin/bash
# Installs the foreign programs that test/peers and `npm run bench` run for real, from Debian. Quick when all are there.
# Starts none of the services that come with them, so that their ports stay free for the tests.
set -euo pipefail

packages=(
  docker-registry
  skopeo
  podman
  buildah
  docker.io
  containerd
  apache2-utils
  openssl
  curl
  nginx
  haproxy
  caddy
  wrk
  chromium
  strace
  iproute2
)
policy=/usr/sbin/policy-rc.d
kept=

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A policy-rc.d that answers 101 forbids package scripts to start services.
forbid_starts() {
  if [ -e "$policy" ] || [ -L "$policy" ]; then
    kept=$(mktemp "$policy.XXXXXX")
    cp --archive --remove-destination "$policy" "$kept"
  fi
  trap restore_starts EXIT
  # It may be a link; what it points to is not ours to write to.
  rm -f "$policy"
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

restore_starts() {
  rm -f "$policy"
  if [ -n "$kept" ]; then mv --no-target-directory "$kept" "$policy"; fi
}

if [ "$(id -u)" -ne 0 ]; then
  echo 'install-peers: installing Debian packages needs root: sudo npm run peers' >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "install-peers: no apt-get here; install these yourself: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo 'install-peers: all peers are installed'
  exit 0
fi

forbid_starts
apt-get update
# From Debian 13 on the docker command is a package of its own.
if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
  missing+=(docker-cli)
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
