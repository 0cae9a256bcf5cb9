# Where the cluster lives, its addresses, and how its daemons are started and stopped.
# Sourced by the other scripts of this folder; it does nothing by itself.
# shellcheck shell=bash

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
checkout=$(readlink -f "$here/../..")
tools=$("$checkout/hack/tools/bin-dir")
state=${TASKQUEUE_CLUSTER_DIR:-/var/lib/taskqueue-cluster}

# Debian keeps containerd's and nftables' commands in folders that only root's PATH names.
export PATH="$tools:$PATH:/usr/sbin:/sbin"

pids=$state/pids
logs=$state/logs
pki=$state/pki
socket=$state/run/containerd.sock
audit_log=$logs/audit.log
kubeconfig=$checkout/.cluster/kubeconfig

# Uncommon ranges, so that the cluster can live beside container engines and VPNs. The API server
# listens on the bridge's address: reachable from this host and from pods, from nowhere else.
node=taskqueue
bridge=tq0
cgroup=taskqueue-cluster
pod_range=10.214.0.0/16
node_address=10.214.0.1
service_range=10.215.0.0/16
api_service_address=10.215.0.1
dns_address=10.215.0.10

api_port=23443
etcd_port=23379
etcd_peer_port=23380
kubelet_port=23250
kubelet_health_port=23248
controller_manager_port=23257
scheduler_port=23259
proxy_health_port=23256
proxy_metrics_port=23249

# The order in which they are stopped.
daemons=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver containerd etcd)
cluster_tools=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns)

say() { echo "cluster: $*"; }
fail() { echo "cluster: $*" >&2; exit 1; }

admin() { kubectl --kubeconfig "$state/admin.kubeconfig" "$@"; }

# recipe: what decides how the cluster is set up. A running one of another recipe is set up anew.
recipe() { cat "$here"/* <(echo "$tools") | sha256sum | cut -c1-16; }

# started_at PID: the kernel's start time of a process, which tells it from a later one of the same number.
started_at() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the name before it may hold anything
  # shellcheck disable=SC2086 # its words are wanted
  set -- $stat
  [[ $1 != Z ]] && echo "${20}"
}

# pid_of NAME: the process recorded for a daemon, if it still runs.
pid_of() {
  local pid started
  read -r pid started 2>/dev/null <"$pids/$1" || return 1
  [[ $(started_at "$pid") = "$started" ]] && echo "$pid"
}

# daemon NAME COMMAND...: starts it detached. It holds nothing of its caller: no terminal, no pipe that
# someone reads to its end, no lock. It records its own number before it becomes the command, so that
# there is no moment at which it runs unrecorded.
daemon() {
  local name=$1
  shift
  (
    cd /
    exec </dev/null >>"$logs/$name.log" 2>&1
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [[ $fd -le 2 ]] || eval "exec $fd>&-"
    done
    self=$BASHPID # in a command substitution it would be another
    echo "$self $(started_at "$self")" >"$pids/$name"
    exec setsid "$@"
  ) &
  until [[ -s $pids/$name ]]; do sleep 0.01; done
}

# stop NAME: asks, and insists after 3 s.
stop() {
  local pid
  if pid=$(pid_of "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    await 3 gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$pids/$1"
}

gone() { ! started_at "$1" >/dev/null; }


# await SECONDS COMMAND...: until it succeeds; false when it does not in time.
await() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $limit ]] || return 1
    sleep 0.05
  done
}

# require SECONDS DAEMON COMMAND...: until it succeeds; fails with the end of the daemon's log when it
# does not in time or the daemon has ended.
require() {
  local seconds=$1 name=$2 limit=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! pid_of "$name" >/dev/null || [[ $SECONDS -ge $limit ]]; then
      tail -n 15 "$logs/$name.log" >&2
      fail "$name is not ready after $((seconds - limit + SECONDS)) s; its log is $logs/$name.log"
    fi
    sleep 0.05
  done
}

# one_at_a_time: a second `up` or `down` waits for the first. The lock ends with the process; commands
# that could outlive it are started without it (9>&-).
one_at_a_time() {
  mkdir -p "$state"
  exec 9>"$state/.lock"
  flock --nonblock 9 || { say "waiting for another up or down"; flock 9; }
}
