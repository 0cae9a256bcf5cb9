# etcd, the API server, the controller manager and the scheduler.
# shellcheck shell=bash

start_etcd() {
  # The data is thrown away with the cluster, so nothing waits for the disk.
  daemon etcd etcd --name taskqueue --data-dir "$state/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$etcd_peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer_port" \
    --initial-cluster "taskqueue=http://127.0.0.1:$etcd_peer_port" \
    --log-level warn
}

# start_api_server: waits for etcd by itself. Its advertised address is not loopback, or no endpoint
# would be written for the `kubernetes` Service.
start_api_server() {
  daemon kube-apiserver kube-apiserver \
    --etcd-servers "http://127.0.0.1:$etcd_port" \
    --bind-address "$node_address" --advertise-address "$node_address" --secure-port "$api_port" \
    --service-cluster-ip-range "$service_range" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
    --client-ca-file "$pki/ca.crt" \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
    --kubelet-certificate-authority "$pki/ca.crt" \
    --kubelet-client-certificate "$pki/apiserver-kubelet-client.crt" \
    --kubelet-client-key "$pki/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/service-account.pub" \
    --service-account-signing-key-file "$pki/service-account.key" \
    --requestheader-client-ca-file "$pki/front-proxy-ca.crt" \
    --requestheader-allowed-names front-proxy-client \
    --requestheader-username-headers X-Remote-User \
    --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$pki/front-proxy-client.crt" \
    --proxy-client-key-file "$pki/front-proxy-client.key" \
    --audit-policy-file "$here/audit-policy.yaml" --audit-log-path "$audit_log" \
    --audit-log-maxsize 64 --audit-log-maxbackup 2
}

# start_controllers: the controller manager makes its controllers one request at a time; at its default
# of 20 requests a second that alone takes 4 s.
start_controllers() {
  daemon kube-controller-manager kube-controller-manager --kubeconfig "$state/config/controller-manager.kubeconfig" \
    --leader-elect=false --bind-address 127.0.0.1 --secure-port "$controller_manager_port" \
    --kube-api-qps 200 --kube-api-burst 400 \
    --use-service-account-credentials --service-account-private-key-file "$pki/service-account.key" \
    --root-ca-file "$pki/ca.crt" --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
    --cluster-cidr "$pod_range" --service-cluster-ip-range "$service_range"
  daemon kube-scheduler kube-scheduler --kubeconfig "$state/config/scheduler.kubeconfig" \
    --leader-elect=false --bind-address 127.0.0.1 --secure-port "$scheduler_port"
}
