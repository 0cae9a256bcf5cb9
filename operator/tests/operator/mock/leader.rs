//! Leader election. Time is the test's own: it jumps to the next thing that is waited for.

use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_operator::leader::{Candidate, Held, Lost};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::server::{Call, playing};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/taskqueue/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/taskqueue/leases/taskqueue-operator";
const ME: &str = "operator-0";
const OTHER: &str = "operator-1";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(holder: &str, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "taskqueue-operator", "namespace": "taskqueue", "resourceVersion": version },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 10, "leaseTransitions": 4 }
    })
}

/// What the API server is asked and what it answers.
enum Scenario {
    ThereIsNoLeaseYet,
    AnotherCandidateIsFasterToMakeIt,
    TheLeaseWasGivenUp,
    TheLeaseIsStillOursFromBeforeARestart,
    TheLeaseStandsStillFor { looks: usize },
    TheLeaseStandsStillAndSaysThatItHoldsForDecades { looks: usize },
    TheLeaseIsRenewedInBetween,
    AnotherCandidateIsFasterToTakeItOver,
    TheServerDoesNotAnswerAtFirst,
}

impl Scenario {
    fn calls(self) -> Vec<Call> {
        let look = |version: &str| Call::get(LEASE).answer(lease(OTHER, version));
        match self {
            Self::ThereIsNoLeaseYet => vec![Call::get(LEASE).not_found(), created()],
            Self::AnotherCandidateIsFasterToMakeIt => vec![
                Call::get(LEASE).not_found(),
                Call::post(LEASES).refuse(409, "already exists"),
                look("1"),
                look("1"),
            ],
            Self::TheLeaseWasGivenUp => {
                vec![Call::get(LEASE).answer(lease("", "5")), taken("5", 5)]
            }
            Self::TheLeaseIsStillOursFromBeforeARestart => {
                vec![Call::get(LEASE).answer(lease(ME, "5")), taken("5", 5)]
            }
            Self::TheLeaseStandsStillFor { looks } => {
                let mut calls: Vec<_> = (0..looks).map(|_| look("1")).collect();
                calls.push(taken("1", 5));
                calls
            }
            Self::TheLeaseStandsStillAndSaysThatItHoldsForDecades { looks } => {
                let mut decades = lease(OTHER, "1");
                decades["spec"]["leaseDurationSeconds"] = json!(i32::MAX);
                let look = |_| Call::get(LEASE).answer(decades.clone());
                let mut calls: Vec<_> = (0..looks).map(look).collect();
                calls.push(taken("1", 5));
                calls
            }
            Self::TheLeaseIsRenewedInBetween => {
                let mut calls: Vec<_> = (0..8).map(|_| look("1")).collect();
                calls.extend((0..12).map(|_| look("2")));
                calls.push(taken("2", 5));
                calls
            }
            Self::AnotherCandidateIsFasterToTakeItOver => vec![
                Call::get(LEASE).answer(lease("", "5")),
                Call::put(LEASE).refuse(409, "the object has been modified"),
                look("6"),
                look("6"),
            ],
            Self::TheServerDoesNotAnswerAtFirst => {
                vec![
                    Call::get(LEASE).silent(),
                    Call::get(LEASE).not_found(),
                    created(),
                ]
            }
        }
    }

    /// Whether and when the candidate was elected, within that time.
    async fn play(self, within: Duration) -> Option<Duration> {
        let (client, played) = playing(self.calls());
        let candidate = Candidate::new(client, "taskqueue", ME.to_owned());
        let start = Instant::now();
        let elected = timeout(within, candidate.elected()).await;
        drop(candidate);
        played.end().await;
        elected.ok().map(|_| start.elapsed())
    }
}

fn created() -> Call {
    Call::post(LEASES).checked(|lease| {
        assert_eq!(lease["metadata"]["name"], "taskqueue-operator");
        assert_eq!(lease["spec"]["holderIdentity"], ME);
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 10);
        assert_eq!(lease["spec"]["leaseTransitions"], 0);
    })
}

