# With CLUSTER=current everything uses the cluster of the current kubeconfig context instead of one of our own.
# shellcheck shell=bash

use_another='to use another cluster: KUBECONFIG=... CLUSTER=current make ...'

uses_current() {
  case ${CLUSTER:-} in
    current) return 0 ;;
    "") return 1 ;;
    *) echo "cluster: CLUSTER is '$CLUSTER', but may only be 'current' or unset" >&2; exit 2 ;;
  esac
}

check_current() {
  local context
  command -v kubectl >/dev/null || "$checkout/hack/tools/build" kubectl
  context=$(kubectl config current-context 2>/dev/null) ||
    fail "CLUSTER=current, but the kubeconfig names no current context; set KUBECONFIG"
  kubectl get --raw /readyz --request-timeout 10s >/dev/null ||
    fail "CLUSTER=current, but the cluster of context $context cannot be reached"
  say "using the cluster of context $context"
}
