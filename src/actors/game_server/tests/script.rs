//! A world by script, in virtual time: one game that does what a test says, a disk, a keeper that outlives actors.
use super::super::{
    GameServer,
    world::{Output, Progress, World},
};
use crate::{
    actors::{
        root::{Root, actor_rule},
        status::{Gauges, Published, Status, StatusReader},
    },
    host::keeping::{Alive, Discovery, EventSink, KeeperEvent, Keeping, KeepingError, Scope},
    model::{
        console::{LogRange, News},
        crash::CrashReport,
        exit::{Exit, ExitStatus},
        ids::{OperationId, RunId},
        phase::State,
        refusal::Refusal,
        settings::{Restart, Settings},
        snapshot::{Players, Usage, Warning},
        time::{BootTime, WallTime},
        workload::{ConsoleInput, Readiness, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::{
        game_server::{
            command::{Moment, Resolved},
            effect::{Ended, Probing, Record},
            fact::Recollection,
            memory::Memory,
        },
        readiness::Answer,
        status::Identity,
    },
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

pub const S: fn(u64) -> Duration = Duration::from_secs;

/// Virtual time passes. Every test here has `start_paused`, so this is arithmetic: nobody waits.
pub async fn elapse(time: Duration) {
    let passed = tokio::time::timeout(time, std::future::pending::<()>()).await;
    assert!(passed.is_err());
}

/// What a test may bend.
#[derive(Clone)]
pub struct Mood {
    pub launch: Result<(), KeepingError>,
    pub launch_takes: Duration,
    /// Its end is known to be that of all of it.
    pub alone: bool,
    /// It exits by itself so long after each launch.
    pub exits_after: Option<(Duration, ExitStatus)>,
    pub obeys_stop: bool,
    pub obeys_term: bool,
    pub ready: bool,
    pub save_takes: Duration,
    /// `None`: the task panics.
    pub prepare: Option<Result<(), String>>,
    /// `None`: never an answer.
    pub classify: Option<(String, crate::model::crash::Retry)>,
    pub autostart: bool,
    /// This verb panics the next time it is called.
    pub breaks: Option<&'static str>,
}

pub struct Script {
    pub began: Instant,
    pub mood: Mutex<Mood>,
    truth: Mutex<Truth>,
}

/// What is so out there.
#[derive(Default)]
struct Truth {
    sink: Option<EventSink>,
    alive: Option<Alive>,
    ended: Option<Exit>,
    disk: Memory,
    config: Option<Resolved>,
    boot: u32,
    operations: u64,
    launches: Vec<(RunId, Duration)>,
    saves: Vec<Duration>,
    deeds: Vec<String>,
}

impl Script {
    pub fn new() -> Arc<Script> {
        let mood = Mood {
            launch: Ok(()),
            launch_takes: Duration::ZERO,
            alone: false,
            exits_after: None,
            obeys_stop: true,
            obeys_term: true,
            ready: true,
            save_takes: Duration::from_millis(1),
            prepare: Some(Ok(())),
            classify: Some(("exit.nonzero".into(), crate::model::crash::Retry::Ladder)),
            autostart: true,
            breaks: None,
        };
        let truth = Truth { config: Some(resolved()), ..Truth::default() };
        Arc::new(Script { began: Instant::now(), mood: Mutex::new(mood), truth: Mutex::new(truth) })
    }

    pub fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap()
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    /// Whole seconds between the test's beginning and each launch.
    pub fn launches(&self) -> Vec<u64> {
        self.truth().launches.iter().map(|(_, at)| at.as_secs()).collect()
    }

    pub fn runs(&self) -> Vec<RunId> {
        self.truth().launches.iter().map(|(run, _)| *run).collect()
    }

    /// How long after the test's beginning things were saved since the last time that this was asked.
    pub fn saves(&self) -> Vec<Duration> {
        std::mem::take(&mut self.truth().saves)
    }

    pub fn deeds(&self) -> Vec<String> {
        std::mem::take(&mut self.truth().deeds)
    }

    pub fn saved(&self) -> Memory {
        self.truth().disk.clone()
    }

    pub fn is_alive(&self) -> bool {
        self.truth().alive.is_some()
    }

    /// Nothing was ever configured.
    pub fn forget_config(&self) {
        self.truth().config = None;
    }

    /// The machine restarts: everything in memory is gone.
    pub fn reboot(&self) {
        let mut t = self.truth();
        (t.alive, t.ended, t.sink, t.boot) = (None, None, None, t.boot + 1);
    }

    /// The game's main process ends, and nothing of it is left.
    pub fn exit(&self, status: ExitStatus) {
        let (Some(exit), Some(sink)) = (self.end(status), self.truth().sink.clone()) else { return };
        let run = exit.run;
        sink(KeeperEvent::Exited(exit));
        sink(KeeperEvent::TreeEmpty { run, killed: 0 });
    }

    /// As [`Script::exit`] while no agent is there to see it.
    pub fn exit_unseen(&self, status: ExitStatus) {
        self.truth().sink = None;
        self.end(status);
    }

    fn end(&self, status: ExitStatus) -> Option<Exit> {
        let (now, alone) = (self.now(), self.mood().alone);
        let mut t = self.truth();
        let alive = t.alive.take()?;
        let exit = Exit {
            run: alive.run,
            status,
            started_at: alive.started_at,
            ended_at: now.wall,
            started: alive.started,
            ended: now.boot,
            max_rss_bytes: 1 << 20,
            oom_kills: None,
            log_start: 0,
            log_end: 0,
            alone,
            next: None,
        };
        t.ended = Some(exit.clone());
        Some(exit)
    }

    pub fn tell(&self, event: KeeperEvent) {
        let sink = self.truth().sink.clone().unwrap();
        sink(event);
    }

    fn called(&self, verb: &'static str) {
        let breaks = self.mood().breaks.take_if(|b| *b == verb);
        assert!(breaks.is_none(), "injected: {verb} breaks");
    }

    fn did(&self, deed: String) {
        self.truth().deeds.push(deed);
    }
}

pub fn resolved() -> Resolved {
    let spec = WorkloadSpec {
        game: "custom".into(),
        variant: String::new(),
        argv: vec!["/bin/game".into()],
        cwd: "/srv".into(),
        env: BTreeMap::new(),
        user: None,
        memory_bytes: None,
        max_processes: None,
        ports: vec![25565],
        requires: Vec::new(),
        stop: vec![StopStep::Stdin { line: "stop".into(), wait: S(20) }, StopStep::Signal { signal: 15, wait: S(10) }],
        ready: Readiness { probe: ReadyProbe::Tcp { port: 25565 }, within: S(60) },
        signatures: Vec::new(),
        console: ConsoleInput::Pty,
        stop_commands: vec!["stop".into()],
        watched_files: Vec::new(),
        dump_signal: Some(3),
    };
    let body = serde_json::json!({ "game": "custom" });
    Resolved { spec: Arc::new(spec), shown: body.clone(), body, warnings: Vec::new() }
}

/// The world as one agent's life sees it.
pub struct Here(pub Arc<Script>);

impl World for Here {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn operation_id(&self) -> OperationId {
        let mut t = self.0.truth();
        t.operations += 1;
        OperationId(format!("op-{}", t.operations))
    }

    fn resolve(&self, body: serde_json::Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        let known = body.get("game").is_none_or(|game| game == "custom");
        let detail = format!("unknown game {}", body["game"]);
        let verdict = if known { Ok(Resolved { body, ..resolved() }) } else { Err(unusable("game", detail)) };
        Box::pin(async move { verdict })
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        self.0.called("recall");
        let t = self.0.truth();
        let was = Recollection {
            boot: format!("boot-{}", t.boot),
            memory: t.disk.clone(),
            config: t.config.clone(),
            crashes: Vec::new(),
        };
        Box::pin(async move { Ok(was) })
    }

    fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>> {
        self.0.called("save");
        let at = self.0.began.elapsed();
        self.0.truth().saves.push(at);
        for record in records {
            if let Record::Memory(memory) = record {
                self.0.truth().disk = *memory;
            }
        }
        let takes = self.0.mood().save_takes;
        Box::pin(async move {
            elapse(takes).await;
            Ok(())
        })
    }

    fn prepare(
        &self,
        config: Arc<Resolved>,
        progress: Progress,
    ) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, String>> {
        self.0.called("prepare");
        let result = self.0.mood().prepare.clone();
        Box::pin(async move {
            progress("looking at the folder", Some(0.5));
            result.expect("injected: the preparation breaks").map(|()| config.spec.clone())
        })
    }

    fn ports_freed(&self, _: Vec<u16>, _: Duration) -> BoxFuture<'static, Result<(), String>> {
        self.0.called("ports");
        Box::pin(async { Ok(()) })
    }

    fn probe(&self, _: Probing) -> BoxFuture<'static, Answer> {
        self.0.called("probe");
        let alive = self.0.mood().ready && self.0.is_alive();
        let players = Some(Players { online: 3, max: 20, players: vec!["Alice".into()] });
        let answer = if alive { Answer::Alive { players } } else { Answer::Dead { reason: "refused".into() } };
        Box::pin(async move { answer })
    }

    fn players(&self, _: Arc<WorkloadSpec>) -> BoxFuture<'static, Option<Players>> {
        Box::pin(async { Some(Players { online: 3, max: 20, players: vec!["Alice".into()] }) })
    }

    fn classify(&self, ended: Ended) -> BoxFuture<'static, CrashReport> {
        self.0.called("classify");
        let verdict = self.0.mood().classify.clone();
        Box::pin(async move {
            let Some((code, retry)) = verdict else { return std::future::pending().await };
            let mut report = ended.unclassified("crash-1".into(), "by script");
            if !ended.hung {
                (report.verdict.code, report.verdict.retry) = (code, retry);
            }
            report
        })
    }

    fn note_good_start(&self, run: RunId, _: Arc<WorkloadSpec>) -> BoxFuture<'static, ()> {
        self.0.did(format!("good start of {run}"));
        Box::pin(async {})
    }

    fn say(&self, _: RunId, _: Arc<WorkloadSpec>, line: String) -> BoxFuture<'static, Result<(), String>> {
        self.0.called("say");
        self.0.did(format!("type {line}"));
        let script = self.0.clone();
        Box::pin(async move {
            if line == "stop" && script.mood().obeys_stop {
                script.exit(ExitStatus::Code(0));
            }
            Ok(())
        })
    }

    fn keeping(&self) -> &dyn Keeping {
        self
    }

    fn output(&self) -> &dyn Output {
        self
    }
}

