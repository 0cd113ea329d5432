//! For tests: an agent on a real socket, before a game and a console that do what the test says.
use super::{
    agent::{
        Agent, Build,
        backend::{
            BackupCommands, ConsoleLog, EditorVerb, GameCommands, KeptOutput, Ordered, RuntimeCommands, UpdateCommands,
            Verdict,
        },
    },
    hosts::Hosts,
    server::{self, Traffic},
};
use crate::{
    actors::{
        backup::PuttingBack,
        game_server::{Accepted, Chunk, Denied, RunEnd},
        installer::{self, Stock, workshop::Available},
        status::{Check, Published, StatusReader},
    },
    model::{
        backup::{Backup, BackupId, Backups, Reason},
        catalog::Digest,
        console::{Epoch, LogRange, News},
        container::Kind,
        crash::{Classification, Confidence, CrashReport, Retry, Verdict as CrashVerdict},
        ids::{InstanceId, OperationId, Revision, RunId},
        install::{Family, Tree, User, Wanted},
        operation::{Operation, OperationKind, OperationState},
        phase::State,
        refusal::Refusal,
        settings::{Secret, Settings, UpdateMode},
        snapshot::{Players, Snapshot},
        time::{BootTime, WallTime},
        update::{Standing, UpdateState},
    },
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

pub const TOKEN: &str = "correct-horse";
/// Longer than anything here takes; reaching it is a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Fixture {
    pub addr: SocketAddr,
    pub status: watch::Sender<Arc<Published>>,
    pub verdict: watch::Sender<Verdict>,
    pub players: watch::Sender<Option<Players>>,
    pub kind: watch::Sender<Kind>,
    /// What the installer answers to every order.
    pub ordered: watch::Sender<Ordered>,
    /// `verb argument` of each call the game got.
    pub calls: mpsc::UnboundedReceiver<String>,
    pub console: Arc<MemoryLog>,
    pub traffic: Arc<Traffic>,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<usize>,
}

impl Fixture {
    pub async fn start() -> Fixture {
        Fixture::with(|_| {}).await
    }

    pub async fn with(adjust: impl FnOnce(&mut Settings)) -> Fixture {
        let mut settings = Settings { token: Some(Secret(TOKEN.into())), ..Settings::default() };
        adjust(&mut settings);
        let (calls_in, calls) = mpsc::unbounded_channel();
        let status = watch::Sender::new(Arc::new(published(1)));
        let console = Arc::new(MemoryLog::new());
        let verdict =
            watch::Sender::new(Ok(Accepted { operation: Some(OperationId("op-1".into())), state: State::Starting }));
        let players = watch::Sender::new(None);
        let kind = watch::Sender::new(Kind::Game);
        let ordered = watch::Sender::new(Ok(installer::Accepted { operation: Some(OperationId("op-2".into())) }));
        let runtimes = ScriptedRuntimes { verdict: ordered.subscribe(), calls: calls_in.clone() };
        let game = ScriptedGame {
            verdict: verdict.subscribe(),
            players: players.subscribe(),
            calls: calls_in,
            console: console.clone(),
            kind: kind.subscribe(),
        };
        let build = Build { version: "v0.1.0".into(), commit: "abc123".into() };
        let reader = StatusReader::new(status.subscribe());
        let hosts = Hosts::new(settings.allowed_hosts.clone(), []);
        let face =
            Agent::new(reader, Arc::new(game), Arc::new(runtimes), Arc::new(ScriptedUpdates), &settings, hosts, build)
                .face();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let traffic = face.traffic();
        let counted = traffic.clone();
        let server = tokio::spawn(async move {
            server::serve(listener, face, &settings.limits, counted, async move { drop(stopped.await) }).await
        });
        Fixture { addr, status, verdict, players, kind, ordered, calls, console, traffic, shutdown, server }
    }

