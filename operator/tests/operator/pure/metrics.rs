//! What the operator tells of a queue in figures.

use taskqueue_operator::metrics::Metrics;

use crate::fixtures::{key, sight, snapshot};

#[test]
fn missing_tasks_are_the_total_that_redis_has_and_go_with_the_queue() {
    let metrics = Metrics::default();
    let told = || {
        let text = metrics.encode().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("taskqueue_queue_missing_tasks_total{"))?;
        Some(line.rsplit_once(' ').unwrap().1.to_owned())
    };
    for missing in [0, 3, 3, 8] {
        let mut snapshot = snapshot();
        snapshot.counters.missing = missing;
        metrics.looked(&key(), &sight(Ok(snapshot)), 1);
        assert_eq!(told(), Some(missing.to_string()));
    }
    metrics.looked(&key(), &sight(Err("away".to_owned())), 1);
    assert_eq!(told().as_deref(), Some("8"), "it is not known to be less");
    metrics.forget(&key());
    assert_eq!(told(), None);
}