impl Script {
    pub fn now(&self) -> Moment {
        let since = self.began.elapsed();
        let wall = WallTime(1_700_000_000_000 + since.as_millis() as i64);
        Moment { boot: BootTime(S(1000) + since), wall, chance: 0.0 }
    }
}

impl Keeping for Here {
    fn discover(&self, sink: EventSink) -> BoxFuture<'static, Result<Discovery, KeepingError>> {
        self.0.called("discover");
        let mut t = self.0.truth();
        t.sink = Some(sink);
        let found = match (&t.alive, &t.ended) {
            (Some(alive), _) => Discovery::Alive(alive.clone()),
            (None, Some(exit)) => Discovery::Ended(exit.clone()),
            (None, None) if t.boot > 0 => Discovery::LostByReboot,
            (None, None) => Discovery::Nothing,
        };
        Box::pin(async move { Ok(found) })
    }

    fn launch(&self, run: RunId, _: &WorkloadSpec, sink: EventSink) -> BoxFuture<'static, Result<Alive, KeepingError>> {
        self.0.called("launch");
        let (now, mood) = (self.0.now(), self.0.mood().clone());
        let mut t = self.0.truth();
        assert!(t.alive.is_none(), "a second run beside {:?}", t.alive);
        t.launches.push((run, self.0.began.elapsed()));
        let alive = Alive { run, pid: 4121, started: now.boot, started_at: now.wall, log_start: 0 };
        t.sink = Some(sink);
        t.alive = mood.launch.is_ok().then(|| alive.clone());
        if let Some((after, status)) = mood.exits_after {
            let script = self.0.clone();
            tokio::spawn(async move {
                elapse(after).await;
                script.exit(status);
            });
        }
        Box::pin(async move {
            elapse(mood.launch_takes).await;
            mood.launch.map(|()| alive)
        })
    }

    fn permit(&self, next: Option<(RunId, &WorkloadSpec)>) {
        self.0.did(next.map_or("permit withdrawn".into(), |(run, _)| format!("permit {run}")));
    }

    fn input(&self, _: RunId, bytes: Bytes) -> BoxFuture<'static, Result<u64, KeepingError>> {
        self.0.did(format!("input {}", String::from_utf8_lossy(&bytes).escape_debug()));
        let taken = bytes.len() as u64;
        Box::pin(async move { Ok(taken) })
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.0.did(format!("resize {columns}x{rows}"));
    }

    fn signal(&self, _: RunId, signal: i32, scope: Scope) -> BoxFuture<'static, Result<(), KeepingError>> {
        self.0.called("signal");
        self.0.did(format!("signal {signal} {scope:?}"));
        let dies = scope == Scope::Tree || (signal == 15 && self.0.mood().obeys_term);
        let script = self.0.clone();
        Box::pin(async move {
            if dies {
                let signal = if scope == Scope::Tree { 9 } else { signal };
                script.exit(ExitStatus::Signal { signal, core_dumped: false });
            }
            Ok(())
        })
    }

    fn retire(&self) -> BoxFuture<'static, ()> {
        self.0.did("retire".into());
        Box::pin(async {})
    }
}

