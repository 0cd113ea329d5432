//! The actor before a scripted depot: the whole way, every failure, and one thing at a time.
use super::*;
use crate::{
    actors::{
        root::{Root, actor_rule},
        status::Gauges,
    },
    model::{
        catalog::{AgentBuild, Digest, PLATFORM},
        operation::OperationState,
        snapshot::Usage,
        time::BootTime,
        update::UpdateState,
    },
    policy::{
        status::{GamePart, Identity},
        updater::orders,
    },
};
use std::sync::Mutex;

struct Still;

impl Gauges for Still {
    fn now(&self) -> (BootTime, WallTime) {
        (BootTime(Duration::ZERO), WallTime(0))
    }
    fn usage(&self, _: Option<i32>) -> BoxFuture<'static, Usage> {
        Box::pin(async { Usage::default() })
    }
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

/// Virtual time passes: every test here has `start_paused`, so this is arithmetic.
async fn elapse(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

/// What fails, and what was asked.
#[derive(Default)]
struct Scripted {
    fails: Option<&'static str>,
    calls: Arc<Mutex<Vec<String>>>,
    record: Arc<Mutex<UpdateRecord>>,
}

impl Scripted {
    fn answer(&self, verb: &'static str) -> BoxFuture<'static, Result<(), String>> {
        self.calls.lock().unwrap().push(verb.to_owned());
        let fails = self.fails == Some(verb);
        Box::pin(async move {
            elapse(Duration::from_millis(10)).await;
            if fails { Err(format!("{verb} injected")) } else { Ok(()) }
        })
    }
}

impl Depot for Scripted {
    fn now(&self) -> WallTime {
        WallTime(7)
    }
    fn recall(&self) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let record = self.record.lock().unwrap().clone();
        Box::pin(async move { Ok(record) })
    }
    fn manifest(&self) -> BoxFuture<'static, Result<AgentManifest, String>> {
        let answer = self.answer("manifest");
        let build = AgentBuild {
            binary: "versions/1.1.0/zlh".parse().unwrap(),
            sha256: Some(Digest([1; 32])),
            size: None,
            extra: Default::default(),
        };
        let manifest = AgentManifest {
            latest: Some("1.1.0".into()),
            artifacts: [("1.1.0".to_owned(), [(PLATFORM.to_owned(), build)].into())].into(),
            ..AgentManifest::default()
        };
        Box::pin(async move { answer.await.map(|()| manifest) })
    }
    fn prepare(&self, _: Candidate) -> BoxFuture<'static, Result<(), Unfit>> {
        let answer = self.answer("prepare");
        Box::pin(async move { answer.await.map_err(|why| Unfit { why, programs_fault: true }) })
    }
    fn operation_id(&self) -> OperationId {
        OperationId("op-1".into())
    }
    fn store(&self, by: By, subject: String) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let (stored, record) = (self.answer("store"), self.record.clone());
        Box::pin(async move {
            stored.await?;
            let mut record = record.lock().unwrap();
            orders::open(&mut record, by, &subject, WallTime(7), Duration::from_secs(60));
            Ok(record.clone())
        })
    }
    fn conclude(&self, outcome: Outcome) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let mut record = self.record.lock().unwrap();
        orders::end(&mut record, &outcome, WallTime(8));
        let record = record.clone();
        Box::pin(async move { Ok(record) })
    }
    fn reject(&self, version: String, why: String) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        self.calls.lock().unwrap().push("reject".into());
        let mut record = self.record.lock().unwrap();
        orders::end(&mut record, &Outcome::Failed(why.clone()), WallTime(8));
        record.failed.insert(version, why);
        let record = record.clone();
        Box::pin(async move { Ok(record) })
    }
    fn switch(&self, version: String) -> BoxFuture<'static, Result<(), String>> {
        assert_eq!(version, "1.1.0");
        self.answer("switch")
    }
}

