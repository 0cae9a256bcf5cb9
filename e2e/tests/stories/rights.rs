//! What the token of the installed operator is good for.

use kube::config::Kubeconfig;
use taskqueue_e2e::{Account, SYSTEM, Story, kubectl};

use crate::requests::{Place, hold};

#[tokio::test]
async fn the_operators_token_is_good_for_nothing_but_its_work() {
    let story = Story::begin("rights").await;
    let place = Place {
        release: SYSTEM.to_owned(),
        account: "taskqueue-operator".to_owned(),
        tenant: story.namespace.clone(),
    };
    place.furnish(|manifest| {
        story.apply(manifest);
    });
    let admin = Kubeconfig::read().expect("a kubeconfig: run make test-cluster");
    let account = Account::of(&admin, &place.release, &place.account).await;
    hold(&account.client().await, &place.rows()).await;
    // What the API server's own check of the policies' expressions says, once it has looked at them.
    let path = "jsonpath={range .items[*]}{.metadata.name}{\" \"}{.status.typeChecking.expressionWarnings}{\"\\n\"}{end}";
    let instance = "app.kubernetes.io/instance=taskqueue";
    let policies = kubectl(
        &[
            "get",
            "validatingadmissionpolicies",
            "-l",
            instance,
            "-o",
            path,
        ],
        "",
    );
    assert_eq!(policies.lines().count(), 7, "{policies}");
    for line in policies.lines() {
        let (_, warnings) = line.split_once(' ').unwrap();
        assert!(warnings.is_empty(), "{line}");
    }
}
