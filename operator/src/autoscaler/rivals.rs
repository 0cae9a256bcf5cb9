//! Who else sets the replicas of an object: a HorizontalPodAutoscaler, or the ScaledObject of KEDA
//! that stands behind one. Asked only once somebody is known to do so.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::contention::Rival;
use crate::targets::Target;

/// Most autoscalers of a namespace that are looked at.
const MOST: u32 = 500;

/// Looks for an autoscaler of this object. Without the right to, nobody knows.
pub(super) async fn find(client: &Client, target: &Target) -> Result<Rival, kube::Error> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &target.namespace);
    let all = api.list(&ListParams::default().limit(MOST)).await?;
    Ok(rival(&all.items, target))
}

/// The one among these that scales the object. Pure.
fn rival(all: &[HorizontalPodAutoscaler], target: &Target) -> Rival {
    let scales = |it: &&HorizontalPodAutoscaler| {
        let of = &it.spec.scale_target_ref;
        of.kind == format!("{:?}", target.kind) && of.name == target.name
    };
    let Some(found) = all.iter().find(scales) else {
        return Rival::None;
    };
    let mut owners = found.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true));
    Rival::Named(match owner {
        Some(owner) => format!("{} {}", owner.kind, owner.name),
        None => format!("HorizontalPodAutoscaler {}", found.name_any()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};
    use taskqueue_api::spec::TargetKind;

    use super::*;

    fn autoscaler(name: &str, kind: &str, of: &str, owners: &Value) -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "metadata": { "name": name, "ownerReferences": owners },
            "spec": {
                "maxReplicas": 3,
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": kind, "name": of }
            }
        }))
        .unwrap()
    }

    #[test]
    fn the_autoscaler_of_that_very_object_is_named_or_who_stands_behind_it() {
        let target = Target {
            namespace: "shop".to_owned(),
            kind: TargetKind::Deployment,
            name: "mailer".to_owned(),
        };
        let others = [
            autoscaler("a", "Deployment", "web", &json!([])),
            autoscaler("b", "StatefulSet", "mailer", &json!([])),
        ];
        assert_eq!(rival(&others, &target), Rival::None);
        let own = autoscaler("c", "Deployment", "mailer", &json!([]));
        let named = Rival::Named("HorizontalPodAutoscaler c".to_owned());
        assert_eq!(rival(&[own], &target), named);
        let keda = json!([{
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "mail", "uid": "1",
            "controller": true
        }]);
        let keda = autoscaler("keda-hpa-mail", "Deployment", "mailer", &keda);
        let named = Rival::Named("ScaledObject mail".to_owned());
        assert_eq!(rival(&[keda], &target), named);
    }
}