async fn up(mode: UpdateMode, fails: Option<&'static str>) -> (Arc<Mutex<Vec<String>>>, Updater, Status, Root) {
    let status = Status::new(Identity::default(), Arc::new(Still), Duration::from_secs(5)).unwrap();
    status.publish_game(GamePart::default());
    let depot = Scripted { fails, ..Scripted::default() };
    let calls = depot.calls.clone();
    let mut settings = Settings::default();
    settings.agent.update_mode = mode;
    let updater = Updater::new(Arc::new(depot), Arc::new(settings), status.clone(), "1.0.0");
    let root = Root::spawn(vec![status.child(), updater.child()], actor_rule()).await.unwrap();
    until(&updater, UpdateState::Idle).await;
    (calls, updater, status, root)
}

/// In virtual time: what never comes ends the test at once.
async fn until(updater: &Updater, state: UpdateState) -> Standing {
    let mut standing = updater.shared.standing.subscribe();
    let seen = timeout(Duration::from_secs(5), standing.wait_for(|standing| standing.state == state)).await;
    seen.unwrap().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn the_whole_way_and_one_at_a_time() {
    let (calls, updater, _, _root) = up(UpdateMode::Notify, None).await;
    let standing = updater.update(None).await.unwrap();
    assert_eq!((standing.state, standing.operation_id), (UpdateState::Checking, Some(OperationId("op-1".into()))));
    assert_eq!(updater.check().await, Err(Denied::Refused(Refusal::UpdateInProgress)));
    assert_eq!(until(&updater, UpdateState::Switching).await.target.as_deref(), Some("v1.1.0"));
    elapse(Duration::from_secs(1)).await;
    assert_eq!(*calls.lock().unwrap(), ["store", "manifest", "prepare", "switch"]);
}

#[tokio::test(start_paused = true)]
async fn every_failure_is_told_and_nothing_is_switched_after_it() {
    let table = [
        ("manifest", vec!["store", "manifest"]),
        ("prepare", vec!["store", "manifest", "prepare", "reject"]),
        ("switch", vec!["store", "manifest", "prepare", "switch"]),
    ];
    for (fails, expected) in table {
        let (calls, updater, status, _root) = up(UpdateMode::Notify, Some(fails)).await;
        updater.update(None).await.unwrap();
        let standing = until(&updater, UpdateState::Idle).await;
        assert_eq!(standing.last_error, Some(format!("{fails} injected")));
        elapse(Duration::from_secs(1)).await;
        assert_eq!(*calls.lock().unwrap(), expected);
        let shown = status.reader().current().snapshot.warnings.clone();
        assert!(shown.iter().any(|warning| warning.code == "update_failed"), "{shown:?}");
        let ended = status.reader().current().operations[0].clone();
        assert_eq!((ended.kind, ended.state), (OperationKind::Update, OperationState::Failed));
        assert_eq!(ended.error, Some(format!("{fails} injected")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_stored_is_not_taken() {
    let (calls, updater, _, _root) = up(UpdateMode::Notify, Some("store")).await;
    assert_eq!(updater.update(None).await, Err(Denied::Busy));
    elapse(Duration::from_secs(1)).await;
    assert_eq!(*calls.lock().unwrap(), ["store"]);
    assert!(updater.standing().last_error.unwrap().contains("store injected"));
}

#[tokio::test(start_paused = true)]
async fn the_timer_does_what_the_mode_says() {
    let table = [
        (UpdateMode::Off, vec![]),
        (UpdateMode::Notify, vec!["manifest"]),
        (UpdateMode::Auto, vec!["manifest", "store", "prepare", "switch"]),
    ];
    for (mode, expected) in table {
        let (calls, updater, status, _root) = up(mode, None).await;
        elapse(FIRST_LOOK * 2).await;
        assert_eq!(*calls.lock().unwrap(), expected, "{mode:?}");
        let shown = status.reader().current().snapshot.warnings.clone();
        let told = shown.iter().any(|warning| warning.code == "update_available");
        assert_eq!(told, mode != UpdateMode::Off, "{mode:?}: {:?}", updater.standing());
    }
}
