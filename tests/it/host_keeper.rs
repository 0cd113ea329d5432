//! The agent's side of holding a workload, against real keepers and real processes.
use crate::support::eventually;
use bytes::Bytes;
use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use zlh::{
    host::{
        cgroup::{Places, WorkloadCgroup},
        keeper_client::{KeeperClient, Plan},
        keeper_state::KeeperState,
        keeping::{Alive, Discovery, EventSink, KeeperEvent, Keeping, KeepingError},
        process::{Identity, PidFd, set_child_subreaper},
    },
    keeper::{
        layout,
        protocol::{LaunchStep, Scope},
    },
    model::{
        exit::{Exit, ExitStatus},
        ids::RunId,
        workload::{ConsoleInput, Readiness, ReadyProbe, WorkloadSpec},
    },
};

mod faults;
mod lives;
mod pace;

/// Reads commands from its terminal: `say WORD`, `exit CODE`, `count N` (prints the numbers 1 to N).
const OBEDIENT: &str = r#"echo ready; while read -r cmd arg; do case "$cmd" in
    say) echo "$arg";; exit) exit "$arg";; count) seq "$arg";; esac; done"#;

const PATIENCE: Duration = Duration::from_secs(120);

/// One machine with one workload on it. Agents come and go; the end takes everything away.
struct Bench {
    root: tempfile::TempDir,
    name: String,
}

/// One life of the agent.
struct Agent {
    client: KeeperClient,
    sink: EventSink,
    events: mpsc::UnboundedReceiver<KeeperEvent>,
}

impl Bench {
    fn new() -> Bench {
        set_child_subreaper().unwrap();
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        Bench { root: tempfile::tempdir().unwrap(), name }
    }

    fn plan(&self) -> Plan {
        Plan::new(&self.name, self.root.path(), Path::new(env!("CARGO_BIN_EXE_zlh")))
    }

    fn agent(&self) -> Agent {
        self.agent_of(self.plan())
    }

    fn agent_of(&self, plan: Plan) -> Agent {
        let (sender, events) = mpsc::unbounded_channel();
        let sink: EventSink = Arc::new(move |event| drop(sender.send(event)));
        Agent { client: KeeperClient::new(plan).unwrap(), sink, events }
    }

    fn state_path(&self) -> PathBuf {
        self.root.path().join("run/zlh/k").join(&self.name).join(layout::STATE_FILE)
    }

    fn keeper(&self) -> Identity {
        KeeperState::open(&self.state_path()).unwrap().unwrap().keeper()
    }

    fn patch_state(&self, at: usize, bytes: &[u8]) {
        let file = std::fs::File::options().write(true).open(self.state_path()).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }

    fn spec(&self, script: &str) -> WorkloadSpec {
        WorkloadSpec {
            game: "test".into(),
            variant: String::new(),
            argv: ["sh", "-c", script].map(String::from).to_vec(),
            cwd: self.root.path().into(),
            env: [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())].into(),
            user: None,
            memory_bytes: None,
            max_processes: None,
            ports: Vec::new(),
            requires: Vec::new(),
            stop: Vec::new(),
            ready: Readiness { probe: ReadyProbe::None, within: PATIENCE },
            signatures: Vec::new(),
            console: ConsoleInput::Pty,
            stop_commands: Vec::new(),
            watched_files: Vec::new(),
            dump_signal: None,
        }
    }

    fn cgroup(&self) -> WorkloadCgroup {
        let hash = crc32fast::hash(self.root.path().as_os_str().as_encoded_bytes());
        WorkloadCgroup::existing(&Places::of_this_process().unwrap(), &format!("{}-{hash:08x}", self.name))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(Some(state)) = KeeperState::open(&self.state_path()) {
            end(&state.keeper());
        }
        let group = self.cgroup();
        let until = std::time::Instant::now() + PATIENCE;
        while !group.remove() && std::time::Instant::now() < until {
            let _ = group.kill();
            std::thread::yield_now();
        }
    }
}

impl Agent {
    async fn discover(&self) -> Discovery {
        self.client.discover(self.sink.clone()).await.unwrap()
    }

    async fn launch(&self, run: u64, spec: &WorkloadSpec) -> Result<Alive, KeepingError> {
        self.client.launch(RunId(run), spec, self.sink.clone()).await
    }

    async fn event(&mut self) -> KeeperEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// The end of `run`; the events before it must be none but those of an earlier tree.
    async fn exit(&mut self, run: u64) -> Exit {
        loop {
            match self.event().await {
                KeeperEvent::Exited(exit) if exit.run == RunId(run) => return exit,
                KeeperEvent::TreeEmpty { run: earlier, .. } if earlier < RunId(run) => {}
                other => panic!("{other:?} instead of the end of run {run}"),
            }
        }
    }

    async fn tree_empty(&mut self, run: u64) -> u32 {
        match self.event().await {
            KeeperEvent::TreeEmpty { run: which, killed } if which == RunId(run) => killed,
            other => panic!("{other:?} instead of an empty tree of run {run}"),
        }
    }

    async fn type_line(&self, run: u64, line: &str) {
        let bytes = Bytes::from(format!("{line}\n"));
        let len = bytes.len() as u64;
        assert_eq!(self.client.input(RunId(run), bytes).await, Ok(len));
    }

    /// Waits for `text` at or after `from`; the offset right after it.
    async fn see(&self, mut from: u64, text: &str) -> u64 {
        let log = self.client.console();
        let (start, until) = (from, Instant::now() + PATIENCE);
        let mut seen = Vec::new();
        loop {
            let piece = log.read(from, 64 << 10).await.unwrap();
            from = piece.from + piece.bytes.len() as u64;
            seen.extend_from_slice(&piece.bytes);
            if let Some(at) = String::from_utf8_lossy(&seen).find(text) {
                return start + (at + text.len()) as u64;
            }
            let (epoch, mut news) = (log.range().epoch, log.news());
            let more = news.wait_for(|news| news.range.epoch != epoch || news.range.end > from);
            assert!(
                tokio::time::timeout_at(until, more).await.is_ok(),
                "no {text:?} in {:?}",
                String::from_utf8_lossy(&seen)
            );
        }
    }
}

/// Everything in the console from `from` on; panics on a gap.
async fn text(agent: &Agent, mut from: u64) -> String {
    let log = agent.client.console();
    let mut seen = Vec::new();
    loop {
        let piece = log.read(from, 1 << 20).await.unwrap();
        assert_eq!(piece.from, from, "a gap");
        if piece.bytes.is_empty() {
            return String::from_utf8(seen).unwrap();
        }
        from += piece.bytes.len() as u64;
        seen.extend_from_slice(&piece.bytes);
    }
}

/// kill -9 of exactly this process; waits until it is gone.
fn end(who: &Identity) {
    if let Ok(Some(handle)) = PidFd::open(who) {
        let _ = handle.signal(nix::sys::signal::Signal::SIGKILL);
        while who.lives() {
            std::thread::yield_now();
        }
    }
}

async fn wait_until(mut done: impl FnMut() -> bool) {
    eventually("what was waited for", PATIENCE, async || done().then_some(())).await;
}
