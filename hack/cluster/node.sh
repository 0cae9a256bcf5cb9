# The node: containerd, the kubelet and kube-proxy.
# shellcheck shell=bash

pause_image=localhost/taskqueue/pause:dev

# start_containerd: one of its own, whatever else runs on this host.
start_containerd() {
  mkdir -p "$state/run"
  cat >"$state/config/containerd.toml" <<TOML
version = 2
root = "$state/containerd"
state = "$state/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "$socket"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  # Namespaces of pods below this folder too: what is found there is ours to remove.
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE, as inside a container or a small VM, a pod's OOM score cannot be lowered
  # and no pod would start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni/config"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
  daemon containerd containerd --config "$state/config/containerd.toml" --log-level warn
}

containerd_answers() { ctr --address "$socket" version; }

# import_images FILE...: image archives into the store that the kubelet sees.
import_images() {
  local file
  for file in "$@"; do
    [[ -e $file ]] || continue
    ctr --address "$socket" --namespace k8s.io images import "$file" >/dev/null 9>&-
  done
}

start_kubelet() {
  local folder
  mkdir -p "$state/kubelet"
  # All pods in one cgroup, by which they are found again should the daemons be gone.
  for folder in $(cgroup_folders); do
    mkdir -p "$folder" 2>/dev/null || true
  done
  : >"$state/config/resolv.conf"
  cat >"$state/config/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
port: $kubelet_port
healthzBindAddress: 127.0.0.1
healthzPort: $kubelet_health_port
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: $pki/ca.crt}
  webhook: {enabled: true}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
containerRuntimeEndpoint: unix://$socket
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
clusterDomain: cluster.local
clusterDNS: [$dns_address]
# Pods see the names of this cluster only.
resolvConf: $state/config/resolv.conf
maxPods: 250
registryPullQPS: 0
eventRecordQPS: 0
serializeImagePulls: false
# Images come from this machine alone: one that was collected could not be had again.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
# Disk and memory of this machine are shared with builds; a node that evicts for their sake takes no pods
# for five minutes.
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
YAML
  daemon kubelet kubelet --config "$state/config/kubelet.yaml" --kubeconfig "$state/config/kubelet.kubeconfig" \
    --root-dir "$state/kubelet" --hostname-override "$node" --node-ip "$node_address"
}

start_proxy() {
  cat >"$state/config/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $node
clientConnection: {kubeconfig: $state/config/proxy.kubeconfig}
clusterCIDR: $pod_range
healthzBindAddress: 127.0.0.1:$proxy_health_port
metricsBindAddress: 127.0.0.1:$proxy_metrics_port
# Pods share one bridge: an answer that did not come back through this host would miss the address
# translation of the Service.
nftables: {masqueradeAll: true, minSyncPeriod: 100ms}
# This host's connection tracking is not ours to resize.
conntrack: {maxPerCore: 0}
YAML
  daemon kube-proxy kube-proxy --config "$state/config/proxy.yaml"
}
