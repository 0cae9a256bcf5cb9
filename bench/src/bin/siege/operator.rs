//! The operator that is besieged: kept running as a kubelet would, sampled all the time.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::DeleteParams};
use taskqueue_e2e::{
    Patience,
    alone::{ApiServer, Operator},
    eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};

use crate::cage::Cage;

/// The name of the operators' Lease.
const LEASE: &str = "taskqueue-operator";
/// Time between two samples.
const SAMPLE: Duration = Duration::from_millis(100);
/// The liveness probe of the chart: how often, how long it waits, and how many in a row may fail.
const PROBE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(3), 3);
/// The wait before one that has fallen is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an operator that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// What was seen of the operators of one phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Most resident memory, in bytes.
    pub(crate) peak: u64,
    /// Time that they kept a core busy.
    pub(crate) busy: Duration,
    /// Why one had to be started again, each time.
    pub(crate) restarts: Vec<String>,
    /// Liveness probes that failed.
    pub(crate) probes_failed: u32,
    /// How long each that was told to end took to give up the Lease; `None` for one that never did.
    pub(crate) gave_up: Vec<Option<Duration>>,
}

/// One that runs.
struct Running {
    operator: Operator,
    identity: String,
    cage: Cage,
    busy: Duration,
}

struct State {
    running: Option<Running>,
    figures: Figures,
    failed_in_a_row: u32,
    /// Why it was killed by us.
    blamed: Option<String>,
}

/// Keeps one operator running.
pub(crate) struct Keeper {
    server: Arc<ApiServer>,
    redis: String,
    leases: Api<Lease>,
    state: Mutex<State>,
    address: watch::Sender<String>,
    cages: std::sync::atomic::AtomicUsize,
}

impl Keeper {
    /// Begins to watch over an operator that is still to be started.
    pub(crate) fn new(server: Arc<ApiServer>, client: Client, redis: String) -> Arc<Self> {
        let state = State {
            running: None,
            figures: Figures::default(),
            failed_in_a_row: 0,
            blamed: None,
        };
        let keeper = Arc::new(Self {
            server,
            redis,
            leases: Api::namespaced(client, "default"),
            state: Mutex::new(state),
            address: watch::Sender::default(),
            cages: 0.into(),
        });
        tokio::spawn(Arc::clone(&keeper).watch());
        tokio::spawn(Arc::clone(&keeper).probe());
        keeper
    }

    /// Where the probes of the operator are, as it changes.
    pub(crate) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    /// Starts one on a Lease that nobody has, and waits until it looks at so many queues.
    pub(crate) async fn start(&self, queues: usize) {
        // One that was killed has left its name in it.
        let _ = self.leases.delete(LEASE, &DeleteParams::default()).await;
        let running = self.launch("operator");
        self.install(running);
        eventually("a look at all queues", Patience::LONG, async || {
            let state = self.lock();
            let running = state.running.as_ref().ok_or("it has ended")?;
            let metrics = running.operator.metrics();
            let metrics = metrics.map_err(|_| "it does not answer")?;
            let seen = metrics
                .keys()
                .filter(|name| name.starts_with("taskqueue_redis_reachable{"))
                .count();
            (seen >= queues).then_some(()).ok_or("it has not seen all")
        })
        .await;
        self.lock().figures = Figures::default();
    }

    /// Ends the operator by SIGTERM while another one stands by, and waits until that one leads.
    /// Returns from when to when nobody led.
    pub(crate) async fn hand_over(&self) -> (Instant, Instant) {
        let next = self.launch("operator-next");
        // It has to have seen the Lease.
        sleep(Duration::from_secs(5)).await;
        let old = self.lock().running.take();
        let asked = Instant::now();
        self.install(next);
        self.end_one(old).await;
        let leads = async |it: &Self| it.holder().await.is_some_and(|it| it == "operator-next");
        while !leads(self).await && asked.elapsed() < Duration::from_mins(1) {
            sleep(Duration::from_millis(20)).await;
        }
        (asked, Instant::now())
    }

    /// Ends the operator by SIGTERM, and returns what was seen of it and those before.
    pub(crate) async fn end(&self) -> Figures {
        let last = self.lock().running.take();
        self.end_one(last).await;
        std::mem::take(&mut self.lock().figures)
    }

    /// What the runs can rely on: whether there is a memory limit, and a resolver of our own.
    pub(crate) fn cage(&self) -> (bool, bool) {
        let state = self.lock();
        let cage = state.running.as_ref().map(|running| &running.cage);
        cage.map_or((false, false), |cage| (cage.limits(), cage.resolves()))
    }

