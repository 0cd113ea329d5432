//! The TerminalActor with a root around it, in virtual time, against keepers that outlive actors.
use super::{world::World, *};
use crate::{
    actors::{
        held::{Held, Output},
        root::{Root, actor_rule},
    },
    host::keeping::{Alive, Discovery, EventSink, KeeperEvent, Keeping, KeepingError, LaunchStep, Scope},
    model::{
        console::{LogRange, News},
        exit::ExitStatus,
        time::{BootTime, WallTime},
        workload::WorkloadSpec,
    },
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::{
    io,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::watch;

const S: fn(u64) -> Duration = Duration::from_secs;

/// One keeper of a session, for ever.
#[derive(Default)]
struct Keeper {
    alive: Option<RunId>,
    sink: Option<EventSink>,
    size: Option<Size>,
    input: Vec<u8>,
    signals: Vec<(i32, Scope)>,
    launches: u32,
    forgotten: u32,
}

#[derive(Default)]
struct Truth {
    keepers: BTreeMap<String, Keeper>,
    runs: u64,
    provisioned: bool,
    launch: Option<KeepingError>,
    deaf: bool,
    /// A launch takes longer than anybody waits.
    slow: bool,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Truth>>);

impl Script {
    fn new() -> Script {
        let script = Script::default();
        script.truth().provisioned = true;
        script
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap()
    }

    fn with<T>(&self, name: &str, look: impl FnOnce(&mut Keeper) -> T) -> T {
        look(self.truth().keepers.entry(name.to_owned()).or_default())
    }

    fn exit(&self, name: &str, status: ExitStatus) {
        let ended = self.with(name, |k| Some((k.alive.take()?, k.sink.clone()?)));
        let Some((run, sink)) = ended else { return };
        let exit = Exit {
            run,
            status,
            started_at: WallTime(0),
            ended_at: WallTime(0),
            started: BootTime::default(),
            ended: BootTime::default(),
            max_rss_bytes: 0,
            oom_kills: None,
            alone: false,
            next: None,
            log_start: 0,
            log_end: 0,
        };
        sink(KeeperEvent::Exited(exit));
        sink(KeeperEvent::TreeEmpty { run, killed: 0 });
    }
}

struct Hold(Script, String);

impl Keeping for Hold {
    fn discover(&self, sink: EventSink) -> BoxFuture<'static, Result<Discovery, KeepingError>> {
        let alive = self.0.with(&self.1, |k| {
            k.sink = Some(sink);
            k.alive
        });
        let found = alive.map_or(Discovery::Nothing, |run| Discovery::Alive(born(run)));
        ready(Ok(found)).boxed()
    }
    fn launch(
        &self,
        run: RunId,
        spec: &WorkloadSpec,
        sink: EventSink,
    ) -> BoxFuture<'static, Result<Alive, KeepingError>> {
        assert_eq!(spec.argv, ["/bin/bash", "-l"]);
        if let Some(error) = self.0.truth().launch.clone() {
            return ready(Err(error)).boxed();
        }
        self.0.with(&self.1, |k| {
            assert!(k.alive.is_none(), "two shells in one session");
            (k.alive, k.sink, k.launches) = (Some(run), Some(sink), k.launches + 1);
        });
        let takes = if self.0.truth().slow { S(5) } else { Duration::ZERO };
        async move {
            elapse(takes).await;
            Ok(born(run))
        }
        .boxed()
    }
    fn permit(&self, _: Option<(RunId, &WorkloadSpec)>) {}
    fn input(&self, run: RunId, bytes: Bytes) -> BoxFuture<'static, Result<u64, KeepingError>> {
        let taken = self.0.with(&self.1, |k| match k.alive == Some(run) {
            true => {
                k.input.extend_from_slice(&bytes);
                Ok(bytes.len() as u64)
            }
            false => Err(KeepingError::NotAlive(run)),
        });
        ready(taken).boxed()
    }
    fn resize(&self, columns: u16, rows: u16) {
        self.0.with(&self.1, |k| k.size = Some((columns, rows)));
    }
    fn signal(&self, _: RunId, signal: i32, scope: Scope) -> BoxFuture<'static, Result<(), KeepingError>> {
        self.0.with(&self.1, |k| k.signals.push((signal, scope)));
        if !self.0.truth().deaf || scope == Scope::Tree {
            self.0.exit(&self.1, ExitStatus::Signal { signal, core_dumped: false });
        }
        ready(Ok(())).boxed()
    }
    fn retire(&self) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}