    /// Publishes the next revision after `change`.
    pub fn publish(&self, change: impl FnOnce(&mut Published)) {
        let mut next = Published::clone(&self.status.borrow());
        next.snapshot.revision.0 += 1;
        change(&mut next);
        next.json = serde_json::to_vec(&next.snapshot).unwrap().into();
        self.status.send_replace(Arc::new(next));
    }

    /// Ends the server; how many connections it had to drop.
    pub async fn stop(self) -> usize {
        drop(self.shutdown);
        timeout(DEADLINE, self.server).await.unwrap().unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends these bytes as they are and reads until the server closes.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect().await;
        // The server may close before it has read everything: then what it answered is still to be read.
        let sent = stream.write_all(request.as_ref()).await;
        let mut bytes = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
        assert!(!bytes.is_empty() || (sent.is_ok() && read.is_ok()), "reset without an answer");
        Reply::parse(&bytes)
    }

    pub async fn call(&self, method: &str, path: &str, more: &str, body: &str) -> Reply {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{length}", self.addr);
        self.raw(format!("{head}{more}\r\n{body}")).await
    }

    /// With the token.
    pub async fn ask(&self, method: &str, path: &str) -> Reply {
        self.call(method, path, &bearer(), "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.call("POST", path, &bearer(), body).await
    }
}

pub fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

#[derive(Debug)]
pub struct Reply {
    /// 0: closed without an answer.
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Reply {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Reply { status: 0, headers: HashMap::new(), body: bytes.to_vec() };
        };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()));
        Reply { status, headers: lines.map(|line| pair(line).unwrap()).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// Checks that this is a problem with consistent members and returns its code.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status);
        assert!(json["title"].is_string() && json["detail"].is_string());
        let code = json["code"].as_str().unwrap().to_owned();
        assert_eq!(json["type"], format!("urn:zlh:problem:{code}"));
        code
    }
}

pub fn published(revision: u64) -> Published {
    let snapshot = Snapshot {
        vmid: 5072,
        instance_id: InstanceId("inst".into()),
        revision: Revision(revision),
        ..Snapshot::default()
    };
    Published {
        json: serde_json::to_vec(&snapshot).unwrap().into(),
        snapshot,
        recovering: false,
        operations: Arc::default(),
        crashes: Arc::default(),
        checks: Arc::new(vec![check("game", true)]),
    }
}

pub fn check(name: &str, ok: bool) -> Check {
    Check { name: name.into(), ok, detail: "no answer on 25565".into(), at: WallTime(0) }
}

pub fn operation(id: &str, state: OperationState) -> Operation {
    Operation {
        subject: String::new(),
        id: OperationId(id.into()),
        kind: OperationKind::Stop,
        state,
        holder: "api".into(),
        started_at: WallTime(0),
        deadline_at: WallTime(1),
        ended_at: None,
        step: String::new(),
        progress: None,
        error: None,
        deadline: BootTime::default(),
    }
}

pub fn crash(id: &str) -> CrashReport {
    CrashReport {
        id: id.into(),
        run: RunId(1),
        time: WallTime(0),
        exit_code: Some(1),
        signal: 0,
        core_dumped: false,
        uptime_seconds: 5,
        was_ready: true,
        peak_memory_bytes: 1,
        verdict: CrashVerdict {
            classification: Classification::Oom,
            code: "java.heap".into(),
            confidence: Confidence::Certain,
            retry: Retry::Ladder,
            rule: "J01".into(),
            reason: "OutOfMemoryError".into(),
            hint: "more memory".into(),
            captures: Default::default(),
            evidence: Vec::new(),
        },
        suspected_mod: None,
        crash_file: None,
        crash_file_text: Some("long".into()),
        log_tail: vec!["last line".into()],
        changes: Vec::new(),
        decision: "restart in 30 s".into(),
        status: None,
    }
}

struct ScriptedGame {
    verdict: watch::Receiver<Verdict>,
    players: watch::Receiver<Option<Players>>,
    calls: mpsc::UnboundedSender<String>,
    console: Arc<MemoryLog>,
    kind: watch::Receiver<Kind>,
}

