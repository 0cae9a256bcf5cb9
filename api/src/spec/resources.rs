//! `spec.worker.resources`: the resources of the container that the operator adds to a worker pod.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Resources of the container that the operator adds to the worker pods, as those of any container:
/// of taskqueue-install, which brings the worker in before the first container starts (exec and
/// stdio), of taskqueue-worker beside the server (http), or of the worker's own image where there
/// is no template (native). Those of the template's containers stand in the template.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) || !has(self.limits.cpu) || quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0")
        .message("worker.resources.requests.cpu must not be above limits.cpu: lower it, or raise the limit"),
    validation = Rule::new("!has(self.requests) || !has(self.limits) || !has(self.requests.memory) || !has(self.limits.memory) || quantity(string(self.requests.memory)).compareTo(quantity(string(self.limits.memory))) <= 0")
        .message("worker.resources.requests.memory must not be above limits.memory: lower it, or raise the limit"),
)]
pub struct Resources {
    /// What the container is promised, and what its pod needs of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Compute>,

    /// Most that the container may use. It is ended when it takes more memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Compute>,
}

/// Amounts of what a node has.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Compute {
    /// Cores: a number, or thousandths of one such as 50m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]+([.][0-9]+)?m?$')")
        .message("a cpu of worker.resources must be a number of cores such as 1, \"0.5\" or 50m"))]
    pub cpu: Option<Quantity>,

    /// Memory in bytes, such as 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]+([.][0-9]+)?([kMGTPE]|[KMGTPE]i)?$')")
        .message("a memory of worker.resources must be a number of bytes such as 64Mi or 1G"))]
    pub memory: Option<Quantity>,

    /// Space on the node's own disk in bytes, such as 1Gi.
    #[serde(
        default,
        rename = "ephemeral-storage",
        skip_serializing_if = "Option::is_none"
    )]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]+([.][0-9]+)?([kMGTPE]|[KMGTPE]i)?$')")
        .message("an ephemeral-storage of worker.resources must be a number of bytes such as 100Mi or 1G"))]
    pub ephemeral_storage: Option<Quantity>,
}

/// A quantity as Kubernetes writes it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum Quantity {
    /// A whole number without a suffix.
    Number(u64),
    /// A number with or without a suffix, such as `50m` or `64Mi`.
    Text(String),
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maxLength": 20
        })
    }
}

impl Resources {
    /// Says which amount is none, for those that do not come through the API server.
    pub fn check(&self) -> Result<(), String> {
        let parts = [("requests", &self.requests), ("limits", &self.limits)];
        for (part, compute) in parts {
            let Some(compute) = compute else { continue };
            for (name, amount) in compute.amounts() {
                let suffixes: &[&str] = if name == "cpu" { &["m"] } else { &BYTES };
                if let Quantity::Text(text) = amount
                    && !is_quantity(text, suffixes)
                {
                    return Err(format!(
                        "{part}.{name} is {text:?}: write a number with or without a suffix, such as 50m for cpu and 64Mi for memory"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Suffixes of a number of bytes.
const BYTES: [&str; 12] = [
    "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

fn is_quantity(text: &str, suffixes: &[&str]) -> bool {
    let mut cut = suffixes
        .iter()
        .filter_map(|suffix| text.strip_suffix(suffix));
    let number = cut.next().unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    [whole, fraction]
        .iter()
        .all(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

impl Compute {
    /// What is given, by the names that Kubernetes has for it.
    fn amounts(&self) -> impl Iterator<Item = (&'static str, &Quantity)> {
        let Self {
            cpu,
            memory,
            ephemeral_storage,
        } = self;
        [
            ("cpu", cpu),
            ("memory", memory),
            ("ephemeral-storage", ephemeral_storage),
        ]
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?)))
    }
}

impl From<&Resources> for ResourceRequirements {
    fn from(resources: &Resources) -> Self {
        let Resources { requests, limits } = resources;
        Self {
            requests: requests.as_ref().map(amounts),
            limits: limits.as_ref().map(amounts),
            claims: None,
        }
    }
}

fn amounts(compute: &Compute) -> BTreeMap<String, resource::Quantity> {
    let amount = |(name, amount): (&str, &Quantity)| {
        let amount = match amount {
            Quantity::Number(number) => number.to_string(),
            Quantity::Text(text) => text.clone(),
        };
        (name.to_owned(), resource::Quantity(amount))
    };
    compute.amounts().map(amount).collect()
}