fn born(run: RunId) -> Alive {
    Alive { run, pid: 4121, started: BootTime::default(), started_at: WallTime(0), log_start: 0 }
}

struct NoOutput;

impl Output for NoOutput {
    fn range(&self) -> LogRange {
        LogRange::default()
    }
    fn read(&self, from: u64, _: usize) -> BoxFuture<'static, io::Result<(u64, Bytes)>> {
        ready(Ok((from, Bytes::new()))).boxed()
    }
    fn news(&self) -> watch::Receiver<News> {
        watch::Sender::new(News::default()).subscribe()
    }
}

impl World for Script {
    fn fresh_run(&self) -> RunId {
        let mut truth = self.truth();
        truth.runs += 1;
        RunId(truth.runs)
    }
    fn sessions(&self) -> BoxFuture<'static, Result<Vec<String>, String>> {
        ready(Ok(self.truth().keepers.keys().cloned().collect())).boxed()
    }
    fn hold(&self, session: &str) -> Result<Held, String> {
        Ok(Held { keeping: Arc::new(Hold(self.clone(), session.to_owned())), output: Arc::new(NoOutput) })
    }
    fn shell(&self) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, Refusal>> {
        let argv = ["/bin/bash", "-l"].map(str::to_owned).to_vec();
        let spec = WorkloadSpec::plain("shell", argv, "/w".into(), BTreeMap::new());
        ready(if self.truth().provisioned { Ok(Arc::new(spec)) } else { Err(Refusal::NotProvisioned) }).boxed()
    }
    fn forget(&self, session: &str, _: Held) -> BoxFuture<'static, Result<(), String>> {
        self.with(session, |k| {
            assert!(k.alive.is_none(), "a living shell is forgotten");
            k.forgotten += 1;
        });
        ready(Ok(())).boxed()
    }
}

async fn up(script: &Script) -> (Terminal, Root) {
    let mut settings = Settings::default();
    (settings.terminal.max_sessions, settings.console.max_viewers) = (2, 3);
    let terminal = Terminal::new(Arc::new(script.clone()), Arc::new(settings));
    let root = Root::spawn(vec![terminal.child()], actor_rule()).await.unwrap();
    (terminal, root)
}

