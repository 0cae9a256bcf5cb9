# The bridge that pods are attached to, and the way out of it.
# shellcheck shell=bash

# start_network: the bridge exists before any pod does, because the API server advertises its address.
start_network() {
  ip link add "$bridge" type bridge
  ip address add "$node_address/${pod_range#*/}" dev "$bridge"
  ip link set "$bridge" up
  sysctl -qw net.ipv4.ip_forward=1
  nft -f - <<RULES
table ip $cgroup {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr $pod_range oifname != "$bridge" masquerade
  }
}
RULES
  mkdir -p "$state/cni/config"
  cat >"$state/cni/config/10-bridge.conflist" <<JSON
{
  "cniVersion": "1.0.0",
  "name": "taskqueue",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "$bridge",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "$state/cni/addresses",
        "ranges": [[{"subnet": "$pod_range", "gateway": "$node_address"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
JSON
}
