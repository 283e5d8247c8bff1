#!/bin/bash
# Builds the image and uses it as docker-compose.yml does, with Debian's docker engine: not root,
# healthy, on a port of its own and on 443, docker push and pull through it, SIGTERM drains.
# No image can be pulled where this runs, so the base is a stand-in made of this machine's files.
# Needs root. Exit code 0 when all holds (or, with SKIP, when there is no engine), else 1.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in dockerd docker docker-registry openssl curl ip nsenter; do
  if ! PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null; then
    echo "SKIP: the image is not tried, $tool is not installed (npm run peers)"
    exit 0
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo 'SKIP: the image is not tried, a docker engine needs root'
  exit 0
fi

export PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin
work=$(mktemp -d /tmp/try-image.XXXXXX)
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client
# The classic builder needs no plugin.
export DOCKER_BUILDKIT=0
# A /30 of the range for benchmarks (RFC 2544) joins this machine to the container under trial.
net=198.18.$(($$ % 256))
near=$net.1
far=$net.2
link=tg$(($$ % 100000))
failures=0
engine='' backend=''

cleanup() {
  local code=$?
  trap - EXIT
  set +e
  timeout 30 docker rm --force trial >/dev/null 2>&1
  for process in $backend $engine; do
    kill "$process" 2>/dev/null
    wait "$process" 2>/dev/null
  done
  ip link delete "$link" 2>/dev/null
  if [ "$code" -ne 0 ] && [ "$failures" -eq 0 ]; then
    echo "FAIL  stopped early; last lines of the engine's log:"
    tail -n 5 "$work/engine.log" 2>/dev/null
  fi
  rm -rf --one-file-system "$work"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# check TITLE COMMAND…: one line of the report; a failed command's output follows it.
check() {
  local title=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok    $title"
  else
    failures=$((failures + 1))
    echo "FAIL  $title"
    sed 's/^/      /' "$work/output"
  fi
}

# within SECONDS COMMAND…: tries until the command succeeds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "not within the time: $*"
      "$@" 2>&1
      return 1
    fi
    sleep 0.2
  done
}

equal() {
  [ "$1" = "$2" ] || { echo "expected: $1"; echo "found:    $2"; return 1; }
}

# ------------------------------------------------------------------------------------------ engine

# In a mount namespace of its own: what the engine writes into /etc/docker stays in $work.
start_engine() {
  mkdir -p "$work/etc-docker" "$work/client" /etc/docker
  unshare --mount sh -c 'mount --bind "$1" /etc/docker && shift && exec "$@"' sh \
    "$work/etc-docker" dockerd --host "$DOCKER_HOST" --data-root "$work/data" \
    --exec-root "$work/exec" --pidfile "$work/engine.pid" \
    --bridge=none --iptables=false --ip6tables=false >"$work/engine.log" 2>&1 &
  engine=$!
  within 60 docker version || { tail -n 5 "$work/engine.log"; return 1; }
}

# ---------------------------------------------------------------------------------------- stand-in

# As little of node:24-bookworm-slim as the Dockerfile uses: node, npm, a shell, certificates.
make_base() {
  local root=$work/base npm tool
  npm=$(dirname "$(dirname "$(readlink -f "$(type -P npm)")")")
  mkdir -p "$root"/{app,tmp,etc/ssl/certs,usr/local/bin,usr/local/lib,usr/bin,usr/lib,usr/lib64}
  ln -s usr/bin "$root/bin"
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  chmod 1777 "$root/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnode:x:1000:\n' >"$root/etc/group"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  cp -L node_modules/node/bin/node "$root/usr/local/bin/node"
  cp -RL "$npm" "$root/usr/local/lib/npm"
  ln -s ../lib/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  for tool in sh env id ln chmod mkdir rm chown; do cp -L "$(type -P "$tool")" "$root/usr/bin/"; done
  # `ldd` prints `name => /path (address)` and, for the loader, `/path (address)`.
  ldd "$root"/usr/bin/* "$root/usr/local/bin/node" | grep -o '/lib[^ ]*' | sort -u |
    while read -r library; do
      mkdir -p "$root$(dirname "$library")"
      cp -L "$library" "$root$library"
    done
  # Name lookup is loaded at run time, and so not in ldd's list.
  cp -L /lib/*-linux-gnu*/libnss_{dns,files}.so.2 /lib/*-linux-gnu*/libresolv.so.2 \
    "$(dirname "$(find "$root/usr/lib/" -name libc.so.6)")/"
  # npm, too, trusts what this machine trusts.
  tar -C "$root" -c . |
    docker import --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
      - stand-in:node >/dev/null
  rm -rf "$root"
}

