# Takes away whatever a cluster left behind, however it ended. Everything the cluster makes lies below
# its state folder, in its cgroup, or has a name of its own, so nothing of anybody else is touched.
# shellcheck shell=bash

# stop_everything: the daemons by their recorded numbers, in order; after the kubelet, which would start
# them again, the containers.
stop_everything() {
  local name
  stop kubelet
  kill_containers
  for name in "${daemons[@]}"; do
    stop "$name"
  done
  kill_shims
}

# cgroup_folders: the cluster's cgroup in each hierarchy (one with cgroup v2, many with v1).
cgroup_folders() {
  awk -v name="$cgroup" '$3 == "cgroup" || $3 == "cgroup2" { print $2 "/" name }' /proc/self/mounts
}

contained() {
  local folder
  for folder in $(cgroup_folders); do
    # A pod's folder may go while it is read.
    [[ ! -d $folder ]] || find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -u
}

# kill_containers: all processes in the cluster's cgroup; again while there are some, as one may fork.
kill_containers() {
  local round found
  for round in 1 2 3 4 5; do
    found=$(contained)
    [[ -n $found ]] || return 0
    xargs kill -KILL <<<"$found" 2>/dev/null || true
    sleep "0.0$round"
  done
}

# kill_shims: containerd's per-pod processes outlive it by design; the socket's path marks ours.
kill_shims() {
  local process words
  for process in /proc/[0-9]*; do
    { words=$(tr '\0' ' ' <"$process/cmdline"); } 2>/dev/null || continue
    [[ $words = *containerd-shim*" -address $socket "* ]] || continue
    kill -KILL "${process#/proc/}" 2>/dev/null || true
  done
}

mounts_below() { awk -v prefix="$state/" 'index($5, prefix) == 1 { print $5 }' /proc/self/mountinfo; }

# unmount_all: innermost first. Nothing is deleted while something is mounted: a volume's bind mount
# would lead the deletion to the host's own files.
unmount_all() {
  local mount
  while read -r mount; do
    umount --lazy "$(printf '%b' "$mount")" 2>/dev/null || true
  done < <(mounts_below | tac)
  [[ -z $(mounts_below) ]] || fail "cannot unmount $(mounts_below | head -n 1)"
}

remove_network() {
  local family
  ip link delete "$bridge" 2>/dev/null || true
  for family in ip ip6; do
    nft delete table "$family" kube-proxy 2>/dev/null || true
  done
  nft delete table ip "$cgroup" 2>/dev/null || true
}

remove_cgroups() {
  local folder
  for folder in $(cgroup_folders); do
    [[ -d $folder ]] || continue
    find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

# clean: the logs of the last run stay, and the certificates, so that a kubeconfig stays valid.
clean() {
  mkdir -p "$state"
  stop_everything
  unmount_all
  remove_network
  remove_cgroups
  rm -rf --one-file-system "$state"/{pids,run,etcd,containerd,kubelet,cni,config,admin.kubeconfig,recipe}
}
