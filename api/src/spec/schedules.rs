//! `spec.schedules`.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Duration;

/// A task that is added again and again, at the times of a cron expression.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Name of the schedule, unique in the TaskQueue. Its last run is remembered under it.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a schedule's name must be 1 to 63 characters of a-z, 0-9 and '-', with a letter or digit at both ends"))]
    pub name: String,

    /// When a task is added: minute, hour, day of the month, month and day of the week, as crontab
    /// writes them. `0 3 * * *` is every day at 3:00, `*/10 * * * 1-5` every ten minutes from
    /// Monday to Friday. Or one of @hourly, @daily, @weekly, @monthly and @yearly.
    #[schemars(length(min = 1, max = 256))]
    pub cron: String,

    /// The time zone of the cron expression: a name of the time zone database, such as
    /// Europe/Paris.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// The task that is added.
    pub task: ScheduledTask,

    /// Stops the schedule. What would have run meanwhile is not made up for.
    #[serde(default)]
    pub suspend: bool,

    /// What becomes of runs whose time passed while neither the operator nor a worker ran.
    /// `RunOnce`: one run makes up for all of them. `Skip`: they are left out; a run is missed
    /// when it is more than a minute late.
    #[serde(default)]
    pub missed: MissedRuns,

    /// Up to how much later than at its time a task is added, as a duration up to 24h, and always
    /// before the next one. How much later is set by namespace, queue, name and time, so that
    /// schedules of many queues for one time do not all run at once. By default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')")
        .message("schedules[].jitter must be a duration up to 24h, such as 30s, 10m or 1h"))]
    pub jitter: Option<Duration>,
}

/// The task that a schedule adds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledTask {
    /// Type of the task, by which a worker chooses what runs it. At most 128 bytes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 128))]
    pub kind: String,

    /// Payload of the task: any JSON. By default null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub payload: Option<serde_json::Value>,

    /// Priority of the task: the name of one of `priorities.levels`. By default the middle one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub priority: Option<String>,
}

/// What becomes of runs whose time passed while nobody looked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedRuns {
    /// One run makes up for all of them.
    #[default]
    RunOnce,
    /// They are left out.
    Skip,
}

/// Whatever a task's payload may be: a text or a number as well as an object.
fn any_json(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}