impl Output for Here {
    fn range(&self) -> LogRange {
        LogRange::default()
    }

    fn read(&self, from: u64, _: usize) -> BoxFuture<'static, std::io::Result<(u64, Bytes)>> {
        Box::pin(async move { Ok((from, Bytes::new())) })
    }

    fn news(&self) -> watch::Receiver<News> {
        watch::Sender::default().subscribe()
    }
}

impl Gauges for Here {
    fn now(&self) -> (BootTime, WallTime) {
        let now = self.0.now();
        (now.boot, now.wall)
    }

    fn usage(&self, _: Option<i32>) -> BoxFuture<'static, Usage> {
        Box::pin(async { Usage::default() })
    }

    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

fn unusable(field: &str, detail: String) -> Refusal {
    Refusal::Unusable { field: field.into(), detail }
}

/// One life of the agent: root, status, game server.
pub struct Agent {
    pub game: GameServer,
    pub status: StatusReader,
    pub root: Root,
}

impl Agent {
    pub async fn up(script: &Arc<Script>) -> Agent {
        Agent::with(script, Settings::default()).await
    }

    pub async fn with(script: &Arc<Script>, base: Settings) -> Agent {
        let mut settings = Settings { restart: Restart { jitter: 0.0, ..base.restart.clone() }, ..base };
        settings.game.autostart = script.mood().autostart;
        let here = Arc::new(Here(script.clone()));
        let status = Status::new(Identity::default(), here.clone(), settings.status.interval).unwrap();
        let game = GameServer::new(here, Arc::new(settings), status.clone());
        let root = Root::spawn(vec![status.child(), game.child()], actor_rule()).await.unwrap();
        let reader = status.reader();
        let agent = Agent { game, status: reader, root };
        agent.until(|p| p.checks[0].ok).await;
        agent
    }

    /// Waits, in virtual time and for at most an hour of it, for a published status like this.
    pub async fn until(&self, like: impl Fn(&Published) -> bool) -> Arc<Published> {
        let mut reader = self.status.clone();
        let found = tokio::time::timeout(S(3600), async {
            let mut now = reader.current();
            while !like(&now) {
                now = reader.past(now.snapshot.revision.0).await;
            }
            now
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("never; last: {:?}", self.status.current().snapshot),
        }
    }

    pub async fn state(&self, state: State) -> Arc<Published> {
        self.until(|p| p.snapshot.state == state).await
    }

    /// Started and ready.
    pub async fn ready(script: &Arc<Script>) -> Agent {
        let agent = Agent::up(script).await;
        agent.game.start("test").await.unwrap();
        agent.state(State::Running).await;
        agent
    }

    /// `kill -9` of the agent: no farewell, nothing saved, the game lives on.
    pub async fn die(self) {
        self.root.kill().await;
    }
}
