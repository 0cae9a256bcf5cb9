# What runs in the cluster from its start: DNS.
# shellcheck shell=bash

apply_addons() { sed "s/DNS_ADDRESS/$dns_address/" "$here/coredns.yaml" | admin apply --filename -; }

node_ready() {
  [[ $(admin get "nodes/$node" --output \
    'jsonpath={.status.conditions[?(@.type=="Ready")].status}') = True ]]
}

dns_available() {
  [[ $(admin get deployments.apps/coredns --namespace kube-system --output \
    'jsonpath={.status.conditions[?(@.type=="Available")].status}') = True ]]
}

# dns_answers: by its Service's address, so kube-proxy is done too.
dns_answers() { timeout 1 bash -c "exec 3<>/dev/tcp/$dns_address/53"; }
