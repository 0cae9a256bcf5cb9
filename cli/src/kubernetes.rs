//! The way to the API server: which cluster is meant, and what time it is there.

use http::Request;
use http::header::DATE;
use jiff::Timestamp;
use kube::client::Body;
use kube::{Client, Config, config::KubeConfigOptions};

use crate::exit::Failure;

/// The cluster of a context of the kubeconfig, of the current one by default, or the one that this runs in.
pub(crate) async fn config(context: Option<&str>) -> Result<Config, Failure> {
    let found = match context {
        None => Config::infer().await.map_err(|error| error.to_string()),
        Some(context) => {
            let options = KubeConfigOptions {
                context: Some(context.to_owned()),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| error.to_string())
        }
    };
    found.map_err(|cause| Failure::Cluster(format!("which cluster? Set KUBECONFIG: {cause}")))
}

/// The time by the clock of the API server, to a second or so: what times that the operator wrote are to
/// be compared with. Where it does not say, that of this machine.
pub(crate) async fn now(client: &Client) -> Timestamp {
    told_time(client).await.unwrap_or_else(Timestamp::now)
}

async fn told_time(client: &Client) -> Option<Timestamp> {
    // Whatever it answers, also that this is forbidden, has the header.
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let answer = client.send(request).await.ok()?;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(date).ok()
}
