//! A machine in a world that answers: for tests by scenario, by table and by property. Time moves only when told to.
use super::super::{
    Machine,
    command::{Command, Decision, Leaving, Moment, Resolved},
    effect::{Aim, Effect, Ended, Record},
    fact::{Born, Fact, Found, LaunchFailure, Recollection, Reply, RunFact, Ticket},
    memory::Memory,
};
use crate::{
    model::{
        crash::{CrashReport, Retry},
        exit::{Exit, ExitStatus},
        ids::{OperationId, RunId},
        refusal::Refusal,
        settings::{Restart, Settings},
        time::{BootTime, WallTime},
        workload::{ConsoleInput, Readiness, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::{operations::By, readiness::Answer},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub const S: fn(u64) -> Duration = Duration::from_secs;

/// What `spec` has become when all was installed.
pub fn grown() -> WorkloadSpec {
    WorkloadSpec { argv: vec!["/bin/game".into(), "new.jar".into()], ..spec() }
}

pub fn spec() -> WorkloadSpec {
    WorkloadSpec {
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
    }
}

pub fn resolved(spec: WorkloadSpec) -> Resolved {
    let body = serde_json::json!({ "game": spec.game, "argv": spec.argv });
    Resolved { spec: Arc::new(spec), shown: body.clone(), body, warnings: Vec::new() }
}

pub fn settings() -> Settings {
    let base = Settings::default();
    Settings { restart: Restart { jitter: 0.0, ..base.restart.clone() }, ..base }
}

/// How the world answers; each list holds what is withheld or broken.
#[derive(Clone, Default)]
pub struct Mood {
    pub saves: Option<Result<(), String>>,
    pub prepares: Option<Result<(), String>>,
    pub ports: Option<Result<(), String>>,
    pub launches: Option<Result<(), LaunchFailure>>,
}

impl Mood {
    pub fn kind() -> Mood {
        Mood { saves: Some(Ok(())), prepares: Some(Ok(())), ports: Some(Ok(())), launches: Some(Ok(())) }
    }
}

#[derive(Clone)]
pub struct Rig {
    pub machine: Machine,
    pub now: Moment,
    pub mood: Mood,
    pub found: Found,
    /// What was saved last, as a successor would read it.
    pub disk: Memory,
    pub config: Option<Resolved>,
    pub boot: String,
    /// Every effect since the last [`Rig::told`], in words.
    told: Vec<String>,
    pub launched: Vec<RunId>,
    /// What the keeper may begin by itself, and what it has begun: a launch of that is answered, come what may.
    pub permitted: Option<RunId>,
    pub begun: Option<RunId>,
    pub classified: Vec<Ended>,
    timers: Vec<(BootTime, Ticket)>,
    facts: VecDeque<Fact>,
    pub asked: u64,
}

impl Rig {
    /// Before its first effect.
    pub fn unborn(rules: Settings) -> Rig {
        Rig {
            machine: Machine::new(Arc::new(rules)),
            now: Moment { boot: BootTime(S(1000)), wall: WallTime(1_700_000_000_000), chance: 0.0 },
            mood: Mood::kind(),
            found: Found::Nothing,
            disk: Memory::default(),
            config: Some(resolved(spec())),
            boot: "boot-1".into(),
            told: Vec::new(),
            launched: Vec::new(),
            permitted: None,
            begun: None,
            classified: Vec::new(),
            timers: Vec::new(),
            facts: VecDeque::new(),
            asked: 0,
        }
    }

    /// Configured and idle.
    pub fn idle() -> Rig {
        Rig::idle_with(settings())
    }

    pub fn idle_with(rules: Settings) -> Rig {
        let mut rig = Rig::unborn(rules);
        rig.awaken();
        rig.told();
        rig
    }

    pub fn starting() -> Rig {
        let mut rig = Rig::idle();
        rig.start();
        rig
    }

    pub fn ready() -> Rig {
        let mut rig = Rig::starting();
        rig.alive();
        rig.told();
        rig
    }

    pub fn awaken(&mut self) {
        let effects = self.machine.awaken();
        self.carry_out(effects);
    }

    /// The agent is killed here; the next one begins with what is on disk.
    pub fn reborn(&self, found: Found) -> Rig {
        let mut next = Rig { found, ..self.successor() };
        next.awaken();
        next
    }

    /// The next life before its first effect.
    pub fn successor(&self) -> Rig {
        let machine = Machine::new(self.machine.rules.clone());
        let none = (None, Vec::new(), VecDeque::new(), Vec::new());
        let (permitted, timers, facts, told) = none;
        Rig { machine, permitted, timers, facts, told, ..self.clone() }
    }

    pub fn by(&mut self) -> By {
        self.asked += 1;
        By { id: OperationId(format!("op-{}", self.asked)), holder: "api".into() }
    }

    pub fn command(&mut self, command: Command) -> Result<Decision, Refusal> {
        let decision = self.machine.on_command(self.now, command)?;
        self.carry_out(decision.effects.clone());
        Ok(decision)
    }

    pub fn start(&mut self) -> Decision {
        let by = self.by();
        self.command(Command::Start(by)).unwrap()
    }

    pub fn stop(&mut self) -> Decision {
        let by = self.by();
        self.command(Command::Stop(by)).unwrap()
    }

    pub fn restart(&mut self) -> Decision {
        let by = self.by();
        self.command(Command::Restart(by)).unwrap()
    }

    pub fn kill(&mut self) -> Decision {
        let by = self.by();
        self.command(Command::Kill(by)).unwrap()
    }

    pub fn configure(&mut self, spec: WorkloadSpec) -> Decision {
        let by = self.by();
        self.command(Command::Configure(Arc::new(resolved(spec)), by)).unwrap()
    }

    pub fn shut_down(&mut self, leaving: Leaving) {
        self.command(Command::Shutdown(leaving)).unwrap();
    }

    pub fn fact(&mut self, fact: Fact) {
        let effects = self.machine.on_fact(self.now, fact);
        self.carry_out(effects);
    }

    pub fn run(&mut self, fact: RunFact) {
        let run = self.newest();
        self.fact(Fact::Run(run, fact));
    }

    pub fn newest(&self) -> RunId {
        self.launched.last().copied().unwrap_or_default()
    }

    pub fn alive(&mut self) {
        self.run(RunFact::Probed(Answer::Alive { players: None }));
    }

    pub fn dead(&mut self) {
        self.run(RunFact::Probed(Answer::Dead { reason: "connection refused".into() }));
    }

    /// The newest run's main process ends, and with it its tree.
    pub fn exit(&mut self, status: ExitStatus) {
        self.main_exits(status);
        self.run(RunFact::TreeEmptied);
    }

    pub fn main_exits(&mut self, status: ExitStatus) {
        let exit = self.exit_of(self.newest(), status);
        self.run(RunFact::Exited(Box::new(exit)));
    }

    /// It began when it was launched; that is kept by the disk's memory of `ready` or taken as one second ago.
    pub fn exit_of(&self, run: RunId, status: ExitStatus) -> Exit {
        let live = self.machine.phase().live().and_then(|l| l.born);
        let started = live.map_or(BootTime(self.now.boot.0 - S(1)), |b| b.started);
        Exit {
            run,
            status,
            started_at: self.now.wall,
            ended_at: self.now.wall,
            started,
            ended: self.now.boot,
            max_rss_bytes: 0,
            oom_kills: None,
            log_start: 0,
            log_end: 0,
            alone: false,
            next: None,
        }
    }

    pub fn classify(&mut self, code: &str, retry: Retry) {
        let ended = self.classified.last().unwrap().clone();
        let report = ended.unclassified("id".into(), "test");
        let verdict = crate::model::crash::Verdict {
            code: code.into(),
            retry,
            reason: format!("{code} happened"),
            hint: "Do this.".into(),
            ..report.verdict.clone()
        };
        let report = CrashReport { verdict, ..report };
        self.fact(Fact::Run(ended.exit.run, RunFact::Classified(Box::new(report))));
    }

    /// Lets time pass; timers ring in their order.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.boot + time;
        while let Some(next) = self.timers.iter().copied().filter(|(at, _)| *at <= end).min() {
            self.timers.retain(|t| *t != next);
            self.set_time(next.0.max(self.now.boot));
            self.fact(Fact::Reply(next.1, Reply::TimerFired));
        }
        self.set_time(end);
    }

    fn set_time(&mut self, boot: BootTime) {
        self.now.wall.0 += boot.since(self.now.boot).as_millis() as i64;
        self.now.boot = boot;
    }

    /// The timer that rings next and still matters.
    pub fn next_timer(&self) -> Option<Duration> {
        let live = self.timers.iter().filter(|(_, t)| self.machine.awaits_timer(*t));
        live.map(|(at, _)| at.since(self.now.boot)).min()
    }

    pub fn phase(&self) -> &'static str {
        self.machine.phase().name()
    }

    /// Every effect since last asked.
    pub fn told_all(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// What the machine did since last asked, without saves, timers and probes.
    pub fn told(&mut self) -> Vec<String> {
        let routine = |t: &String| ["save", "arm", "probe", "good"].iter().any(|word| t.starts_with(word));
        std::mem::take(&mut self.told).into_iter().filter(|t| !routine(t)).collect()
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.told.push(in_words(&effect));
            self.answer(effect);
        }
        while let Some(fact) = self.facts.pop_front() {
            self.fact(fact);
        }
    }

    fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::Recall(t) => {
                let (boot, memory) = (self.boot.clone(), self.disk.clone());
                let was = Recollection { boot, memory, config: self.config.clone(), crashes: Vec::new() };
                self.facts.push_back(Fact::Reply(t, Reply::Recalled(Ok(Box::new(was)))));
            }
            Effect::Discover(t) => {
                let autostart = By { holder: "autostart".into(), ..self.by() };
                let found = Ok(self.found.clone());
                self.facts.push_back(Fact::Reply(t, Reply::Discovered { found, autostart }));
            }
            Effect::Save(t, records) => self.save(t, records),
            Effect::Prepare(t, config) => {
                let answer = self.mood.prepares.clone().map(|done| done.map(|()| config.spec.clone()));
                self.reply(answer.map(Reply::Prepared), t)
            }
            Effect::AwaitPorts { ticket, .. } => self.reply(self.mood.ports.clone().map(Reply::PortsFreed), ticket),
            Effect::Launch(run, _) => self.launch(run),
            Effect::Permit(next) => self.permitted = next.map(|(run, _)| run),
            Effect::Classify(ended) => self.classified.push(*ended),
            Effect::Arm(t, after) => self.timers.push((self.now.boot + after, t)),
            Effect::Probe(_) | Effect::Say { .. } | Effect::Signal { .. } => {}
            Effect::NoteGoodStart(..) | Effect::Finish => {}
        }
    }

    fn reply(&mut self, reply: Option<Reply>, ticket: Ticket) {
        self.facts.extend(reply.map(|r| Fact::Reply(ticket, r)));
    }

    fn save(&mut self, ticket: Ticket, records: Vec<Record>) {
        if self.mood.saves == Some(Ok(())) {
            for record in records {
                if let Record::Memory(memory) = record {
                    let text = serde_json::to_string(&memory).unwrap();
                    self.disk = serde_json::from_str(&text).unwrap();
                }
            }
        }
        self.reply(self.mood.saves.clone().map(Reply::Stored), ticket);
    }

    fn launch(&mut self, run: RunId) {
        self.launched.push(run);
        let born = self.born();
        let begun = self.begun.take_if(|begun| *begun == run).map(|_| Ok(()));
        let launched = begun.or(self.mood.launches.clone()).map(|r| r.map(|()| born));
        self.facts.extend(launched.map(|r| Fact::Run(run, RunFact::Launched(r))));
    }

    pub fn born(&self) -> Born {
        Born { pid: 4121, started: self.now.boot, started_at: self.now.wall, log_start: 0 }
    }
}

