//! A workshop by script, in virtual time: a disk that outlives actors, steps that take their time and fail on purpose.
use super::super::{
    Installer,
    workshop::{Available, Line, Unmet, Workshop},
};
use crate::{
    actors::{
        root::{Root, actor_rule},
        status::{Gauges, Published, Status, StatusReader},
    },
    model::{
        catalog::Digest,
        ids::OperationId,
        install::{Family, Parcel, Present, Tree, TreeId, User, Wanted},
        operation::OperationState,
        refusal::Refusal,
        settings::Settings,
        snapshot::{Usage, Warning},
        time::{BootTime, WallTime},
    },
    policy::{
        installer::{Consulted, Failure, Now, memory::Memory, plan::Step},
        status::Identity,
    },
};
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, timeout};

pub const S: fn(u64) -> Duration = Duration::from_secs;

/// Virtual time passes. Every test here has `start_paused`, so this is arithmetic: nobody waits.
pub async fn elapse(time: Duration) {
    assert!(timeout(time, std::future::pending::<()>()).await.is_err());
}

/// How a step goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Well,
    Fails,
    Panics,
    /// Says nothing and never ends by itself.
    Hangs,
}

/// What a test may bend.
pub struct Mood {
    /// Of a download: each second of it shows progress.
    pub takes: Duration,
    pub bring: Way,
    pub server: Result<(), Unmet>,
    pub save: Result<(), String>,
    pub users: Vec<User>,
}

pub struct Script {
    began: Instant,
    pub mood: Mutex<Mood>,
    truth: Mutex<Truth>,
}

#[derive(Default)]
struct Truth {
    disk: Memory,
    operations: u64,
    trees: BTreeSet<TreeId>,
    staging: BTreeSet<TreeId>,
    current: BTreeMap<Family, String>,
    deeds: Vec<String>,
    brought: u32,
}

impl Script {
    pub fn new() -> Arc<Script> {
        let mood = Mood { takes: S(1), bring: Way::Well, server: Ok(()), save: Ok(()), users: Vec::new() };
        Arc::new(Script { began: Instant::now(), mood: Mutex::new(mood), truth: Mutex::default() })
    }

    pub fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap()
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    pub fn deeds(&self) -> Vec<String> {
        std::mem::take(&mut self.truth().deeds)
    }

    /// Downloads that were begun.
    pub fn brought(&self) -> u32 {
        self.truth().brought
    }

    pub fn staging(&self) -> usize {
        self.truth().staging.len()
    }

    pub fn active(&self) -> Option<String> {
        self.truth().current.get(&Family::runtime("node")).cloned()
    }

    fn bring(self: &Arc<Self>, parcel: Parcel, line: Line) -> BoxFuture<'static, Result<(), Failure>> {
        let (script, way) = (self.clone(), self.mood().bring);
        let takes = self.mood().takes;
        script.truth().brought += 1;
        script.truth().staging.insert(parcel.tree.clone());
        Box::pin(async move {
            match way {
                Way::Well => {}
                Way::Fails => return Err(Failure::other("http://a/x is not there (404)")),
                Way::Panics => panic!("injected"),
                Way::Hangs => {
                    line.stop.cancelled().await;
                    return Err(Failure::other("was told to end"));
                }
            }
            for second in 0..takes.as_secs() {
                (line.progress)(&format!("{second} MB"), Some(second as f64 / takes.as_secs_f64()));
                tokio::select! {
                    () = elapse(S(1)) => {}
                    () = line.stop.cancelled() => return Err(Failure::other("was told to end")),
                }
            }
            Ok(())
        })
    }

    fn step(&self, step: &Step) -> Result<(), Failure> {
        let mut t = self.truth();
        t.deeds.push(step.title());
        match step {
            Step::Bring(_) | Step::Try(_) | Step::Verify(_) | Step::Collect { .. } => {}
            Step::Place(parcel) => {
                t.staging.remove(&parcel.tree);
                t.trees.insert(parcel.tree.clone());
            }
            Step::Mend(tree) => _ = t.trees.insert(tree.clone()),
            Step::Point { family, version: Some(version) } => {
                t.current.insert(family.clone(), version.clone());
            }
            Step::Point { family, version: None } => _ = t.current.remove(family),
            Step::Remove(tree) => _ = t.trees.remove(tree),
            Step::Discard(tree) => _ = t.staging.remove(tree),
        }
        Ok(())
    }
}

/// The world as one agent's life sees it.
pub struct Here(pub Arc<Script>);

impl Workshop for Here {
    fn now(&self) -> Now {
        let since = self.0.began.elapsed();
        (BootTime(S(1000) + since), WallTime(1_700_000_000_000 + since.as_millis() as i64))
    }

