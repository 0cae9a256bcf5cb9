//! From `spec.scaling` to the policy that decisions are made by, in the errors of this step.

use taskqueue_api::{
    TaskQueue,
    scaling::{Refused, policy as meaning},
};
use taskqueue_scaling::Policy;

use super::Invalid;

pub(super) fn policy(resource: &TaskQueue) -> Result<Policy, Invalid> {
    meaning(resource).map_err(|refused| match refused {
        Refused::Range {
            field,
            value,
            range,
        } => Invalid::Range {
            field,
            value,
            range,
        },
        Refused::Value { field, value, rule } => Invalid::Policy {
            field: field.to_owned(),
            value,
            rule: rule.to_owned(),
        },
    })
}
