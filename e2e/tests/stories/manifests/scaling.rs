//! Manifests about how many workers there are.

use super::NATIVE;

/// Specs that the API server takes.
pub(super) const ACCEPTED: &[&[&str]] = &[
    &[
        NATIVE,
        "scaling: {minReplicas: 0, maxReplicas: 1000, target: {backlogPerReplica: 1}, idle: 0s}",
    ],
    &[NATIVE, "scaling: {mode: Paused, replicas: 3}"],
    &[NATIVE, "scaling: {mode: Recommend, target: {latency: 30s}}"],
    &[
        NATIVE,
        "scaling: {spareReplicas: 2, activation: 5, tolerance: 0.25, scaleUp: {stabilization: 5s, maxStep: 100%, per: 15s}, scaleDown: {stabilization: 0s, maxStep: 4, per: 1m, waitForIdle: false}}",
    ],
    &[
        NATIVE,
        "scaling: {windows: [{days: [Mon, Fri], start: '08:30', end: '18:00', timeZone: Europe/Paris, minReplicas: 2, maxReplicas: 10}]}",
    ],
];

/// Specs that it refuses, with the field and the fix that it names.
pub(super) const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &[NATIVE, "scaling: {minReplicas: 3, maxReplicas: 2}"],
        "spec.scaling",
        "lower minReplicas or raise maxReplicas",
    ),
    (
        &[NATIVE, "scaling: {minReplicas: -1}"],
        "spec.scaling.minReplicas",
        "greater than or equal to 0",
    ),
    (
        &[NATIVE, "scaling: {maxReplicas: 0}"],
        "spec.scaling.maxReplicas",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "scaling: {maxReplicas: 1001}"],
        "spec.scaling.maxReplicas",
        "less than or equal to 1000",
    ),
    (
        &[NATIVE, "scaling: {target: {backlogPerReplica: 0}}"],
        "spec.scaling.target.backlogPerReplica",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "scaling: {idle: 1d}"],
        "spec.scaling.idle",
        "from 0s to 24h",
    ),
    (
        &[NATIVE, "scaling: {scaleDown: {stabilization: 61m}}"],
        "spec.scaling.scaleDown.stabilization",
        "from 0s to 1h",
    ),
    (
        &[NATIVE, "scaling: {spareReplicas: -1}"],
        "spec.scaling.spareReplicas",
        "greater than or equal to 0",
    ),
    (
        &[NATIVE, "scaling: {activation: 0}"],
        "spec.scaling.activation",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "scaling: {tolerance: 1.1}"],
        "spec.scaling.tolerance",
        "less than or equal to 1",
    ),
    (
        &[NATIVE, "scaling: {target: {}}"],
        "spec.scaling.target",
        "exactly one of backlogPerReplica and latency",
    ),
    (
        &[
            NATIVE,
            "scaling: {target: {backlogPerReplica: 20, latency: 30s}}",
        ],
        "spec.scaling.target",
        "exactly one of backlogPerReplica and latency",
    ),
    (
        &[NATIVE, "scaling: {target: {latency: 0s}}"],
        "spec.scaling.target.latency",
        "from 100ms to 24h",
    ),
    (
        &[NATIVE, "scaling: {scaleUp: {maxStep: 0}}"],
        "spec.scaling.scaleUp.maxStep",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "scaling: {scaleUp: {maxStep: half}}"],
        "spec.scaling.scaleUp.maxStep",
        "should match",
    ),
    (
        &[NATIVE, "scaling: {scaleDown: {maxStep: 101%}}"],
        "spec.scaling.scaleDown.maxStep",
        "should match",
    ),
    (
        &[NATIVE, "scaling: {scaleDown: {per: 500ms}}"],
        "spec.scaling.scaleDown.per",
        "from 1s to 1h",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{start: '08:00', end: '18:00'}]}",
        ],
        "spec.scaling.windows[0]",
        "needs minReplicas, maxReplicas or both",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{start: '08:00', end: '18:00', minReplicas: 3, maxReplicas: 2}]}",
        ],
        "spec.scaling.windows[0]",
        "lower minReplicas or raise maxReplicas",
    ),
    (
        &[
            NATIVE,
            "scaling: {maxReplicas: 5, windows: [{start: '08:00', end: '18:00', minReplicas: 6}]}",
        ],
        "spec.scaling",
        "bring them inside",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{start: '8:00', end: '18:00', minReplicas: 1}]}",
        ],
        "spec.scaling.windows[0].start",
        "5",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{start: '08:00', end: '24:00', minReplicas: 1}]}",
        ],
        "spec.scaling.windows[0].end",
        "from 00:00 to 23:59",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{start: '08:00', end: '18:00', timeZone: '+02:00', minReplicas: 1}]}",
        ],
        "spec.scaling.windows[0].timeZone",
        "such as Europe/Paris",
    ),
    (
        &[
            NATIVE,
            "scaling: {windows: [{days: [Someday], start: '08:00', end: '18:00', minReplicas: 1}]}",
        ],
        "spec.scaling.windows[0].days",
        "Sun",
    ),
    (
        &[NATIVE, "scaling: {replicas: 2}"],
        "spec.scaling",
        "set mode: Paused",
    ),
    (
        &[NATIVE, "scaling: {mode: Manual}"],
        "spec.scaling.mode",
        "Paused",
    ),
];
