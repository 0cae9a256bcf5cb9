//! `tq explain`: why a TaskQueue has as many worker pods as it has. Read from its status, so from
//! the API server and not from Redis.

mod report;

use kube::{Api, Client};
use taskqueue_api::TaskQueue;

use crate::args::{Explain, Form};
use crate::exit::Failure;
use crate::kubernetes;
use crate::output::Output;

/// `namespace` is what was typed; without it, that of the kubeconfig's context counts, as for
/// kubectl.
pub(crate) async fn run(
    typed: &Explain,
    namespace: Option<&str>,
    output: &mut Output,
) -> Result<(), Failure> {
    let config = kubernetes::config(typed.context.as_deref()).await?;
    let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
    let told = |error: kube::Error| match error {
        kube::Error::Api(status) if status.code == 404 => Failure::NotFound(format!(
            "there is no TaskQueue {} in namespace {namespace}",
            typed.name
        )),
        kube::Error::Api(status) => Failure::Cluster(status.message),
        other => Failure::Cluster(format!("the API server cannot be reached: {other}")),
    };
    let client = Client::try_from(config).map_err(told)?;
    let api: Api<TaskQueue> = Api::namespaced(client.clone(), &namespace);
    let resource = api.get(&typed.name).await.map_err(told)?;
    let report = report::Report::of(&resource, kubernetes::now(&client).await);
    match typed.output {
        Form::Text => {
            for line in report.lines() {
                output.line(line)?;
            }
        }
        Form::Json => output.document(
            &serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::Form(error.to_string()))?,
        )?,
    }
    Ok(())
}
