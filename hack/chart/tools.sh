# The tools of the chart's checks; sourced. Sets PATH, and $unittest and $schemas where they are asked for.
# shellcheck shell=bash

root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
chart=$root/charts/taskqueue
crd=$root/crds/taskqueues.taskqueue.dev.yaml
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/taskqueue-chart

fail() { echo "chart: $*" >&2; exit 1; }

# need TOOL HOW: fails, naming the tool and how to get it, when it is missing.
need() { command -v "$1" >/dev/null || fail "$1 is missing; $2"; }

# cluster_tools TOOL...: the tools of hack/tools, built when they are not yet.
cluster_tools() {
  "$root/hack/tools/build" "$@" >&2 || fail "could not build: $*"
  PATH=$("$root/hack/tools/bin-dir"):$PATH
}

# build_unittest: sets $unittest, the helm-unittest of the module beside this file.
build_unittest() {
  local module=$root/hack/chart/unittest
  unittest=$cache/unittest-$(cat "$module"/go.{mod,sum} | sha256sum | cut -c1-12)-$(uname -m)
  [[ ! -x $unittest ]] || return 0
  need go "install Go 1.26 or newer (https://go.dev/dl)"
  mkdir -p "$cache"
  (
    cd "$module"
    CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" \
      go build -trimpath -ldflags "-s -w" -o "$unittest.$$" github.com/helm-unittest/helm-unittest/cmd/helm-unittest
  ) || fail "could not build helm-unittest"
  mv "$unittest.$$" "$unittest"
  echo "chart: built helm-unittest" >&2
}

# build_schemas: sets $schemas, a folder of strict JSON schemas for kubeconform, made from the OpenAPI
# description inside of the Kubernetes module that the test cluster is built from.
build_schemas() {
  local module=$root/hack/tools/kubernetes key
  key=$(cat "$module/go.mod" "$root"/hack/chart/{schemas.jq,tools.sh} | sha256sum | cut -c1-12)
  schemas=$cache/schemas-$key
  [[ ! -d $schemas ]] || return 0
  need go "install Go 1.26 or newer (https://go.dev/dl)"
  need jq "install it (Debian: apt-get install jq)"
  local source partial
  source=$(cd "$module" && GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly go mod download -json k8s.io/kubernetes | jq -r .Dir) ||
    fail "could not get the Kubernetes module"
  mkdir -p "$cache"
  partial=$(mktemp -d "$cache/.schemas.XXXXXX")
  jq -c -f "$root/hack/chart/schemas.jq" "$source/api/openapi-spec/swagger.json" > "$partial/definitions.json"
  jq -r '.definitions | to_entries[] | .key as $name | .value["x-kubernetes-group-version-kind"]? // [] | .[]
         | [([.kind, (.group | split(".")[0] // ""), .version] | map(select(. != "")) | join("-") | ascii_downcase), $name] | @tsv' \
    "$partial/definitions.json" |
    while IFS=$'\t' read -r file name; do
      printf '{"$ref":"definitions.json#/definitions/%s"}\n' "$name" > "$partial/$file.json"
    done
  mv -T "$partial" "$schemas" 2>/dev/null || rm -rf "$partial" # another run was first
}
