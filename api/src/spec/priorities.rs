//! `spec.priorities`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Priority levels and their order.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.order != 'Weighted' || self.levels.all(level, has(level.weight))")
        .message("priorities.order Weighted needs a weight for each level: set priorities.levels[].weight, such as {name: high, weight: 6}"),
    validation = Rule::new("self.order == 'Weighted' || !self.levels.exists(level, has(level.weight))")
        .message("priorities.levels[].weight counts only with order Weighted: set priorities.order: Weighted, or remove the weights"),
    validation = Rule::new("self.order == 'Strict' || !has(self.aging)")
        .message("priorities.aging counts only with order Strict: remove it, since with Weighted no level is left out anyway")
)]
pub struct Priorities {
    /// How the levels share the workers. `Strict`: a level is served only while every level
    /// before it is empty, or as aging says. `Weighted`: levels that have tasks share the workers
    /// by their weights.
    #[serde(default)]
    pub order: Order,

    /// With order Strict: how much longer than a task of the next higher level a task has to wait
    /// to go before it, so that low levels are never left out, as a duration from 1s to 168h (a
    /// week). By default a level waits for as long as those before it have tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message("priorities.aging must be a duration from 1s to 168h, such as 30s, 5m or 2h"))]
    pub aging: Option<Duration>,

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
    /// Levels that have tasks share the workers by their weights.
    Weighted,
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

    /// With order Weighted: the level's share of the workers while all levels have tasks, as a
    /// part of the sum of all weights. From 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
}

impl Default for Priorities {
    fn default() -> Self {
        Self {
            order: Order::Strict,
            aging: None,
            levels: default_levels(),
        }
    }
}

fn default_levels() -> Vec<PriorityLevel> {
    ["high", "normal", "low"]
        .map(|name| PriorityLevel {
            name: name.into(),
            weight: None,
        })
        .into()
}
