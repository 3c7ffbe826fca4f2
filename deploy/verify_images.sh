#!/usr/bin/env bash
# Runs every instruction of deploy/Dockerfile without a Docker engine: buildah, on a stand-in for the base image
# that debootstrap makes of Debian's own packages, and then starts AdaSlide in each image.
#
# What it shows: the instructions run, the files are there, the process is no root, `doctor` is content.
# What it does not: the official base image, other people's images, networks, a Docker engine.
#
#   TARGETS="api worker embedded"   worker-gpu fetches several GB of torch; name it to build it too
#   BUILDAH_OPTIONS="..."           more options for `buildah build`, for a mirror and the like
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BASE=docker.io/library/python:3.11-slim-bookworm
readonly TARGETS=${TARGETS:-api worker embedded}
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

missing=()
for tool in buildah debootstrap; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} != 0 ] || [ "$(id -u)" != 0 ]; then
  echo "not verified: this needs root and, on Debian: apt-get install buildah debootstrap" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
  echo "making a stand-in for $BASE"
  if [ -n "${ROOTFS:-}" ]; then
    root=$ROOTFS
  else
    root=$work/root
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
      bookworm "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log"
  fi
  for name in python pip; do
    printf '#!/bin/sh\nexec /usr/bin/%s3 "$@"\n' "$name" >"$root/usr/local/bin/$name"
    chmod 0755 "$root/usr/local/bin/$name"
  done
  rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" / >/dev/null
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$container"
  buildah commit --quiet --rm "$container" "$BASE" >/dev/null
fi

# The whole service, until every part of it is ready.
serve_once() {
  local log=$work/serve.log address
  buildah run --user 10001:10001 --env ADASLIDE_SERVING__PORT=0 --env ADASLIDE_METRICS__PORT=0 "$1" -- \
    timeout --signal TERM 90 adaslide serve >"$log" 2>&1 &
  local server=$!
  for _ in $(seq 60); do
    address=$(sed -n 's/.*listens at http:[^:]*:\([0-9]*\).*/127.0.0.1:\1/p' "$log")
    if [ -n "$address" ] && buildah run "$1" -- python -c \
      "import urllib.request as u; print(u.urlopen('http://$address/readyz', timeout=9).read().decode())" \
      2>/dev/null; then
      pkill -TERM -P "$server" || true
      wait "$server" || true
      return 0
    fi
    sleep 1
  done
  cat "$log" >&2
  return 1
}

for target in $TARGETS; do
  image=localhost/adaslide/$target:verify
  echo "building $target"
  # shellcheck disable=SC2086  # several options
  buildah build --quiet --format docker --pull-never --layers --network host ${BUILDAH_OPTIONS:-} \
    --target "$target" --tag "$image" --file deploy/Dockerfile . >/dev/null

  container=$(buildah from --pull-never "$image")
  inside() { buildah run --user 10001:10001 "$container" -- "$@"; }
  [ "$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container")" = 10001:10001 ]
  [ "$(inside id -u)" = 10001 ]
  inside adaslide --help >/dev/null
  inside adaslide --version
  inside adaslide doctor
  if [ "$target" != worker-gpu ] && inside python -c 'import torch' 2>/dev/null; then
    echo "torch is in $target" >&2
    exit 1
  fi
  if inside python -c 'import pip' 2>/dev/null; then
    echo "pip is in $target" >&2
    exit 1
  fi
  if [ "$target" = embedded ]; then
    serve_once "$container"
  fi
  buildah rm "$container" >/dev/null
  echo "$target: built and started"
done
echo "verified on a stand-in base; never run on a Docker engine by this script"
