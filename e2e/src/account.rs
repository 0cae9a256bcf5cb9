//! Acting as a service account of the cluster, by a token of its own.

use std::path::{Path, PathBuf};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// A service account, with a token that is good for an hour.
pub struct Account(Kubeconfig);

impl Account {
    /// Asks for a token, as `admin` on the cluster of its current context.
    pub async fn of(admin: &Kubeconfig, namespace: &str, name: &str) -> Self {
        let accounts: Api<ServiceAccount> = Api::namespaced(client(admin).await, namespace);
        let asked = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let made = accounts
            .create_token_request(name, &PostParams::default(), &asked)
            .await
            .unwrap_or_else(|error| panic!("no token of {namespace}/{name}: {error}"));
        let token = made.status.and_then(|status| status.token);
        let current = admin.current_context.as_deref();
        let context = admin
            .contexts
            .iter()
            .find(|it| Some(it.name.as_str()) == current);
        let context = context.and_then(|it| it.context.as_ref());
        let cluster = &context
            .expect("the kubeconfig has a current context")
            .cluster;
        let cluster = admin.clusters.iter().find(|it| it.name == *cluster);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "account",
            "clusters": [cluster.expect("its cluster is there")],
            "users": [{ "name": "account", "user": { "token": token.expect("there is a token") } }],
            "contexts": [{ "name": "account", "context": {
                "cluster": cluster.map(|it| &it.name), "user": "account"
            } }]
        });
        Self(serde_json::from_value(config).expect("it is a kubeconfig"))
    }

    /// A client that is this account and nobody else.
    pub async fn client(&self) -> Client {
        client(&self.0).await
    }

    /// A kubeconfig in this folder, for programs.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("account.kubeconfig");
        let text = serde_json::to_string(&self.0).expect("a kubeconfig is JSON");
        std::fs::write(&file, text).expect("it can be written");
        file
    }
}

async fn client(config: &Kubeconfig) -> Client {
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config.clone(), &options).await;
    Client::try_from(config.expect("the kubeconfig is right")).expect("a client can be made")
}