    async fn end_one(&self, old: Option<Running>) {
        let Some(mut old) = old else { return };
        let asked = Instant::now();
        signal(&old.operator, "-TERM");
        let mut gave_up = None;
        while asked.elapsed() < GRACE {
            let holder = self.holder().await;
            if holder.is_none_or(|holder| holder != old.identity) {
                gave_up = Some(asked.elapsed());
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.lock().figures.gave_up.push(gave_up);
        while asked.elapsed() < GRACE && old.operator.ended().is_none() {
            sleep(Duration::from_millis(20)).await;
        }
        // The cage goes after whoever is in it.
        old.operator.kill();
    }

    /// Who holds the Lease; `None` when nobody does. An API server that cannot tell is asked again.
    async fn holder(&self) -> Option<String> {
        loop {
            if let Ok(lease) = self.leases.get_opt(LEASE).await {
                let spec = lease.and_then(|lease| lease.spec);
                let holder = spec.and_then(|spec| spec.holder_identity);
                return holder.filter(|holder| !holder.is_empty());
            }
            sleep(SAMPLE).await;
        }
    }

    fn launch(&self, identity: &str) -> Running {
        let number = &self.cages;
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kubeconfig = self.server.kubeconfig();
        let cage = Cage::new(self.server.folder(), &kubeconfig, number);
        let launcher = cage.launcher();
        Running {
            operator: Operator::start_by(&launcher, &self.server, identity, &self.redis),
            identity: identity.to_owned(),
            cage,
            busy: Duration::ZERO,
        }
    }

    fn install(&self, running: Running) {
        self.address
            .send_replace(running.operator.address().to_owned());
        let mut state = self.lock();
        state.failed_in_a_row = 0;
        state.running = Some(running);
    }

    /// Samples it, and starts it again when it has ended.
    async fn watch(self: Arc<Self>) {
        let mut tick = interval(SAMPLE);
        loop {
            tick.tick().await;
            let fallen = self.sample();
            if let Some((identity, cause)) = fallen {
                eprintln!("siege: the operator has ended: {cause}");
                self.tell_log(&identity);
                sleep(AGAIN).await;
                let running = self.launch(&identity);
                self.install(running);
            }
        }
    }

    /// Takes a sample; its name and the cause if it has ended.
    fn sample(&self) -> Option<(String, String)> {
        let mut state = self.lock();
        let State {
            running,
            figures,
            blamed,
            ..
        } = &mut *state;
        let one = running.as_mut()?;
        if let Some(status) = one.operator.ended() {
            let cause = match (blamed.take(), status.signal(), one.cage.kills()) {
                (Some(blamed), ..) => blamed,
                (None, Some(9), 1..) => "killed for want of memory".to_owned(),
                (None, Some(signal), _) => format!("signal {signal}"),
                (None, None, _) => status.to_string(),
            };
            figures.restarts.push(cause.clone());
            let identity = one.identity.clone();
            *running = None;
            return Some((identity, cause));
        }
        let pid = one.operator.pid();
        if let (Some(resident), Some(busy)) = (resident(pid), busy(pid)) {
            figures.peak = figures.peak.max(resident);
            figures.busy += busy.saturating_sub(one.busy);
            one.busy = busy;
        }
        None
    }

    /// Asks whether it lives, and ends it where a kubelet would.
    async fn probe(self: Arc<Self>) {
        let (period, patience, most) = PROBE;
        let mut tick = interval(period);
        loop {
            tick.tick().await;
            let address = self.address.borrow().clone();
            if address.is_empty() {
                continue;
            }
            let lives = timeout(patience, lives(&address)).await;
            let mut state = self.lock();
            let is_same = |it: &Running| it.operator.address() == address;
            if !state.running.as_ref().is_some_and(is_same) {
                continue;
            }
            if matches!(lives, Ok(Ok(true))) {
                state.failed_in_a_row = 0;
                continue;
            }
            state.figures.probes_failed += 1;
            state.failed_in_a_row += 1;
            if state.failed_in_a_row >= most {
                state.failed_in_a_row = 0;
                state.blamed = Some(format!("{most} liveness probes failed"));
                if let Some(running) = &state.running {
                    signal(&running.operator, "-KILL");
                }
            }
        }
    }

    fn tell_log(&self, identity: &str) {
        let log = self.server.folder().join(format!("{identity}.log"));
        let log = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(5)..] {
            eprintln!("siege:   {}", line.chars().take(300).collect::<String>());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn lives(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}

fn signal(operator: &Operator, signal: &str) {
    let pid = operator.pid().to_string();
    // One that has ended already is seen elsewhere.
    let _ = Command::new("kill").args([signal, &pid]).status();
}

/// The most that was ever resident, from status in proc(5).
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// From stat in proc(5): behind the name utime and stime are the 12th and 13th field, in ticks of
/// 10 ms.
fn busy(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit(')').next()?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = ticks.filter_map(|field| field.parse().ok()).collect();
    Some(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}
