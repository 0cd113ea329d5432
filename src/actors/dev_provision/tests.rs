//! The DevProvisionActor with root and status around it, in virtual time, against a world that fails on purpose.
use super::{Message, world::*, *};
use crate::{
    actors::{
        root::{Root, actor_rule},
        status::{Gauges, Published, StatusReader},
    },
    model::{
        ids::OperationId,
        phase::State,
        snapshot::{Usage, Warning},
        time::{BootTime, WallTime},
    },
    policy::{dev_provision::Recollection, game_server::command::Moment, status::Identity},
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard};

#[derive(Default)]
struct Truth {
    disk: Memory,
    done: Vec<Step>,
    at_work: u32,
    operations: u64,
    refreshed: u32,
    /// The step that goes wrong the next time, and how.
    bad: Option<(Step, Bad)>,
}

#[derive(Clone, Copy)]
enum Bad {
    Fails,
    Panics,
    Hangs,
}

#[derive(Default)]
struct Script(Mutex<Truth>);

impl Script {
    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap()
    }
}

struct Scripted(Arc<Script>);

fn resolve(body: Value) -> Result<Resolved, Refusal> {
    let config = crate::policy::dev_provision::read(&body, &Settings::default())?;
    Ok(Resolved { config, shown: body.clone(), body, warnings: Vec::new() })
}

impl World for Scripted {
    fn now(&self) -> Moment {
        Moment { boot: BootTime::default(), wall: WallTime(1_000), chance: 0.0 }
    }
    fn operation_id(&self) -> OperationId {
        let mut truth = self.0.truth();
        truth.operations += 1;
        OperationId(format!("op-{}", truth.operations))
    }
    fn resolve(&self, body: Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        ready(resolve(body)).boxed()
    }
    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let memory = self.0.truth().disk.clone();
        let config = memory.config.clone().map(|body| Ok(Arc::new(resolve(body).unwrap())));
        ready(Ok(Recollection { memory, config })).boxed()
    }
    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.0.truth().disk = memory;
        ready(Ok(())).boxed()
    }
    fn perform(&self, step: Step, _: Arc<Resolved>, progress: Progress) -> BoxFuture<'static, Result<(), String>> {
        let script = self.0.clone();
        async move {
            script.truth().at_work += 1;
            progress("half way", Some(0.5));
            elapse(Duration::from_secs(1)).await;
            let bad = script.truth().bad.take_if(|(which, _)| *which == step).map(|(_, bad)| bad);
            match bad {
                Some(Bad::Fails) => return Err("injected".into()),
                Some(Bad::Panics) => panic!("injected"),
                Some(Bad::Hangs) => std::future::pending::<()>().await,
                None => script.truth().done.push(step),
            }
            Ok(())
        }
        .boxed()
    }
    fn refresh(&self) -> BoxFuture<'static, Result<(), String>> {
        self.0.truth().refreshed += 1;
        ready(Ok(())).boxed()
    }
}

