//! Puts the operator together and runs it until it is told to stop.

use std::{sync::Arc, sync::atomic::Ordering};

use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{
    Api, Client, Resource,
    client::ClientBuilder,
    runtime::{
        Controller, WatchStreamExt, controller,
        reflector::{self, Store},
        watcher::{self, watcher},
    },
};
use tokio::{
    net::TcpListener,
    sync::{SetOnce, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    autoscaler,
    config::Config,
    dialing::Dialing,
    events,
    fleet::{self, Pods},
    http::{self, Health},
    index::Index,
    key::Key,
    leader::{Candidate, Lost},
    metrics::Metrics,
    reconcile::{
        self, Context, Guarded, build::deployment::MANAGED_BY, claim::Claims, memory::Memory,
    },
    secrets, server, status,
    targets::{self, Targets},
    turns::Turns,
    watch,
    workload::Workload,
};

/// Objects of a page of the first list. They are whole until they are stripped, so that pages of
/// the usual 500 are much of the memory that a start takes.
const PAGE: u32 = 100;
/// TaskQueues of a page: whoever may write them can make each as large as etcd takes, 1.5 MiB.
const QUEUES_PAGE: u32 = 20;
/// Reconciles under way at once. The controller knows no namespaces: of those that it begins, what is beyond a namespace's
/// share is put off.
const RECONCILES: u16 = 20;
/// Of one namespace.
const RECONCILES_SHARE: usize = 16;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to the API server.
    #[error("cannot find the API server: run in a cluster or set KUBECONFIG")]
    Client(#[source] kube::Error),
    /// The configuration of the client is of no use.
    #[error("cannot read the kubeconfig or the service account")]
    Config(#[source] kube::config::InferConfigError),
    /// The address of the probes is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another operator leads now.
    #[error(transparent)]
    Leadership(#[from] Lost),
}

/// Runs the operator until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let client = client(Arc::clone(&metrics)).await?;
    let address = config.http_address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "answering probes");
    }
    let serving = tokio::spawn(http::serve(
        listener,
        Arc::clone(&health),
        Arc::clone(&metrics),
        stop.clone(),
    ));

    let candidate = Candidate::new(
        client.clone(),
        &config.lease_namespace,
        config.identity.clone(),
    );
    health.standby.store(true, Ordering::Relaxed);
    let lease = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        lease = candidate.elected() => lease,
    };
    health.standby.store(false, Ordering::Relaxed);
    metrics.leads(true);

    // The work stops first and leadership is given up last.
    let work_stop = stop.child_token();
    let lead_stop = CancellationToken::new();
    let lead = candidate.lead(lease, lead_stop.clone());
    let work = work(client, config, metrics, health, work_stop.clone());
    tokio::pin!(lead, work);
    let outcome = tokio::select! {
        () = &mut work => {
            lead_stop.cancel();
            lead.await
        }
        lost = &mut lead => {
            // No more writes from here on: another operator may be at work already.
            lost
        }
    };
    serving.abort();
    outcome.map_err(RunError::from)
}

/// A client that counts its requests.
async fn client(metrics: Arc<Metrics>) -> Result<Client, RunError> {
    let config = kube::Config::infer().await.map_err(RunError::Config)?;
    let counting = tower::util::MapRequestLayer::new(move |request: ::http::Request<_>| {
        metrics.requested(request.method(), request.uri().path());
        request
    });
    Ok(ClientBuilder::try_from(config)
        .map_err(RunError::Client)?
        .with_layer(&counting)
        .build())
}

/// Begins to watch the worker pods, and the targets of sources, which are returned.
fn watch_what_is_scaled(
    tasks: &TaskTracker,
    client: &Client,
    namespace: Option<&str>,
    pods: &Arc<Pods>,
    stop: &CancellationToken,
) -> Arc<Targets> {
    tasks.spawn(fleet::watch(
        api(client, namespace),
        Arc::clone(pods),
        stop.clone(),
    ));
    let targets = Arc::new(Targets::default());
    tasks.spawn(targets::watch(
        client.clone(),
        namespace.map(ToOwned::to_owned),
        Arc::clone(&targets),
        stop.clone(),
    ));
    targets
}