impl ScriptedGame {
    fn called(&self, what: String) -> BoxFuture<'_, Verdict> {
        assert!(!what.contains("panic"), "as the test asked");
        self.calls.send(what).unwrap();
        ready(self.verdict.borrow().clone()).boxed()
    }
}

pub const BACKUP: &str = "0198c0de-7a11-7abc-8def-000000000001";
pub const CHECKPOINT: &str = "0198c0de-7a11-7abc-8def-000000000002";

pub fn backup() -> Backup {
    Backup {
        id: BackupId::parse(BACKUP).unwrap(),
        kind: Kind::Dev,
        reason: Reason::Manual,
        created_at: WallTime(0),
        source: "home/dev/workspace".into(),
        entries: 3,
        bytes: 30,
        archive_bytes: 10,
        sha256: Digest([7; 32]),
        exclude: vec!["node_modules/".into()],
        warnings: Vec::new(),
        warning_count: 0,
        verified: None,
    }
}

impl ScriptedGame {
    /// What an order on backups becomes: refused as the game refuses.
    fn ordered<T: Send + 'static>(
        &self,
        what: String,
        taken: impl FnOnce(OperationId) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Denied>> {
        let verdict = self.called(what);
        async move { verdict.await.map(|_| taken(OperationId("op-3".into()))) }.boxed()
    }
}

impl BackupCommands for ScriptedGame {
    fn backups(&self, kind: Kind) -> BoxFuture<'_, Result<Backups, Denied>> {
        self.called(format!("backups {kind}")).map(|verdict| verdict.map(|_| Arc::new(vec![backup()]))).boxed()
    }
    fn back_up(&self, kind: Kind, holder: &'static str) -> BoxFuture<'_, Result<(OperationId, BackupId), Denied>> {
        self.ordered(format!("back_up {kind} {holder}"), |id| (id, BackupId::parse(CHECKPOINT).unwrap()))
    }
    fn put_back(&self, kind: Kind, id: BackupId, holder: &'static str) -> BoxFuture<'_, Result<PuttingBack, Denied>> {
        self.ordered(format!("put_back {kind} {id} {holder}"), |operation| PuttingBack {
            operation,
            of: backup(),
            checkpoint: BackupId::parse(CHECKPOINT).unwrap(),
        })
    }
    fn verify_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>> {
        self.ordered(format!("verify {kind} {id} {holder}"), |id| id)
    }
    fn delete_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>> {
        self.ordered(format!("delete {kind} {id} {holder}"), |id| id)
    }
    fn cancel_backup(&self, operation: OperationId) -> BoxFuture<'_, Option<Result<(), Denied>>> {
        ready((operation.0 == "op-3").then_some(Ok(()))).boxed()
    }
    /// Done, but for those who ask while the game refuses.
    fn backup_outcome(&self, _: OperationId) -> BoxFuture<'_, Result<(), String>> {
        ready(Ok(())).boxed()
    }
    fn backup(&self, _: Kind, id: &BackupId) -> Option<Backup> {
        (id.as_str() == BACKUP).then(backup)
    }
}