# ------------------------------------------------------------------------------------------- files

make_files() {
  mkdir -p "$work"/{certs,auth,image}
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=tidegate -addext "subjectAltName=IP:$far" \
    -keyout "$work/certs/domain.key" -out "$work/certs/domain.crt" 2>/dev/null
  # dockerd in the namespace above reads what the bind mount shows it.
  for place in "$far" "$far:44301"; do
    mkdir -p "$work/etc-docker/certs.d/$place"
    cp "$work/certs/domain.crt" "$work/etc-docker/certs.d/$place/ca.crt"
  done
  cat >"$work/registry.yml" <<END
version: 0.1
http: {addr: 127.0.0.1:5000}
storage: {filesystem: {rootdirectory: $work/store}}
END
  password=$(openssl rand -hex 16)
  chown -R 1000:1000 "$work/certs" "$work/auth"
  chmod 600 "$work/certs/domain.key"
  head -c 33554432 /dev/urandom >"$work/image/noise"
  tar -C "$work/image" -c noise | docker import - trial-image:1 >/dev/null
}

add_user() {
  docker run --rm --interactive --network none --volume "$work/auth:/auth" \
    tidegate htpasswd add /auth/htpasswd alice <<<"$password"
}

# ----------------------------------------------------------------------------------------- running

# The service `tidegate` of docker-compose.yml as options of `docker run`, one word a line.
compose_options() {
  node --input-type=module --eval '
    import { readFileSync } from "node:fs"
    import { parse } from "yaml"
    const { tidegate } = parse(readFileSync("docker-compose.yml", "utf8")).services
    const options = [
      ...Object.entries(tidegate.environment).map(([name, value]) => `--env=${name}=${value}`),
      ...tidegate.volumes.map((volume) => `--volume=${volume.replace(/^\./, process.argv[1])}`),
      ...tidegate.cap_drop.map((capability) => `--cap-drop=${capability}`),
      ...tidegate.security_opt.map((option) => `--security-opt=${option}`),
      ...Object.entries(tidegate.sysctls).map(([name, value]) => `--sysctl=${name}=${value}`),
    ]
    if (tidegate.read_only) options.push("--read-only")
    console.log(options.join("\n"))' "$work"
}

# start_trial [OPTION…]: the container under trial in a network of its own, with registry:2's
# Debian build as the host `registry` that only this container can reach.
start_trial() {
  local options process
  mapfile -t options < <(compose_options)
  docker run --detach --name trial --network none --add-host registry:127.0.0.1 \
    --health-interval=1s "${options[@]}" "$@" tidegate >/dev/null
  process=$(docker inspect --format '{{.State.Pid}}' trial)
  ip link add "$link" type veth peer name eth0 netns "$process"
  ip address add "$near/30" dev "$link"
  ip link set "$link" up
  nsenter --target "$process" --net ip address add "$far/30" dev eth0
  nsenter --target "$process" --net ip link set eth0 up
  env --ignore-environment "PATH=$PATH" nsenter --target "$process" --net \
    docker-registry serve "$work/registry.yml" >"$work/backend.log" 2>&1 &
  backend=$!
}

end_trial() {
  docker rm --force trial >/dev/null
  kill "$backend" 2>/dev/null || true
  wait "$backend" 2>/dev/null || true
  backend=''
  ip link delete "$link" 2>/dev/null || true
}

fetch() {
  curl --silent --show-error --fail --max-time 60 --cacert "$work/certs/domain.crt" "$@"
}