/// The work of the leader.
async fn work(
    client: Client,
    config: Config,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    let Some(knows_stop_signals) = server::knows_stop_signals(&client, &stop).await else {
        return;
    };
    let (resources, resource_writer) = reflector::store::<Guarded>();
    let (workloads, workload_writer) = reflector::store::<Workload>();
    let (budgets, budget_writer) = reflector::store::<PodDisruptionBudget>();
    let index = Arc::new(Index::default());
    let (events, publisher) = events::channel(client.clone(), &config.identity, resources.clone());
    let (triggers, mut triggered) = mpsc::unbounded_channel();
    let triggered = futures::stream::poll_fn(move |context| triggered.poll_recv(context));
    let context = Arc::new(Context {
        client: client.clone(),
        resources: resources.clone(),
        workloads: workloads.clone(),
        budgets,
        index: Arc::clone(&index),
        events: events.clone(),
        claims: Claims::default(),
        secrets: Arc::default(),
        memory: Memory::default(),
        turns: Turns::new(RECONCILES.into(), RECONCILES_SHARE),
        triggers,
        metrics: Arc::clone(&metrics),
        config,
        knows_stop_signals,
    });

    let namespace = context.config.namespace.as_deref();
    let pods = Arc::new(Pods::default());
    let listed = Arc::new(SetOnce::new());
    let resource_stream = watcher(
        api::<Guarded>(&client, namespace),
        watcher::Config::default().page_size(QUEUES_PAGE),
    )
    .default_backoff()
    .modify(watch::strip_resource)
    .reflect(resource_writer)
    .inspect_ok(keeping(&context, &pods, &listed));
    let touching = Arc::clone(&index);
    let workload_stream = watcher(api::<Workload>(&client, namespace), ours())
        .default_backoff()
        .reflect(workload_writer)
        .inspect_ok(move |event| touch(&touching, event));
    let budget_stream = watcher(api::<PodDisruptionBudget>(&client, namespace), ours())
        .default_backoff()
        .reflect(budget_writer)
        .touched_objects();

    let tasks = TaskTracker::new();
    tasks.spawn(publisher.run(stop.clone()));
    let targets = watch_what_is_scaled(&tasks, &client, namespace, &pods, &stop);
    let telling_of_redis = events.clone();
    let config = &context.config;
    let dialing = Dialing::new(config.default_redis.clone(), config.redis_allowed.clone());
    let shared = Arc::new(autoscaler::Shared {
        client: client.clone(),
        index: Arc::clone(&index),
        workloads: workloads.clone(),
        pods,
        targets,
        dialing,
        events,
        metrics,
    });
    let scaling = tasks.spawn(autoscaler::run(shared, stop.clone()));
    let reported = Arc::clone(&index);
    let writer = status::Writer::new(
        client,
        index,
        resources.clone(),
        workloads.clone(),
        telling_of_redis,
    );
    let writing = tasks.spawn(writer.run(stop.clone()));
    let telling = Arc::clone(&context);
    let following = tasks.spawn(secrets::follow(
        context.client.clone(),
        Arc::clone(&context.secrets),
        move |key| telling.trigger(key),
        stop.clone(),
    ));
    let watching = tasks.spawn(report(health, (listed, workloads), reported, stop.clone()));

    Controller::for_stream(watch::news(resource_stream, watch::meaning), resources)
        .owns_stream(watch::news(workload_stream, |workload| workload.shape))
        .owns_stream(budget_stream)
        .reconcile_on(triggered)
        .with_config(controller::Config::default().concurrency(RECONCILES))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile::reconcile, reconcile::error_policy, context)
        .for_each(|outcome| {
            log(outcome);
            future::ready(())
        })
        .await;
    // The publisher ends when the last of the others has dropped its side, or soon after `stop`.
    let _ = future::join4(scaling, writing, watching, following).await;
    tasks.close();
    tasks.wait().await;
}

/// What carries our label.
fn ours() -> watcher::Config {
    let label = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
    watcher::Config::default().labels(&label).page_size(PAGE)
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Keeps what is known beside the cache in step with it, and tells once all are `listed`.
fn keeping(
    context: &Arc<Context>,
    pods: &Arc<Pods>,
    listed: &Arc<SetOnce<()>>,
) -> impl Fn(&watcher::Event<Guarded>) + use<> {
    let (context, pods, listed) = (Arc::clone(context), Arc::clone(pods), Arc::clone(listed));
    move |event| {
        keep(&context, &pods, event);
        if matches!(event, watcher::Event::InitDone) {
            // A later listing is no news.
            let _ = listed.set(());
        }
    }
}

fn keep(context: &Context, pods: &Pods, event: &watcher::Event<Guarded>) {
    context.claims.follow(event);
    let forget = |key: &Key| {
        context.forget(key);
        pods.forget(key);
    };
    match event {
        watcher::Event::Delete(resource) => {
            forget(&Key::of(resource));
            // Whoever was kept from its queue may have it now.
            if let Ok(parsed) = &resource.0 {
                for rival in context.claims.rivals(parsed) {
                    context.trigger(&rival);
                }
            }
        }
        watcher::Event::InitDone => {
            for key in context.index.keys() {
                if context.resources.get(&key.object_ref()).is_none() {
                    forget(&key);
                }
            }
        }
        watcher::Event::Apply(_) | watcher::Event::Init | watcher::Event::InitApply(_) => {}
    }
}

/// A change of a Deployment's status starts no reconcile, but the TaskQueue's status tells it.
fn touch(index: &Index, event: &watcher::Event<Workload>) {
    if let watcher::Event::Apply(workload) | watcher::Event::InitApply(workload) = event {
        index.touch(&Key::of(workload));
    }
}

/// Keeps the probes true. That the TaskQueues are listed is not asked of their store: it wakes one
/// of those that wait for it, and the controller has to be that one.
async fn report(
    health: Arc<Health>,
    (listed, workloads): (Arc<SetOnce<()>>, Store<Workload>),
    index: Arc<Index>,
    stop: CancellationToken,
) {
    let filled = async {
        let _ = future::join(listed.wait(), workloads.wait_until_ready()).await;
    };
    tokio::select! {
        () = stop.cancelled() => return,
        () = filled => {}
    }
    health.working.store(true, Ordering::Relaxed);
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {
                // A TaskQueue that cannot be carried out has no queue to look at.
                health.has_queues.store(index.has_orders(), Ordering::Relaxed);
            }
        }
    }
    health.working.store(false, Ordering::Relaxed);
}

fn log<T>(outcome: Result<T, controller::Error<reconcile::error::Error, watcher::Error>>) {
    match outcome {
        // A failed reconcile was told by the error policy, and an object that went meanwhile
        // is no failure.
        Ok(_)
        | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "the watch failed, trying again"),
    }
}