impl GameCommands for ScriptedGame {
    fn configure(&self, body: serde_json::Value, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("configure {body} {holder}"))
    }
    fn start(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("start {holder}"))
    }
    fn stop(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("stop {holder}"))
    }
    fn restart(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("restart {holder}"))
    }
    fn kill(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("kill {holder}"))
    }
    fn editor(&self, verb: EditorVerb, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.called(format!("editor {verb:?} {holder}"))
    }
    fn editor_output(&self) -> Arc<dyn KeptOutput> {
        self.console.clone()
    }
    fn command(&self, line: String) -> BoxFuture<'_, Result<(), Denied>> {
        self.called(format!("command {line}")).map(|verdict| verdict.map(drop)).boxed()
    }
    fn players(&self) -> BoxFuture<'_, Result<Option<Players>, Denied>> {
        let players = self.players.borrow().clone();
        self.called("players".into()).map(|verdict| verdict.map(|_| players)).boxed()
    }
    fn admits(&self, needed: Kind) -> Result<(), Denied> {
        match *self.kind.borrow() == needed {
            true => Ok(()),
            false => Err(Denied::Refused(Refusal::NotAGame)),
        }
    }
    fn attach(&self, session: Option<String>) -> BoxFuture<'_, Result<Arc<dyn ConsoleLog>, Denied>> {
        let console: Arc<dyn ConsoleLog> = self.console.clone();
        match session {
            None => ready(Ok(console)).boxed(),
            Some(name) => self.called(format!("attach {name}")).map(|verdict| verdict.map(|_| console)).boxed(),
        }
    }
    fn kept(&self, _: Option<&str>) -> Result<Arc<dyn KeptOutput>, Denied> {
        Ok(self.console.clone())
    }
}

/// Writes down what it was asked.
struct ScriptedRuntimes {
    verdict: watch::Receiver<Ordered>,
    calls: mpsc::UnboundedSender<String>,
}

impl ScriptedRuntimes {
    fn called(&self, what: String) -> BoxFuture<'_, Ordered> {
        self.calls.send(what).unwrap();
        ready(self.verdict.borrow().clone()).boxed()
    }
}

/// Nothing newer, and one order at a time: naming a version finds another at work.
struct ScriptedUpdates;

impl UpdateCommands for ScriptedUpdates {
    fn standing(&self) -> Standing {
        Standing {
            current: "v0.1.0".into(),
            latest: None,
            update_available: false,
            operation_id: None,
            target: None,
            mode: UpdateMode::Notify,
            state: UpdateState::Idle,
            last_check_at: None,
            last_error: None,
            failed: Default::default(),
        }
    }
    fn check(&self) -> BoxFuture<'_, Result<Standing, Denied>> {
        Box::pin(async { Ok(Standing { state: UpdateState::Checking, ..self.standing() }) })
    }
    fn update(&self, version: Option<String>) -> BoxFuture<'_, Result<Standing, Denied>> {
        Box::pin(async move {
            match version {
                Some(_) => Err(Denied::Refused(Refusal::UpdateInProgress)),
                None => Ok(Standing { state: UpdateState::Checking, ..self.standing() }),
            }
        })
    }
}

impl RuntimeCommands for ScriptedRuntimes {
    fn stock(&self) -> BoxFuture<'_, Result<Vec<Stock>, Denied>> {
        let tree = Tree {
            id: Family::runtime("node").version("22"),
            path: "/opt/zlh/runtimes/node/22".into(),
            bytes: 7,
            files: 1,
            sha256: Digest([0; 32]),
            bin: Vec::new(),
            env: Default::default(),
            verified: true,
        };
        let users = vec![User { pid: 7, name: "node".into() }];
        ready(Ok(vec![Stock { tree, active: true, users }])).boxed()
    }
    fn available(&self) -> BoxFuture<'_, Result<Vec<Available>, String>> {
        ready(Err("http://artifacts/ cannot be reached".into())).boxed()
    }
    fn ensure(&self, wanted: Wanted, activate: bool, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("ensure {wanted} {activate} {holder}"))
    }
    fn activate(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("activate {runtime} {version} {holder}"))
    }
    fn rollback(&self, runtime: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("rollback {runtime} {holder}"))
    }
    fn remove(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("remove {runtime} {version} {holder}"))
    }
    fn verify(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("verify {runtime} {version:?} {holder}"))
    }
    fn repair(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("repair {runtime} {version:?} {holder}"))
    }
    fn collect(&self, holder: &'static str) -> BoxFuture<'_, Ordered> {
        self.called(format!("collect {holder}"))
    }
    fn cancel(&self, operation: OperationId) -> BoxFuture<'_, Ordered> {
        self.called(format!("cancel {operation}"))
    }
}

