//! The BackupActor with root and status around it, in virtual time, against a world that fails on purpose.
use super::{world::*, *};
use crate::{
    actors::{
        root::{Root, actor_rule},
        status::{Gauges, StatusReader},
    },
    model::{
        backup::Reason,
        catalog::Digest,
        snapshot::{Usage, Warning},
        time::{BootTime, WallTime},
    },
    policy::{
        backup::{Memory, Now, Recollection, Report, Step},
        status::Identity,
    },
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::sync::{Mutex, MutexGuard};

#[derive(Clone, Copy, PartialEq)]
enum Bad {
    Fails,
    Panics,
    Hangs,
}

#[derive(Default)]
struct Truth {
    disk: Memory,
    shelf: Vec<Backup>,
    drawn: u64,
    released: u32,
    bad: Option<Bad>,
    full: bool,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Truth>>);

impl Script {
    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap()
    }

    fn draw(&self) -> u64 {
        let mut truth = self.truth();
        truth.drawn += 1;
        truth.drawn
    }
}

fn id(n: u64) -> BackupId {
    BackupId::parse(&format!("0198c0de-7a11-7abc-8def-{n:012}")).unwrap()
}

fn backup(id: BackupId) -> Backup {
    Backup {
        id,
        kind: Kind::Dev,
        reason: Reason::Manual,
        created_at: WallTime(0),
        source: "x".into(),
        entries: 0,
        bytes: 0,
        archive_bytes: 0,
        sha256: Digest([0; 32]),
        exclude: Vec::new(),
        warnings: Vec::new(),
        warning_count: 0,
        verified: None,
    }
}

impl World for Script {
    fn now(&self) -> Now {
        (BootTime::default(), WallTime(1_000))
    }
    fn operation_id(&self) -> OperationId {
        OperationId(format!("op-{}", self.draw()))
    }
    fn backup_id(&self) -> Option<BackupId> {
        Some(id(self.draw()))
    }
    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let truth = self.truth();
        let shelves = Shelves { dev: Arc::new(truth.shelf.clone()), ..Shelves::default() };
        ready(Ok(Recollection { memory: truth.disk.clone(), shelves, restored: None })).boxed()
    }
    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.truth().disk = memory;
        ready(Ok(())).boxed()
    }
    fn foresee(&self, _: Kind, _: Order, _: Shelves) -> BoxFuture<'static, Result<(), Refusal>> {
        let full = self.truth().full;
        ready(if full { Err(Refusal::DiskFull { needed: 2, free: 1 }) } else { Ok(()) }).boxed()
    }
    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Report> {
        let script = self.clone();
        async move {
            (line.progress)("half way", Some(0.5));
            elapse(Duration::from_secs(1)).await;
            let bad = script.truth().bad.take();
            let outcome = match bad {
                Some(Bad::Fails) => Err("injected".into()),
                Some(Bad::Panics) => panic!("injected"),
                Some(Bad::Hangs) => {
                    line.stop.cancelled().await;
                    Err("ended early".into())
                }
                None => Ok(()),
            };
            if let (Ok(()), Step::Make { id, .. }) = (&outcome, step) {
                script.truth().shelf.insert(0, backup(id));
            }
            Report { outcome, shelf: Some(Arc::new(script.truth().shelf.clone())) }
        }
        .boxed()
    }
    fn release(&self) -> BoxFuture<'static, ()> {
        self.truth().released += 1;
        ready(()).boxed()
    }
}

/// Virtual time passes: every test here has `start_paused`, so this is arithmetic.
async fn elapse(time: Duration) {
    assert!(timeout(time, std::future::pending::<()>()).await.is_err());
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
    vault: Vault,
    status: StatusReader,
    root: Root,
    script: Script,
}

impl Agent {
    async fn start(script: &Script) -> Agent {
        let settings = Arc::new(Settings::default());
        let status = Status::new(Identity::default(), Arc::new(NoGauges), Duration::from_secs(5)).unwrap();
        let vault = Vault::new(Arc::new(script.clone()), settings, status.clone());
        let root = Root::spawn(vec![status.child(), vault.child()], actor_rule()).await.unwrap();
        vault.awake().await.unwrap();
        Agent { vault, status: status.reader(), root, script: script.clone() }
    }

    async fn make(&self) -> Result<(OperationId, BackupId), Denied> {
        self.vault.make(Kind::Dev, "api").await
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_is_on_disk_before_it_is_acknowledged_and_ends_once() {
    let agent = Agent::start(&Script::default()).await;
    let (operation, id) = agent.make().await.unwrap();
    assert!(agent.script.truth().disk.pending.is_some());
    assert!(matches!(agent.vault.out_of_the_way().await, Err(Denied::Refused(Refusal::OperationInProgress { .. }))));
    let second = agent.make().await;
    assert!(matches!(second, Err(Denied::Refused(Refusal::OperationInProgress { holder, .. })) if holder == operation));
    agent.vault.outcome(&operation).await.unwrap();
    assert_eq!(agent.vault.find(Kind::Dev, &id).map(|backup| backup.id), Some(id));
    assert_eq!(agent.vault.out_of_the_way().await, Ok(()));
    let mut reader = agent.status.clone();
    let mut shown = reader.current();
    while !shown.operations.iter().any(|row| row.id == operation && row.state == OperationState::Done) {
        shown = reader.past(shown.snapshot.revision.0).await;
    }
    assert!(agent.script.truth().disk.pending.is_none());
    agent.root.kill().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_the_work_there_is_one_outcome() {
    for (bad, why) in [(Bad::Fails, "injected"), (Bad::Panics, "its task broke"), (Bad::Hangs, "backups.patience")] {
        let agent = Agent::start(&Script::default()).await;
        agent.script.truth().bad = Some(bad);
        let (operation, _) = agent.make().await.unwrap();
        let error = agent.vault.outcome(&operation).await.unwrap_err();
        assert!(error.contains(why), "{error}");
        let (again, _) = agent.make().await.unwrap();
        agent.vault.outcome(&again).await.unwrap();
        agent.root.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_cancels_ends_the_work_and_a_shutdown_does_too() {
    let agent = Agent::start(&Script::default()).await;
    agent.script.truth().bad = Some(Bad::Hangs);
    let (operation, _) = agent.make().await.unwrap();
    assert_eq!(agent.vault.cancel(&OperationId("op-99".into())).await, None);
    assert_eq!(agent.vault.cancel(&operation).await, Some(Ok(())));
    assert_eq!(agent.vault.outcome(&operation).await.unwrap_err(), "it was cancelled");
    agent.script.truth().bad = Some(Bad::Hangs);
    let (operation, _) = agent.make().await.unwrap();
    agent.vault.shut_down(Duration::from_secs(5)).await;
    assert!(agent.vault.outcome(&operation).now_or_never().is_some(), "it has ended by now");
    agent.root.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_reborn_actor_ends_what_its_predecessor_had_begun() {
    let agent = Agent::start(&Script::default()).await;
    agent.script.truth().bad = Some(Bad::Hangs);
    let (operation, _) = agent.make().await.unwrap();
    agent.vault.slot.cast(Message::Panic);
    let error = agent.vault.outcome(&operation).await.unwrap_err();
    assert!(error.contains("the agent ended in the middle of it"), "{error}");
    agent.root.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_refused_at_the_door() {
    let agent = Agent::start(&Script::default()).await;
    agent.script.truth().full = true;
    assert_eq!(agent.make().await, Err(Denied::Refused(Refusal::DiskFull { needed: 2, free: 1 })));
    assert!(agent.script.truth().disk.pending.is_none());
    agent.root.kill().await;
}