is_healthy() {
  equal healthy "$(docker inspect --format '{{.State.Health.Status}}' trial)" ||
    { docker inspect --format '{{json .State.Health.Log}}' trial; docker logs trial; return 1; }
}

is_not_root() {
  equal 1000:1000 "$(docker exec trial id -u):$(docker exec trial id -g)" || return
  equal 1000 "$(awk '/^Uid:/ { print $2 }' "/proc/$(docker inspect --format '{{.State.Pid}}' trial)/status")"
}

# push_and_pull HOST[:PORT]: the same digest comes back after the local copy is gone.
push_and_pull() {
  local name=$1/trial/image:1 pushed pulled
  docker login --username alice --password-stdin "$1" <<<"$password" || return
  docker tag trial-image:1 "$name" && docker push --quiet "$name" || return
  pushed=$(docker inspect --format '{{index .RepoDigests 0}}' "$name") || return
  docker rmi "$name" >/dev/null && docker pull --quiet "$name" || return
  pulled=$(docker inspect --format '{{index .RepoDigests 0}}' "$name") || return
  docker rmi "$name" >/dev/null
  equal "$pushed" "$pulled"
}

wrong_password_is_refused() {
  equal 401 "$(fetch --no-fail --user alice:wrong --output /dev/null --write-out '%{http_code}' "https://$1/v2/")"
}

is_stopping() {
  docker logs trial 2>&1 | grep --count '"msg":"stopping'
}

# A download of 32 MiB is under way, slowly, when SIGTERM arrives: it ends whole, then exit code 0.
drains_on_sigterm() {
  local base=https://$1/v2/trial/image digest download
  digest=$(fetch --user "alice:$password" \
    --header 'Accept: application/vnd.docker.distribution.manifest.v2+json' "$base/manifests/1" |
    node -p 'JSON.parse(fs.readFileSync(0, "utf8")).layers[0].digest') || return
  fetch --user "alice:$password" --limit-rate 4M --output "$work/layer" "$base/blobs/$digest" &
  download=$!
  within 20 test -s "$work/layer" || return
  docker kill --signal TERM trial >/dev/null
  within 20 is_stopping || return
  kill -0 "$download" || { echo 'the download was over before SIGTERM'; return 1; }
  wait "$download" || { echo 'the download broke off'; return 1; }
  equal "$digest" "sha256:$(sha256sum <"$work/layer" | cut -d ' ' -f 1)" || return
  equal 0 "$(docker wait trial)"
}

try_on() {
  local where=$1
  shift
  echo "--- on $where"
  start_trial "$@"
  check 'HEALTHCHECK becomes healthy' within 30 is_healthy
  check 'it runs as user 1000, not root' is_not_root
  check '`tidegate check` in it finds nothing wrong' docker exec trial tidegate check
  check 'the certificate verifies and the registry behind answers' within 20 fetch "https://$where/readyz"
  check 'a wrong password is refused' wrong_password_is_refused "$where"
  check 'docker login, push, and pull of the same digest' push_and_pull "$where"
  check 'SIGTERM lets a download finish, then exit code 0' drains_on_sigterm "$where"
  end_trial
}

build() {
  # The proxy variables are the builder's own arguments; without a value they pass on ours.
  timeout 900 docker build --network host --build-arg NODE_IMAGE=stand-in:node \
    --build-arg HTTPS_PROXY --build-arg NO_PROXY --tag tidegate .
}

check 'a docker engine starts' start_engine
if [ "$failures" -ne 0 ]; then exit 1; fi
make_base
check 'the image builds' build
if [ "$failures" -ne 0 ]; then exit 1; fi
docker image inspect --format '      {{.Architecture}}, {{.Size}} bytes, user {{.Config.User}}' tidegate
make_files
check 'the image sets passwords: tidegate htpasswd add' add_user
try_on "$far:44301" --env=REGISTRY_HTTP_ADDR=0.0.0.0:44301
try_on "$far"

if [ "$failures" -ne 0 ]; then
  echo "$failures failed"
  exit 1
fi
echo 'the image works'
