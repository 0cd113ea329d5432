//! Could players join right now? The question is put to the server itself, and the answer must come from it.
use crate::{
    host::{
        console_log::ConsoleLog,
        probe::{self, LogLineMatcher, PortOwner, missing_ports, port_holders},
    },
    model::{ids::RunId, snapshot::Players, workload::ReadyProbe},
    policy::{game_server::effect::Probing, readiness::Answer},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// Console bytes looked at in one step of a log probe.
const STEP_BYTES: usize = 64 << 10;
/// How often a taken port is looked at again.
const PORT_POLL: Duration = Duration::from_millis(100);

/// Asks on behalf of one workload; remembers how far its console was searched for the ready line.
#[derive(Clone)]
pub struct Prober {
    console: ConsoleLog,
    within: Duration,
    search: Arc<Mutex<Option<Search>>>,
}

struct Search {
    run: RunId,
    next: u64,
    matcher: LogLineMatcher,
    found: Option<String>,
}

impl Prober {
    /// `within`: `ready.timeout`.
    pub fn new(console: ConsoleLog, within: Duration) -> Prober {
        Prober { console, within, search: Arc::default() }
    }

    pub async fn ask(self, probing: Probing) -> Answer {
        let answered = match &probing.spec.ready.probe {
            ReadyProbe::Log { pattern } => timeout(self.within, self.search_log(&probing, pattern)).await,
            other => timeout(self.within * 2, self.ask_server(&probing, other)).await,
        };
        match answered {
            Ok(Ok(players)) => Answer::Alive { players },
            Ok(Err(reason)) => Answer::Dead { reason },
            Err(_) => Answer::Dead { reason: format!("no answer within {:?}", self.within) },
        }
    }

    async fn ask_server(&self, probing: &Probing, question: &ReadyProbe) -> Result<Option<Players>, String> {
        let answer = probe::ask(question, self.within).await.map_err(|e| e.to_string())?;
        // Once proven, the port was its own; asking /proc again with every probe would be work without news.
        if !probing.proven {
            must_hold(probing.born.pid, port_of(question).into_iter().collect()).await?;
        }
        Ok(answer.players)
    }

    /// A ready line alone is no proof (some servers print it before they fail to bind): the declared ports must be held
    /// as well. Later only the ports can be looked at.
    async fn search_log(&self, probing: &Probing, pattern: &str) -> Result<Option<Players>, String> {
        if !probing.proven {
            self.search_on(probing, pattern).await?;
        }
        must_hold(probing.born.pid, probing.spec.ports.clone()).await.map(|()| None)
    }

    async fn search_on(&self, probing: &Probing, pattern: &str) -> Result<(), String> {
        let mut search = self.take_search(probing, pattern)?;
        while search.found.is_none() {
            let piece = self.console.read(search.next, STEP_BYTES).await.map_err(|e| format!("the console: {e}"))?;
            if piece.bytes.is_empty() {
                break;
            }
            search.next = piece.from + piece.bytes.len() as u64;
            search.found = search.matcher.feed(&piece.bytes);
        }
        let found = search.found.is_some();
        *self.search.lock().unwrap_or_else(PoisonError::into_inner) = Some(search);
        if found { Ok(()) } else { Err(format!("no console line matches {pattern:?} yet")) }
    }

    fn take_search(&self, probing: &Probing, pattern: &str) -> Result<Search, String> {
        let earlier = self.search.lock().unwrap_or_else(PoisonError::into_inner).take();
        match earlier.filter(|search| search.run == probing.run) {
            Some(search) => Ok(search),
            None => {
                let matcher = LogLineMatcher::new(pattern).map_err(|e| format!("the ready pattern: {e}"))?;
                Ok(Search { run: probing.run, next: probing.born.log_start, matcher, found: None })
            }
        }
    }
}

fn port_of(question: &ReadyProbe) -> Option<u16> {
    match question {
        ReadyProbe::MinecraftPing { port }
        | ReadyProbe::Tcp { port }
        | ReadyProbe::Http { port, .. }
        | ReadyProbe::A2s { port }
        | ReadyProbe::Udp { port, .. }
        | ReadyProbe::Banner { port, .. } => Some(*port),
        ReadyProbe::Log { .. } | ReadyProbe::Command { .. } | ReadyProbe::None => None,
    }
}

/// These ports belong to the run's own processes, not to somebody who merely answers in its place.
async fn must_hold(pid: i32, ports: Vec<u16>) -> Result<(), String> {
    if ports.is_empty() {
        return Ok(());
    }
    let looked = tokio::task::spawn_blocking(move || {
        let missing = missing_ports(PortOwner::Tree(pid), &ports)?;
        Ok::<_, std::io::Error>((port_holders_of(&missing)?, missing))
    });
    match looked.await {
        Ok(Ok((_, missing))) if missing.is_empty() => Ok(()),
        Ok(Ok((holders, _))) if !holders.is_empty() => {
            Err(format!("it does not hold its port: {}", holders.join("; ")))
        }
        Ok(Ok((_, missing))) => Err(format!("nothing listens on port {missing:?} yet")),
        Ok(Err(e)) => Err(format!("cannot look at the machine's sockets: {e}")),
        Err(e) => Err(format!("looking at the machine's sockets broke off: {e}")),
    }
}

fn port_holders_of(ports: &[u16]) -> std::io::Result<Vec<String>> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    Ok(port_holders(ports)?.iter().map(ToString::to_string).collect())
}

/// Resolves once nobody listens on any of these ports, or names who does after `within`.
pub async fn ports_freed(ports: Vec<u16>, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    loop {
        let asked = ports.clone();
        let looked = tokio::task::spawn_blocking(move || port_holders_of(&asked)).await;
        let holders = looked
            .map_err(|e| format!("looking for the ports broke off: {e}"))?
            .map_err(|e| format!("cannot look at the machine's sockets: {e}"))?;
        if holders.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{} after {within:?}; stop that program or choose another port", holders.join("; ")));
        }
        sleep(PORT_POLL).await;
    }
}