/// Virtual time passes: every test here has `start_paused`, so this is arithmetic.
async fn elapse(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

async fn refusal(terminal: &Terminal, session: &str) -> Refusal {
    match terminal.attach(session).await {
        Err(Denied::Refused(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test(start_paused = true)]
async fn viewers_share_one_shell_as_large_as_the_smallest_window() {
    let script = Script::new();
    let (terminal, _root) = up(&script).await;
    let (one, two) = (terminal.attach("main").await.unwrap(), terminal.attach("main").await.unwrap());
    assert_eq!(script.with("main", |k| k.launches), 1);
    one.write(Bytes::from_static(b"ls\r")).await.unwrap();
    two.write(Bytes::from_static(b"pwd\r")).await.unwrap();
    assert_eq!(script.with("main", |k| k.input.clone()), b"ls\rpwd\r");
    one.resize(120, 30);
    two.resize(90, 50);
    elapse(Duration::from_millis(1)).await;
    assert_eq!((script.with("main", |k| k.size), one.size()), (Some((90, 30)), (90, 30)));
    drop(two);
    elapse(Duration::from_millis(1)).await;
    assert_eq!(script.with("main", |k| k.size), Some((120, 30)));
}

#[tokio::test(start_paused = true)]
async fn a_shell_lingers_after_its_last_viewer_and_is_then_forgotten() {
    let script = Script::new();
    let (terminal, _root) = up(&script).await;
    drop(terminal.attach("main").await.unwrap());
    elapse(S(59)).await;
    let seat = terminal.attach("main").await.unwrap();
    elapse(S(100)).await;
    assert_eq!(script.with("main", |k| (k.launches, k.signals.len())), (1, 0), "somebody looks");
    drop(seat);
    elapse(S(59)).await;
    assert_eq!(script.with("main", |k| k.signals.len()), 0);
    elapse(S(2)).await;
    assert_eq!(script.with("main", |k| (k.signals.clone(), k.forgotten)), (vec![(1, Scope::Leader)], 1));
    assert!(matches!(terminal.kept("main"), Err(Denied::Refused(Refusal::NoSuchSession))));
}

#[tokio::test(start_paused = true)]
async fn who_ignores_the_hang_up_is_killed_with_everything_of_it() {
    let script = Script::new();
    script.truth().deaf = true;
    let (terminal, _root) = up(&script).await;
    drop(terminal.attach("main").await.unwrap());
    elapse(S(70)).await;
    assert_eq!(script.with("main", |k| k.signals.clone()), [(1, Scope::Leader), (9, Scope::Tree)]);
    assert_eq!(script.with("main", |k| (k.alive, k.forgotten)), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn an_exit_is_told_and_the_next_viewer_gets_a_fresh_shell() {
    let script = Script::new();
    let (terminal, _root) = up(&script).await;
    let seat = terminal.attach("main").await.unwrap();
    let mut ends = seat.ends();
    script.exit("main", ExitStatus::Code(7));
    ends.changed().await.unwrap();
    assert_eq!(ends.borrow().unwrap().status, ExitStatus::Code(7));
    assert_eq!(seat.write(Bytes::from_static(b"x")).await, Err(Denied::Refused(Refusal::NotRunning)));
    let next = terminal.attach("main").await.unwrap();
    next.write(Bytes::from_static(b"y")).await.unwrap();
    seat.write(Bytes::from_static(b"z")).await.unwrap();
    assert_eq!(script.with("main", |k| (k.launches, k.input.clone())), (2, b"yz".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn limits_are_refusals_with_their_number() {
    let script = Script::new();
    let (terminal, _root) = up(&script).await;
    let mut seats = Vec::new();
    for session in ["a", "a", "a", "b"] {
        seats.push(terminal.attach(session).await.unwrap());
    }
    assert_eq!(refusal(&terminal, "a").await, Refusal::TooManyViewers { limit: 3 });
    assert_eq!(refusal(&terminal, "c").await, Refusal::TooManySessions { limit: 2 });
    assert!(matches!(refusal(&terminal, "../x").await, Refusal::InvalidSession { .. }));
    seats.remove(0);
    terminal.attach("a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_shell_the_reason_is_told_and_nothing_stays() {
    let script = Script::new();
    script.truth().provisioned = false;
    let (terminal, _root) = up(&script).await;
    assert_eq!(refusal(&terminal, "main").await, Refusal::NotProvisioned);
    script.truth().provisioned = true;
    let no_exec = KeepingError::Launch { step: LaunchStep::Exec, errno: 2, message: "/bin/bash: gone".into() };
    script.truth().launch = Some(no_exec);
    let Refusal::NoShell { detail } = refusal(&terminal, "main").await else { panic!() };
    assert!(detail.contains("/bin/bash: gone"), "{detail}");
    script.truth().launch = None;
    terminal.attach("main").await.unwrap();
    terminal.attach("other").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shells_survive_me_and_the_agent() {
    let script = Script::new();
    let (terminal, root) = up(&script).await;
    let seat = terminal.attach("main").await.unwrap();
    seat.resize(90, 30);
    terminal.slot.cast(Message::Panic);
    elapse(S(100)).await;
    seat.write(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(script.with("main", |k| (k.launches, k.signals.len())), (1, 0), "its viewer is still there");
    root.kill().await;
    let (next, _root) = up(&script).await;
    elapse(S(30)).await;
    next.attach("main").await.unwrap().write(Bytes::from_static(b"y")).await.unwrap();
    assert_eq!(script.with("main", |k| (k.launches, k.input.clone())), (1, b"xy".to_vec()));
    elapse(S(62)).await;
    assert_eq!(script.with("main", |k| (k.alive, k.forgotten)), (None, 1), "nobody came back");
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_waiting_keeps_no_shell_alive() {
    let script = Script::new();
    script.truth().slow = true;
    let (terminal, _root) = up(&script).await;
    assert!(matches!(terminal.attach("main").await, Err(Denied::Busy)), "no answer within limits.command_timeout");
    terminal.slot.cast(Message::Panic);
    elapse(S(80)).await;
    assert_eq!(script.with("main", |k| (k.alive, k.launches)), (None, 1));
}