/// The Lease is taken, under the version that was looked at.
fn taken(version: &'static str, transitions: i64) -> Call {
    Call::put(LEASE)
        .checked(move |lease| {
            assert_eq!(lease["metadata"]["resourceVersion"], version);
            assert_eq!(lease["spec"]["holderIdentity"], ME);
            assert_eq!(lease["spec"]["leaseTransitions"], transitions);
        })
        .answer(lease(ME, "9"))
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_makes_the_lease_and_leads_at_once() {
    let elected = Scenario::ThereIsNoLeaseYet.play(secs(1)).await;
    assert_eq!(elected, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_make_the_lease_the_second_waits() {
    let elected = Scenario::AnotherCandidateIsFasterToMakeIt
        .play(Duration::from_millis(2500))
        .await;
    assert_eq!(elected, None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_up_is_taken_at_once() {
    let elected = Scenario::TheLeaseWasGivenUp.play(secs(1)).await;
    assert_eq!(elected, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_restarts_under_its_name_takes_its_lease_at_once() {
    let elected = Scenario::TheLeaseIsStillOursFromBeforeARestart
        .play(secs(1))
        .await;
    assert_eq!(elected, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_over_only_after_it_stood_still_for_its_duration() {
    // Looked at every second from 0 to 11: at 10 it has not stood still for more than 10.
    let elected = Scenario::TheLeaseStandsStillFor { looks: 12 }
        .play(secs(60))
        .await;
    assert_eq!(elected, Some(secs(11)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_starts_the_wait_anew() {
    let elected = Scenario::TheLeaseIsRenewedInBetween.play(secs(60)).await;
    assert_eq!(elected, Some(secs(8 + 11)));
}

#[tokio::test(start_paused = true)]
async fn no_duration_keeps_the_lease_for_ever_from_those_who_wait() {
    let scenario = Scenario::TheLeaseStandsStillAndSaysThatItHoldsForDecades { looks: 302 };
    let elected = scenario.play(secs(3600)).await;
    assert_eq!(elected, Some(secs(301)));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_a_lease_over_the_second_waits() {
    let elected = Scenario::AnotherCandidateIsFasterToTakeItOver
        .play(Duration::from_millis(2500))
        .await;
    assert_eq!(elected, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_again() {
    let elected = Scenario::TheServerDoesNotAnswerAtFirst.play(secs(60)).await;
    // 2 s for the answer and 1 s to the next look.
    assert_eq!(elected, Some(secs(3)));
}

/// How leadership went: its outcome and how long it was held.
struct Leadership {
    outcome: Result<(), Lost>,
    held: Duration,
}

/// Leads from second 0, with these calls after the election.
async fn lead(calls: Vec<Call>, stop_after: Option<Duration>) -> Leadership {
    let mut all = vec![Call::get(LEASE).answer(lease("", "5")), taken("5", 5)];
    all.extend(calls);
    let (client, played) = playing(all);
    let candidate = Candidate::new(client, "taskqueue", ME.to_owned());
    let held: Held = candidate.elected().await;
    let start = Instant::now();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    if let Some(after) = stop_after {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            stopping.cancel();
        });
    }
    let outcome = candidate.lead(held, stop).await;
    let held = start.elapsed();
    drop(candidate);
    played.end().await;
    Leadership { outcome, held }
}

/// A renewal under this version, answered with the next one.
fn renewal(version: &'static str, next: &'static str) -> Call {
    Call::put(LEASE)
        .checked(move |lease| {
            assert_eq!(lease["metadata"]["resourceVersion"], version);
            assert_eq!(lease["spec"]["holderIdentity"], ME);
            assert!(lease["spec"]["renewTime"].is_string());
        })
        .answer(lease(ME, next))
}

fn given_up(version: &'static str) -> Call {
    Call::put(LEASE).checked(move |lease| {
        assert_eq!(lease["metadata"]["resourceVersion"], version);
        assert_eq!(lease["spec"]["holderIdentity"], "");
        // What the next one counts on.
        assert_eq!(lease["spec"]["leaseTransitions"], 4);
    })
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_every_two_seconds_and_its_holder_cleared_at_the_end() {
    let calls = vec![renewal("9", "10"), renewal("10", "11"), given_up("11")];
    let leadership = lead(calls, Some(secs(5))).await;
    assert!(leadership.outcome.is_ok());
    assert_eq!(leadership.held, secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_the_hands_of_another_ends_leadership_at_once() {
    let calls = vec![
        Call::put(LEASE).refuse(409, "the object has been modified"),
        Call::get(LEASE).answer(lease(OTHER, "10")),
    ];
    let leadership = lead(calls, None).await;
    match leadership.outcome {
        Err(Lost::Taken(holder)) => assert_eq!(holder, OTHER),
        other => panic!("{other:?}"),
    }
    assert_eq!(leadership.held, secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_only_annotated_is_renewed_under_its_new_version() {
    let calls = vec![
        Call::put(LEASE).refuse(409, "the object has been modified"),
        Call::get(LEASE).answer(lease(ME, "10")),
        renewal("10", "11"),
        given_up("11"),
    ];
    assert!(lead(calls, Some(secs(3))).await.outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_deadline_is_survived() {
    let refused = || Call::put(LEASE).refuse(500, "etcd has no leader");
    let calls = vec![refused(), refused(), renewal("9", "10"), given_up("10")];
    assert!(lead(calls, Some(secs(5))).await.outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_leadership_before_another_may_take_it() {
    let refused = || Call::put(LEASE).refuse(500, "etcd has no leader");
    let leadership = lead((0..5).map(|_| refused()).collect(), None).await;
    match leadership.outcome {
        Err(Lost::Expired(Some(cause))) => assert!(cause.to_string().contains("no leader")),
        other => panic!("{other:?}"),
    }
    assert_eq!(leadership.held, secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_ends_leadership_in_time_too() {
    // Asked at 2, 4 and 6.
    let calls = (0..3).map(|_| Call::put(LEASE).silent()).collect();
    let leadership = lead(calls, None).await;
    assert!(matches!(leadership.outcome, Err(Lost::Expired(None))));
    assert_eq!(leadership.held, secs(7));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_when_the_renewal_was_sent_not_from_its_answer() {
    // Sent at 2, answered at 3.5; the next ones are sent at 5.5 and 7.5.
    let silent = || Call::put(LEASE).silent();
    let late = renewal("9", "10").after(Duration::from_millis(1500));
    let calls = vec![late, silent(), silent()];
    let leadership = lead(calls, None).await;
    assert!(matches!(leadership.outcome, Err(Lost::Expired(None))));
    assert_eq!(leadership.held, secs(2 + 7));
}

#[tokio::test(start_paused = true)]
async fn conflicts_while_the_lease_cannot_be_read_are_tried_with_a_pause() {
    let conflict = || Call::put(LEASE).refuse(409, "the object has been modified");
    let unreadable = || Call::get(LEASE).refuse(500, "etcd has no leader");
    let calls = (0..5).flat_map(|_| [conflict(), unreadable()]).collect();
    let leadership = lead(calls, None).await;
    assert!(matches!(leadership.outcome, Err(Lost::Expired(Some(_)))));
    assert_eq!(leadership.held, secs(7));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_got_lost_costs_one_try_and_not_the_leadership() {
    // Not answered at 2; written all the same, so that the try at 4 is refused.
    let calls = vec![
        Call::put(LEASE).silent(),
        Call::put(LEASE).refuse(409, "the object has been modified"),
        Call::get(LEASE).answer(lease(ME, "10")),
        renewal("10", "11"),
        given_up("11"),
    ];
    assert!(lead(calls, Some(secs(5))).await.outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_long_for_a_server_that_does_not_answer() {
    let leadership = lead(vec![Call::put(LEASE).silent()], Some(secs(1))).await;
    assert!(leadership.outcome.is_ok());
    assert_eq!(leadership.held, secs(1 + 2));
}
