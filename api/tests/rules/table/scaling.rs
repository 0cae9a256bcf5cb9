//! The rules of `spec.scaling`.

use serde_json::{Value, json};

use super::{Edit, Row, field, merge, row};

#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "scaling.minReplicas must not be above scaling.maxReplicas",
            [
                vec![("/spec/scaling", json!({"minReplicas": 5, "maxReplicas": 5}))],
                vec![("/spec/scaling", json!({"minReplicas": 10}))],
            ],
            [
                vec![("/spec/scaling", json!({"minReplicas": 6, "maxReplicas": 5}))],
                vec![("/spec/scaling", json!({"minReplicas": 11}))],
            ],
        ),
        row(
            "scaling.replicas counts only while scaling.mode is Paused",
            [
                vec![("/spec/scaling", json!({"mode": "Paused", "replicas": 3}))],
                vec![("/spec/scaling", json!({"mode": "Paused"}))],
                vec![("/spec/scaling", json!({"mode": "Paused", "replicas": 0}))],
                // What is written where nobody has set a number.
                vec![("/spec/scaling", json!({"mode": "Auto", "replicas": 1001}))],
            ],
            [
                vec![("/spec/scaling", json!({"mode": "Auto", "replicas": 3}))],
                vec![("/spec/scaling", json!({"replicas": 0}))],
            ],
        ),
        field(
            "scaling.idle must be a duration from 0s to 24h",
            "/spec/scaling/idle",
            &["0s", "24h"],
            &["24h1ms", "-1s", "1d"],
        ),
        field(
            "scaling.scaleDown.stabilization must be a duration from 0s to 1h",
            "/spec/scaling/scaleDown/stabilization",
            &["0s", "1h"],
            &["3601s", "-1s", "60"],
        ),
        field(
            "scaling.scaleUp.stabilization must be a duration from 0s to 1h",
            "/spec/scaling/scaleUp/stabilization",
            &["0s", "1h"],
            &["3601s", "-1s", "60"],
        ),
        field(
            "scaling.scaleUp.per must be a duration from 1s to 1h",
            "/spec/scaling/scaleUp/per",
            &["1s", "1h"],
            &["999ms", "3601s", "15"],
        ),
        field(
            "scaling.scaleDown.per must be a duration from 1s to 1h",
            "/spec/scaling/scaleDown/per",
            &["1s", "1h"],
            &["999ms", "3601s", "15"],
        ),
        row(
            "scaling.target needs exactly one of backlogPerReplica and latency",
            [
                vec![("/spec/scaling/target", json!({"backlogPerReplica": 1}))],
                vec![("/spec/scaling/target", json!({"latency": "1s"}))],
            ],
            [
                vec![("/spec/scaling/target", json!({}))],
                vec![(
                    "/spec/scaling/target",
                    json!({"backlogPerReplica": 1, "latency": "1s"}),
                )],
            ],
        ),
        field(
            "scaling.target.latency must be a duration from 100ms to 24h",
            "/spec/scaling/target/latency",
            &["100ms", "24h"],
            &["0s", "99ms", "24h1s", "30"],
        ),
        row(
            "scaling.windows[] needs minReplicas, maxReplicas or both",
            [
                window(&json!({"minReplicas": 1})),
                window(&json!({"maxReplicas": 1})),
            ],
            [window(&json!({}))],
        ),
        row(
            "scaling.windows[].minReplicas must not be above its maxReplicas",
            [window(&json!({"minReplicas": 2, "maxReplicas": 2}))],
            [window(&json!({"minReplicas": 3, "maxReplicas": 2}))],
        ),
        row(
            "scaling.windows[].minReplicas and maxReplicas must lie from",
            [
                // From 0 to 10 by default.
                window(&json!({"minReplicas": 10})),
                window(&json!({"maxReplicas": 10})),
                bounded_window(2, 5, &json!({"minReplicas": 2})),
                bounded_window(2, 5, &json!({"maxReplicas": 2})),
            ],
            [
                window(&json!({"minReplicas": 11})),
                window(&json!({"maxReplicas": 11})),
                bounded_window(2, 5, &json!({"minReplicas": 1})),
                bounded_window(2, 5, &json!({"maxReplicas": 1})),
            ],
        ),
        row(
            "scaling.windows[].start must be hours and minutes",
            ["00:00", "09:59", "19:00", "23:59"].map(|start| window(&json!({"start": start}))),
            ["24:00", "8:00", "12:60", "12.00"].map(|start| window(&json!({"start": start}))),
        ),
        row(
            "scaling.windows[].end must be hours and minutes",
            ["00:00", "23:59"].map(|end| window(&json!({"end": end}))),
            ["24:00", "12:60"].map(|end| window(&json!({"end": end}))),
        ),
        row(
            "scaling.windows[].timeZone must be a name of the time zone database",
            [
                "UTC",
                "Europe/Paris",
                "America/Argentina/Buenos_Aires",
                "Etc/GMT+8",
            ]
            .map(|zone| window(&json!({"timeZone": zone}))),
            ["+02:00", "Europe Paris", "Europe/", "/etc/passwd", "../UTC"]
                .map(|zone| window(&json!({"timeZone": zone}))),
        ),
    ]
}

/// A window of office hours with these fields.
fn window(fields: &Value) -> Vec<Edit> {
    let mut window = json!({"start": "08:00", "end": "18:00"});
    merge(&mut window, fields);
    vec![("/spec/scaling/windows", json!([window]))]
}

/// The same under other bounds.
fn bounded_window(min: u32, max: u32, fields: &Value) -> Vec<Edit> {
    let mut edits = vec![(
        "/spec/scaling",
        json!({"minReplicas": min, "maxReplicas": max}),
    )];
    edits.extend(window(fields));
    edits
}