/// An effect in the words of tests and of the golden table.
pub fn in_words(effect: &Effect) -> String {
    match effect {
        Effect::Recall(_) => "recall".into(),
        Effect::Discover(_) => "discover".into(),
        Effect::Save(_, records) => records.iter().map(record_in_words).collect::<Vec<_>>().join("+"),
        Effect::Prepare(..) => "prepare".into(),
        Effect::AwaitPorts { .. } => "await ports".into(),
        Effect::Launch(run, _) => format!("launch {run}"),
        Effect::Permit(Some((run, _))) => format!("permit {run}"),
        Effect::Permit(None) => "permit none".into(),
        Effect::Probe(p) => if p.proven { "probe again" } else { "probe" }.into(),
        Effect::Say { line, .. } => format!("type {line:?}"),
        Effect::Signal { signal, aim: Aim::Leader, .. } => format!("signal {signal} leader"),
        Effect::Signal { signal, aim: Aim::Group, .. } => format!("signal {signal} group"),
        Effect::Signal { aim: Aim::Tree, .. } => "kill tree".into(),
        Effect::Classify(ended) => format!("classify {}", ended.decision),
        Effect::NoteGoodStart(..) => "good start".into(),
        Effect::Arm(_, after) => format!("arm {after:?}"),
        Effect::Finish => "finish".into(),
    }
}

fn record_in_words(record: &Record) -> &'static str {
    match record {
        Record::Config(_) => "save config",
        Record::Memory(_) => "save",
        Record::Crash(_) => "save crash",
    }
}