    fn operation_id(&self) -> OperationId {
        let mut t = self.0.truth();
        t.operations += 1;
        OperationId(format!("op-{:03}", t.operations))
    }

    fn recall(&self) -> BoxFuture<'static, Result<Memory, String>> {
        let memory = self.0.truth().disk.clone();
        Box::pin(async move { Ok(memory) })
    }

    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        let saved = self.0.mood().save.clone();
        if saved.is_ok() {
            self.0.truth().disk = memory;
        }
        Box::pin(async move { saved })
    }

    fn survey(&self, sweep: bool) -> BoxFuture<'static, Result<Present, String>> {
        let mut t = self.0.truth();
        if sweep {
            t.staging.clear();
        }
        let tree = |id: &TreeId| Tree {
            id: id.clone(),
            path: format!("/opt/zlh/runtimes/{}/{}", id.family, id.version),
            bytes: 1,
            files: 1,
            sha256: Digest([0; 32]),
            bin: Vec::new(),
            env: BTreeMap::new(),
            verified: true,
        };
        let present = Present { trees: t.trees.iter().map(tree).collect(), current: t.current.clone() };
        Box::pin(async move { Ok(present) })
    }

    fn consult(&self, wanted: Wanted) -> BoxFuture<'static, Result<Consulted, Unmet>> {
        let server = self.0.mood().server.clone();
        Box::pin(async move {
            server?;
            let tree = wanted.family().version(&wanted.version().unwrap());
            let paths = vec!["a/b.tar.gz".parse().unwrap()];
            let (bin, env) = (vec!["bin".into()], [("HOME_OF_IT".into(), "{root}".into())].into());
            let parcel = Parcel { tree, paths, sha256: None, size: None, strip: None, bin, env };
            Ok(Consulted { parcel, warnings: Vec::new() })
        })
    }

    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Result<(), Failure>> {
        let done = self.0.step(&step);
        match step {
            Step::Bring(parcel) => self.0.bring(parcel, line),
            _ => Box::pin(async move { done }),
        }
    }

    fn users(&self, _: TreeId) -> BoxFuture<'static, Result<Vec<User>, String>> {
        let users = self.0.mood().users.clone();
        Box::pin(async move { Ok(users) })
    }

    fn available(&self) -> BoxFuture<'static, Result<Vec<Available>, String>> {
        Box::pin(std::future::pending())
    }
}

impl Gauges for Here {
    fn now(&self) -> (BootTime, WallTime) {
        Workshop::now(self)
    }

    fn usage(&self, _: Option<i32>) -> BoxFuture<'static, Usage> {
        Box::pin(async { Usage::default() })
    }

    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

/// One life of the agent: root, status, installer.
pub struct Agent {
    pub installer: Installer,
    pub status: StatusReader,
    pub root: Root,
}

impl Agent {
    pub async fn up(script: &Arc<Script>) -> Agent {
        let here = Arc::new(Here(script.clone()));
        let settings = Arc::new(Settings::default());
        let status = Status::new(Identity::default(), here.clone(), settings.status.interval).unwrap();
        let installer = Installer::new(here, settings, status.clone());
        let root = Root::spawn(vec![status.child(), installer.child()], actor_rule()).await.unwrap();
        Agent { installer, status: status.reader(), root }
    }

    pub async fn ensure(&self, version: &str) -> OperationId {
        self.installer.ensure(node(version), true, "test").await.unwrap().operation.unwrap()
    }

    /// Waits, in virtual time and for at most an hour of it, for a published status like this.
    pub async fn until(&self, like: impl Fn(&Published) -> bool) -> Arc<Published> {
        let mut reader = self.status.clone();
        let found = timeout(S(3600), async {
            let mut now = reader.current();
            while !like(&now) {
                now = reader.past(now.snapshot.revision.0).await;
            }
            now
        });
        found.await.unwrap_or_else(|_| panic!("never; last: {:?}", self.status.current().operations))
    }

    /// How it ended.
    pub async fn end_of(&self, id: &OperationId) -> (OperationState, Option<String>) {
        let ended = |p: &Published| p.operations.iter().any(|o| o.id == *id && o.state.is_final());
        let seen = self.until(ended).await;
        let found = seen.operations.iter().find(|o| o.id == *id).unwrap();
        (found.state, found.error.clone())
    }

    /// `kill -9` of the agent: no farewell.
    pub async fn die(self) {
        self.root.kill().await;
    }
}

pub fn node(version: &str) -> Wanted {
    Wanted::Runtime { id: "node".into(), version: version.into() }
}

pub fn unusable() -> Unmet {
    Unmet::Refused(Refusal::Unusable { field: "version".into(), detail: "no \"19\"; allowed: 20, 22".into() })
}