/// Virtual time passes: every test here has `start_paused`, so this is arithmetic.
async fn elapse(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

struct NoGauges;

impl Gauges for NoGauges {
    fn now(&self) -> (BootTime, WallTime) {
        (BootTime::default(), WallTime(1_000))
    }
    fn usage(&self, _: Option<i32>) -> BoxFuture<'static, Usage> {
        ready(Usage::default()).boxed()
    }
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

struct Agent {
    dev: DevProvision,
    status: StatusReader,
    root: Root,
}

impl Agent {
    async fn up(script: &Arc<Script>) -> Agent {
        let (settings, gauges) = (Arc::new(Settings::default()), Arc::new(NoGauges));
        let status = Status::new(Identity::default(), gauges, Duration::from_secs(5)).unwrap();
        let dev = DevProvision::new(Arc::new(Scripted(script.clone())), settings, status.clone(), "/w".into());
        let root = Root::spawn(vec![status.child(), dev.child()], actor_rule()).await.unwrap();
        Agent { dev, status: status.reader(), root }
    }

    async fn configure(&self) -> Result<Accepted, Denied> {
        self.dev.configure(json!({"vmid": 1, "runtime": "node", "version": "22"}), "test").await
    }

    async fn until(&self, wanted: impl Fn(&Published) -> bool) -> Arc<Published> {
        let (mut reader, mut seen) = (self.status.clone(), self.status.current());
        while !wanted(&seen) {
            seen = reader.past(seen.snapshot.revision.0).await;
        }
        seen
    }

    async fn state(&self, state: State) -> Arc<Published> {
        self.until(|p| p.snapshot.state == state && p.snapshot.container_type == "dev").await
    }
}

fn all_steps() -> Vec<Step> {
    vec![Step::Withdraw, Step::Account, Step::Workspace, Step::Runtime, Step::Environment, Step::SmokeTest]
}

#[tokio::test(start_paused = true)]
async fn each_step_is_seen_and_in_the_end_it_runs() {
    let script = Arc::<Script>::default();
    let agent = Agent::up(&script).await;
    let accepted = agent.configure().await.unwrap();
    assert_eq!((accepted.state, accepted.operation.is_some()), (Shown::Installing, true));
    assert!(script.truth().disk.config.is_some(), "acknowledged means stored");
    let seen = agent.until(|p| p.snapshot.install_progress == Some(0.5)).await;
    assert_eq!((seen.snapshot.install_step.as_str(), seen.snapshot.operation_in_progress), ("half way", true));
    assert!(matches!(agent.configure().await, Err(Denied::Refused(Refusal::OperationInProgress { .. }))));
    let seen = agent.state(State::Running).await;
    assert!(seen.snapshot.dev_provisioned && seen.snapshot.ready && seen.checks.iter().all(|c| c.ok));
    assert_eq!(script.truth().done, all_steps());
    agent.dev.runtimes_changed();
    agent.configure().await.unwrap();
    agent.state(State::Installing).await;
    agent.state(State::Running).await;
    assert_eq!(script.truth().refreshed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_body_changes_nothing() {
    let script = Arc::<Script>::default();
    let agent = Agent::up(&script).await;
    let refused = agent.dev.configure(json!({"vmid": 1, "addons": ["x"]}), "test").await;
    assert!(matches!(refused, Err(Denied::Refused(Refusal::Unusable { .. }))));
    let truth = script.truth();
    assert_eq!((truth.disk.clone(), truth.at_work), (Memory::default(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_or_breaks_is_an_error_with_its_reason() {
    for (bad, why) in [(Bad::Fails, "injected"), (Bad::Panics, "its task broke"), (Bad::Hangs, "dev.provision_within")]
    {
        let script = Arc::<Script>::default();
        script.truth().bad = Some((Step::Runtime, bad));
        let agent = Agent::up(&script).await;
        agent.configure().await.unwrap();
        let seen = agent.state(State::Error).await;
        let error = seen.snapshot.provisioning_error.clone().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(!seen.snapshot.runtime_installed && !seen.snapshot.operation_in_progress);
        agent.configure().await.unwrap();
        agent.state(State::Running).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_me_goes_on() {
    let script = Arc::<Script>::default();
    let agent = Agent::up(&script).await;
    agent.configure().await.unwrap();
    agent.until(|p| p.snapshot.install_step == "half way").await;
    agent.dev.slot.cast(Message::Panic);
    agent.state(State::Running).await;
    assert_eq!(script.truth().done, all_steps(), "the root's new actor walks the plan");
    agent.configure().await.unwrap();
    agent.until(|p| p.snapshot.install_step == "half way").await;
    agent.root.kill().await;
    let next = Agent::up(&script).await;
    let seen = next.state(State::Running).await;
    assert_eq!(seen.operations.len(), 2);
    assert!(seen.operations.iter().all(|o| o.state == crate::model::operation::OperationState::Done));
}
