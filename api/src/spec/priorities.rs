//! `spec.priorities`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Priority levels and their order.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Priorities {
    /// How the levels share the workers. `Strict`: a level is served only while every level
    /// before it is empty.
    #[serde(default)]
    pub order: Order,

    /// The levels, the first is served first. A task that names no priority goes to the middle
    /// one (of an even number, the lower of the two in the middle). A level that is removed is
    /// still emptied, after all others.
    #[serde(default = "default_levels")]
    #[schemars(length(max = 10))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.size() >= 1").message("priorities.levels must have at least one level, such as {name: normal}")
    )]
    pub levels: Vec<PriorityLevel>,
}

/// The order in which levels are served.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// A level is served only while every level before it is empty.
    #[default]
    Strict,
}

/// One priority level.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PriorityLevel {
    /// Name that producers give as the priority of a task.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a level's name must be 1 to 32 characters of a-z, 0-9 and '-', with a letter or digit at both ends"))]
    pub name: String,
}

impl Default for Priorities {
    fn default() -> Self {
        Self {
            order: Order::Strict,
            levels: default_levels(),
        }
    }
}

fn default_levels() -> Vec<PriorityLevel> {
    ["high", "normal", "low"]
        .map(|name| PriorityLevel { name: name.into() })
        .into()
}
