//! `spec.scaling.windows`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time of the week with bounds of its own, by the clock of a time zone. It can raise the
/// minimum and cap the maximum. Where several are open at once, the highest minimum and the
/// lowest maximum count, the maximum before the minimum.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minReplicas) || has(self.maxReplicas)")
        .message("scaling.windows[] needs minReplicas, maxReplicas or both: without them it changes nothing"),
    validation = Rule::new("!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas")
        .message("scaling.windows[].minReplicas must not be above its maxReplicas: lower minReplicas or raise maxReplicas")
)]
pub struct ScalingWindow {
    /// The days on which it starts. By default every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Weekday>,

    /// When it starts, as hours and minutes from 00:00 to 23:59.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')")
        .message("scaling.windows[].start must be hours and minutes from 00:00 to 23:59, such as 08:30"))]
    pub start: String,

    /// When it ends, as hours and minutes from 00:00 to 23:59. An end that is not after the start
    /// is on the next day: 22:00 to 06:00 is a night, 00:00 to 00:00 a whole day.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')")
        .message("scaling.windows[].end must be hours and minutes from 00:00 to 23:59, such as 18:00"))]
    pub end: String,

    /// The time zone of start and end: a name of the time zone database, such as Europe/Paris.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')")
        .message("scaling.windows[].timeZone must be a name of the time zone database, such as Europe/Paris or UTC"))]
    pub time_zone: String,

    /// The least worker pods in this time, from scaling.minReplicas to scaling.maxReplicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: Option<i32>,

    /// The most worker pods in this time, from 1 and scaling.minReplicas to scaling.maxReplicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<i32>,
}

/// A day of the week.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}
