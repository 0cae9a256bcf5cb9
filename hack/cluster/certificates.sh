# The cluster's certificate authorities, its certificates and the kubeconfigs that hold them.
# shellcheck shell=bash

# ensure_certificates: made once and kept while they fit, so that kubeconfigs survive down and up.
ensure_certificates() {
  local wanted
  wanted=$(cat "$here/certificates.sh" "$here/lib.sh" | sha256sum)
  if [[ $(cat "$pki/made-for" 2>/dev/null) = "$wanted" ]] &&
    openssl x509 -noout -checkend 864000 -in "$pki/apiserver.crt" >/dev/null 2>&1; then
    return
  fi
  rm -rf "$pki"
  mkdir -p "$pki"
  chmod 700 "$pki"

  authority ca
  # Proxied requests are trusted by an authority of their own: whoever it signs may speak for anybody.
  authority front-proxy-ca
  certificate ca apiserver kube-apiserver "" \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:$node_address,IP:$api_service_address,IP:127.0.0.1"
  certificate ca kubelet-server "system:node:$node" "" "DNS:$node,IP:$node_address"
  certificate ca kubelet "system:node:$node" system:nodes
  certificate ca apiserver-kubelet-client kube-apiserver-kubelet-client system:masters
  certificate ca controller-manager system:kube-controller-manager
  certificate ca scheduler system:kube-scheduler
  certificate ca proxy system:kube-proxy
  certificate ca admin taskqueue-admin system:masters
  certificate front-proxy-ca front-proxy-client front-proxy-client
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/service-account.key"
  openssl ec -in "$pki/service-account.key" -pubout -out "$pki/service-account.pub" 2>/dev/null
  echo "$wanted" >"$pki/made-for"
}

# authority NAME
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj "/CN=taskqueue-cluster-$1" -keyout "$pki/$1.key" -out "$pki/$1.crt" 2>/dev/null
}

# certificate AUTHORITY NAME USER [GROUP] [ALTERNATIVE NAMES]
certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -subj "${4:+/O=$4}/CN=$3" -keyout "$pki/$2.key" -out "$pki/$2.csr" 2>/dev/null
  openssl x509 -req -in "$pki/$2.csr" -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -CAcreateserial -days 3650 \
    -extfile <(
      echo "keyUsage=digitalSignature"
      echo "extendedKeyUsage=clientAuth,serverAuth"
      [[ -z ${5:-} ]] || echo "subjectAltName=$5"
    ) -out "$pki/$2.crt" 2>/dev/null
  rm "$pki/$2.csr"
}

# kubeconfig_for NAME: a self-contained one on standard output.
kubeconfig_for() {
  cat <<YAML
apiVersion: v1
kind: Config
current-context: taskqueue
clusters:
  - name: taskqueue
    cluster:
      server: https://$node_address:$api_port
      certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$pki/$1.crt")
      client-key-data: $(base64 -w0 "$pki/$1.key")
contexts:
  - name: taskqueue
    context:
      cluster: taskqueue
      user: $1
YAML
}

write_kubeconfigs() {
  local name
  for name in kubelet controller-manager scheduler proxy; do
    kubeconfig_for "$name" >"$state/config/$name.kubeconfig"
  done
  kubeconfig_for admin >"$state/admin.kubeconfig"
  hand_out_kubeconfig
}

# hand_out_kubeconfig: each checkout has its own copy, with the rights of the checkout's owner.
hand_out_kubeconfig() {
  local owner
  owner=$(stat --format '%u:%g' "$checkout")
  install -d -o "${owner%:*}" -g "${owner#*:}" "${kubeconfig%/*}"
  install -m 600 -o "${owner%:*}" -g "${owner#*:}" "$state/admin.kubeconfig" "$kubeconfig.partial"
  mv "$kubeconfig.partial" "$kubeconfig"
}