/// A console in memory: output is what the test prints, input is what the test can look at.
pub struct MemoryLog {
    held: watch::Sender<Held>,
    news: watch::Sender<News>,
    ends: watch::Sender<Option<RunEnd>>,
    size: watch::Sender<(u16, u16)>,
    typed: mpsc::UnboundedSender<Bytes>,
    pub input: tokio::sync::Mutex<mpsc::UnboundedReceiver<Bytes>>,
    pub denies: watch::Sender<Option<Denied>>,
}

#[derive(Clone)]
struct Held {
    epoch: Epoch,
    start: u64,
    bytes: Vec<u8>,
}

impl MemoryLog {
    fn new() -> MemoryLog {
        let (typed, input) = mpsc::unbounded_channel();
        MemoryLog {
            held: watch::Sender::new(Held { epoch: Epoch(7), start: 0, bytes: Vec::new() }),
            news: watch::Sender::new(News { range: LogRange { epoch: Epoch(7), start: 0, end: 0 }, ..News::default() }),
            ends: watch::Sender::new(None),
            size: watch::Sender::new((200, 24)),
            typed,
            input: input.into(),
            denies: watch::Sender::new(None),
        }
    }

    pub fn print(&self, bytes: impl AsRef<[u8]>) {
        let from = self.range().end;
        self.held.send_modify(|held| held.bytes.extend_from_slice(bytes.as_ref()));
        self.news.send_replace(News { range: self.range(), from, bytes: Bytes::copy_from_slice(bytes.as_ref()) });
    }

    /// Forgets everything before `start`.
    pub fn forget(&self, start: u64) {
        self.held.send_modify(|held| {
            held.bytes.drain(..(start - held.start) as usize);
            held.start = start;
        });
        self.news.send_replace(News { range: self.range(), ..News::default() });
    }

    pub fn new_epoch(&self, epoch: u64, bytes: &[u8]) {
        self.held.send_replace(Held { epoch: Epoch(epoch), start: 0, bytes: bytes.to_vec() });
        self.news.send_replace(News { range: self.range(), ..News::default() });
    }

    pub fn end(&self, end: RunEnd) {
        self.ends.send_replace(Some(end));
    }

    pub fn viewers_waiting(&self) -> usize {
        self.ends.receiver_count()
    }

    pub async fn typed(&self) -> Bytes {
        timeout(DEADLINE, async { self.input.lock().await.recv().await.unwrap() }).await.expect("input arrives")
    }
}

impl Held {
    fn range(&self) -> LogRange {
        LogRange { epoch: self.epoch, start: self.start, end: self.start + self.bytes.len() as u64 }
    }
}

impl KeptOutput for MemoryLog {
    fn range(&self) -> LogRange {
        self.held.borrow().range()
    }
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>> {
        let held = self.held.borrow();
        let from = from.max(held.start);
        let rest = held.bytes.get((from - held.start) as usize..).unwrap_or_default();
        let bytes = Bytes::copy_from_slice(&rest[..rest.len().min(max)]);
        ready(Ok(Chunk { from, bytes })).boxed()
    }
}

impl ConsoleLog for MemoryLog {
    fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }
    fn ends(&self) -> watch::Receiver<Option<RunEnd>> {
        self.ends.subscribe()
    }
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Denied>> {
        let answer = match &*self.denies.borrow() {
            Some(denied) => Err(denied.clone()),
            None => {
                self.typed.send(bytes).unwrap();
                Ok(())
            }
        };
        ready(answer).boxed()
    }
    fn resize(&self, columns: u16, rows: u16) {
        self.size.send_replace((columns, rows));
    }
    fn size(&self) -> (u16, u16) {
        *self.size.borrow()
    }
    fn counts_viewers(&self) -> bool {
        false
    }
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(2));
    let seen = timeout(DEADLINE, async {
        while !holds() {
            look.tick().await;
        }
    });
    assert!(seen.await.is_ok(), "never seen: {what}");
}
