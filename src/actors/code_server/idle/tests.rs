//! The actor with the editor, root and status around it, in virtual time; counters by script.
use super::*;
use crate::{
    actors::{
        game_server::tests::script::{Here, S, Script, elapse},
        root::{Root, actor_rule},
    },
    model::{activity::Sign, phase::State as Phase, settings::Settings, snapshot::Snapshot},
    policy::status::Identity,
};
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};
use tokio::time::Instant;

/// Half an hour, in seconds.
const IDLE: u64 = 1800;

struct Scripted {
    began: Instant,
    sample: Mutex<Result<Sample, String>>,
    looks: AtomicU64,
}

impl Counters for Scripted {
    fn now(&self) -> (BootTime, WallTime) {
        let since = self.began.elapsed();
        (BootTime(since), WallTime(since.as_millis() as i64))
    }

    fn sample(&self, _: i32) -> BoxFuture<'static, Result<Sample, String>> {
        self.looks.fetch_add(1, SeqCst);
        let sample = self.sample.lock().unwrap().clone();
        Box::pin(async move { sample })
    }
}

struct Life {
    counters: Arc<Scripted>,
    editor: CodeServer,
    status: Status,
    script: Arc<Script>,
    _root: Root,
}

impl Life {
    /// A dev container whose editor has just come up.
    async fn begin() -> Life {
        let script = Script::new();
        let here = Arc::new(Here(script.clone()));
        let mut settings = Settings::default();
        settings.codeserver.idle_stop = S(IDLE);
        let identity = Identity { kind: Some(crate::model::container::Kind::Dev), ..Identity::default() };
        let status = Status::new(identity, here.clone(), settings.status.interval).unwrap();
        let editor = CodeServer::new(here, Arc::new(settings), status.clone());
        let counters = Arc::new(Scripted {
            began: Instant::now(),
            sample: Mutex::new(Ok(Sample::default())),
            looks: AtomicU64::new(0),
        });
        let idle = IdleStop::new(counters.clone(), editor.clone());
        let children = [status.child(), editor.child()].into_iter().chain(idle.child()).collect();
        let root = Root::spawn(children, actor_rule()).await.unwrap();
        editor.provide(6001, "config").await.unwrap();
        Life { counters, editor, status, script, _root: root }
    }

    fn counts(&self, sample: Result<Sample, String>) {
        *self.counters.sample.lock().unwrap() = sample;
    }

    fn shown(&self) -> Snapshot {
        self.status.reader().current().snapshot.clone()
    }

    fn up(&self) -> bool {
        self.script.is_alive()
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_uses_is_stopped_and_the_status_says_so() {
    let life = Life::begin().await;
    elapse(S(IDLE - 60)).await;
    assert!(life.up());
    let told = life.shown().code_server_activity.unwrap();
    assert_eq!((told.last_activity, told.connections), (Sign::Start, 0));
    assert_eq!(told.idle_stop_at.0 - told.last_active_at.0, IDLE as i64 * 1000);
    elapse(S(120)).await;
    let shown = life.shown();
    assert!(!life.up() && shown.code_server_idle_stopped && shown.code_server_activity.is_none());
    assert_eq!(shown.code_server_state, Some(Phase::Idle));
    assert!(shown.warnings.iter().any(|w| w.code == "code_server_idle_stopped" && w.message.contains("start")));
    assert_eq!(shown.crash_count, 0);
    let looks = life.counters.looks.load(SeqCst);
    elapse(S(3600)).await;
    assert_eq!((life.up(), life.counters.looks.load(SeqCst)), (false, looks), "it stays down, and nobody looks");
    life.editor.start("api").await.unwrap();
    elapse(S(IDLE - 60)).await;
    let shown = life.shown();
    assert!(life.up() && !shown.code_server_idle_stopped, "started again, it has its whole time");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_used_is_left_alone() {
    let life = Life::begin().await;
    for hour in 1..=5 {
        elapse(S(IDLE - 100)).await;
        life.counts(Ok(Sample { terminals: hour, ..Sample::default() }));
    }
    elapse(S(60)).await;
    assert!(life.up());
    assert_eq!(life.shown().code_server_activity.unwrap().last_activity, Sign::Terminal);
    elapse(S(IDLE)).await;
    assert!(!life.up());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_counted_stops_nothing() {
    let life = Life::begin().await;
    life.counts(Err("no such socket".into()));
    elapse(S(3 * IDLE)).await;
    assert!(life.up() && life.shown().code_server_activity.is_none());
    life.counts(Ok(Sample::default()));
    elapse(S(IDLE - 60)).await;
    assert!(life.up(), "what was before is not known");
    elapse(S(120)).await;
    assert!(!life.up());
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_somebody_else_is_not_called_idle() {
    let life = Life::begin().await;
    elapse(S(60)).await;
    life.editor.stop("api").await.unwrap();
    elapse(S(60)).await;
    let shown = life.shown();
    assert!(!life.up() && !shown.code_server_idle_stopped && shown.code_server_activity.is_none());
}
