//! The state table, phases × inputs, as a file people read: `tests/golden/game_server.txt`.
//! `UPDATE_GOLDEN=1 cargo test --lib golden` writes it anew; the difference is then reviewed like code.
use super::super::{
    Machine,
    command::{Command, Leaving, Resolved},
    fact::{Chance, Fact, LaunchFailure, Reply, RunFact, Ticket},
    phase::{Awaited, Phase, Rung},
};
use super::rig::{Mood, Rig, S, grown, in_words, resolved, settings, spec};
use crate::{
    model::{
        crash::Retry,
        exit::ExitStatus::Code,
        ids::{OperationId, RunId},
        settings::{Hang, Settings},
        workload::WorkloadSpec,
    },
    policy::{operations::By, readiness::Answer},
};
use std::{fmt::Write, sync::Arc};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/game_server.txt");

#[test]
fn the_table_is_the_one_on_file() {
    let table = render();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(FILE, &table).unwrap();
    }
    let filed = std::fs::read_to_string(FILE).unwrap_or_default();
    for (n, (is, was)) in table.lines().zip(filed.lines()).enumerate() {
        assert_eq!(is, was, "line {} of {FILE} (UPDATE_GOLDEN=1 writes it anew)", n + 1);
    }
    assert_eq!(table.lines().count(), filed.lines().count(), "{FILE} has another length");
}

fn render() -> String {
    let mut out = String::from(
        "# Phases x inputs of policy::game_server. Written by a test; see src/policy/game_server/tests/golden.rs.\n\
         # input -> next phase: effects in order. `open`/`end` say what became of the operation that holds the lock.\n\
         # Inputs that are not listed under a phase change nothing in it.\n",
    );
    for (name, rig) in phases() {
        render_phase(&mut out, name, &rig);
    }
    out
}

fn render_phase(out: &mut String, name: &str, rig: &Rig) {
    writeln!(out, "\n{name}").unwrap();
    for (input, act) in inputs() {
        if let Some(row) = act(&mut rig.machine.clone(), rig) {
            writeln!(out, "    {input:<24} {row}").unwrap();
        }
    }
}

fn with(mood: Mood, act: impl FnOnce(&mut Rig)) -> Rig {
    let mut rig = Rig::idle();
    rig.mood = mood;
    act(&mut rig);
    rig
}

fn phases() -> Vec<(&'static str, Rig)> {
    let kind = Mood::kind;
    let start = |r: &mut Rig| _ = r.start();
    let slow_saves = |act: fn(&mut Rig)| {
        let mut rig = Rig::ready();
        rig.mood.saves = None;
        act(&mut rig);
        rig
    };
    let ready_then = |act: fn(&mut Rig)| {
        let mut rig = Rig::ready();
        act(&mut rig);
        rig
    };
    let mut recovering = Rig::unborn(settings());
    recovering.machine.awaken();
    let mut unconfigured = Rig::unborn(settings());
    unconfigured.config = None;
    unconfigured.awaken();
    vec![
        ("Recovering", recovering),
        ("Idle, never configured", unconfigured),
        ("Idle", Rig::idle()),
        ("Preparing: saving", with(Mood { saves: None, ..kind() }, start)),
        ("Preparing: server folder", with(Mood { prepares: None, ..kind() }, start)),
        (
            "Preparing: server folder, for a new config",
            with(Mood { prepares: None, ..kind() }, |r| _ = r.configure(spec())),
        ),
        ("Preparing: ports", with(Mood { ports: None, ..kind() }, start)),
        ("Launching", with(Mood { launches: None, ..kind() }, start)),
        ("Starting", Rig::starting()),
        ("Ready", Rig::ready()),
        ("Ready, hang suspected", hung(false)),
        ("Stopping: saving", slow_saves(|r| _ = r.stop())),
        ("Stopping: saving, to kill", slow_saves(|r| _ = r.kill())),
        ("Stopping: first rung", ready_then(|r| _ = r.stop())),
        ("Stopping: killed", ready_then(|r| _ = r.kill())),
        ("Stopping: for a restart", ready_then(|r| _ = r.restart())),
        ("Stopping: never ready", never_ready()),
        ("Stopping: hung", hung(true)),
        (
            "Stopping: keeper lost",
            ready_then(|r| r.run(RunFact::KeeperLost { recovered: false, detail: String::new() })),
        ),
        (
            "Clearing: then rest",
            ready_then(|r| {
                r.stop();
                r.main_exits(Code(0))
            }),
        ),
        (
            "Clearing: then rest, ports",
            ready_then(|r| {
                r.stop();
                r.mood.ports = None;
                r.exit(Code(0))
            }),
        ),
        (
            "Clearing: then start",
            ready_then(|r| {
                r.restart();
                r.main_exits(Code(0))
            }),
        ),
        ("Clearing: crashed", ready_then(|r| r.main_exits(Code(1)))),
        ("Backoff", ready_then(|r| r.exit(Code(1)))),
        (
            "Error",
            ready_then(|r| {
                r.exit(Code(1));
                r.classify("java.too_old", Retry::Never)
            }),
        ),
        ("Closed", {
            let mut r = Rig::ready();
            r.mood.saves = None;
            r.shut_down(Leaving::Leave);
            r
        }),
    ]
}

fn never_ready() -> Rig {
    let mut rig = Rig::starting();
    rig.dead();
    rig.pass(S(60));
    rig
}

fn hung(restart: bool) -> Rig {
    let base = settings();
    let mut rig = Rig::idle_with(Settings { hang: Hang { restart: true, ..base.hang.clone() }, ..base });
    rig.start();
    rig.alive();
    rig.dead();
    rig.pass(S(120));
    rig.dead();
    if restart {
        rig.dead();
    }
    rig
}

type Act = Box<dyn Fn(&mut Machine, &Rig) -> Option<String>>;

fn inputs() -> Vec<(&'static str, Act)> {
    let other = WorkloadSpec { argv: vec!["/bin/other".into()], ..spec() };
    let failure = |chance| LaunchFailure { reason: "no such program".into(), chance };
    vec![
        ("configure (the same)", command(move |by| Command::Configure(config(spec()), by))),
        ("configure (another)", command(move |by| Command::Configure(config(other.clone()), by))),
        ("start", command(Command::Start)),
        ("stop", command(Command::Stop)),
        ("restart", command(Command::Restart)),
        ("kill", command(Command::Kill)),
        ("shutdown, leave", command(|_| Command::Shutdown(Leaving::Leave))),
        ("shutdown, stop", command(|_| Command::Shutdown(Leaving::Stop))),
        ("Stored", reply(|| Reply::Stored(Ok(())))),
        ("Stored: failed", reply(|| Reply::Stored(Err("disk full".into())))),
        ("Prepared", reply(|| Reply::Prepared(Ok(Arc::new(spec()))))),
        ("Prepared: changed", reply(|| Reply::Prepared(Ok(Arc::new(grown()))))),
        ("Prepared: failed", reply(|| Reply::Prepared(Err("no server.jar".into())))),
        ("PortsFreed", reply(|| Reply::PortsFreed(Ok(())))),
        ("PortsFreed: failed", reply(|| Reply::PortsFreed(Err("port taken".into())))),
        (
            "TimerFired (the phase's)",
            Box::new(|m, r| m.timers.phase.and_then(|t| fact(m, r, Fact::Reply(t, Reply::TimerFired)))),
        ),
        ("Launched", run(|r| RunFact::Launched(Ok(r.born())))),
        ("Launched: hopeless", run(move |_| RunFact::Launched(Err(failure(Chance::Hopeless))))),
        ("Launched: later perhaps", run(move |_| RunFact::Launched(Err(failure(Chance::Later))))),
        ("Launched: unknown", run(move |_| RunFact::Launched(Err(failure(Chance::Unknown))))),
        ("Probed: alive", run(|_| RunFact::Probed(Answer::Alive { players: None }))),
        ("Probed: dead", run(|_| RunFact::Probed(Answer::Dead { reason: "refused".into() }))),
        ("Exited 0", run(|r| RunFact::Exited(Box::new(r.exit_of(r.newest(), Code(0)))))),
        ("Exited 1", run(|r| RunFact::Exited(Box::new(r.exit_of(r.newest(), Code(1)))))),
        ("TreeEmptied", run(|_| RunFact::TreeEmptied)),
        ("KeeperLost, recovered", run(|_| RunFact::KeeperLost { recovered: true, detail: String::new() })),
        ("KeeperLost", run(|_| RunFact::KeeperLost { recovered: false, detail: String::new() })),
        ("StopTyped", run(|_| RunFact::StopTyped)),
        (
            "Exited (another run)",
            Box::new(|m, r| {
                let exit = Box::new(r.exit_of(RunId(999), Code(1)));
                fact(m, r, Fact::Run(RunId(999), RunFact::Exited(exit)))
            }),
        ),
    ]
}

fn config(spec: WorkloadSpec) -> Arc<Resolved> {
    Arc::new(resolved(spec))
}

fn command(make: impl Fn(By) -> Command + 'static) -> Act {
    Box::new(move |machine, rig| {
        let before = machine.clone();
        let by = By { id: OperationId("new".into()), holder: "api".into() };
        match machine.on_command(rig.now, make(by)) {
            Err(refusal) => Some(format!("refused: {}", refusal.code())),
            Ok(decision) => Some(row(&before, machine, decision.effects.iter().map(in_words).collect())),
        }
    })
}

fn reply(make: impl Fn() -> Reply + 'static) -> Act {
    Box::new(move |machine, rig| asked(machine).and_then(|t| fact(machine, rig, Fact::Reply(t, make()))))
}

fn run(make: impl Fn(&Rig) -> RunFact + 'static) -> Act {
    Box::new(move |machine, rig| fact(machine, rig, Fact::Run(rig.newest(), make(rig))))
}

/// `None` if the fact changed nothing at all.
fn fact(machine: &mut Machine, rig: &Rig, fact: Fact) -> Option<String> {
    let before = machine.clone();
    let told: Vec<_> = machine.on_fact(rig.now, fact).iter().map(in_words).collect();
    let same = before.phase == machine.phase && before.memory == machine.memory && before.tree == machine.tree;
    (!told.is_empty() || !same).then(|| row(&before, machine, told))
}

fn row(before: &Machine, after: &Machine, told: Vec<String>) -> String {
    let mut row = format!("-> {}", after.phase.name());
    if !told.is_empty() {
        write!(row, ": {}", told.join(", ")).unwrap();
    }
    let (was, is) = (before.memory.journal.holder(), after.memory.journal.holder());
    if let Some(o) = was.filter(|o| is.is_none_or(|i| i.id != o.id)) {
        let ended = after.memory.journal.rows();
        let ended = ended.iter().find(|e| e.id == o.id).unwrap();
        write!(row, "; end {:?} {:?}", ended.kind, ended.state).unwrap();
    }
    if let Some(o) = is.filter(|o| was.is_none_or(|w| w.id != o.id)) {
        write!(row, "; open {:?}", o.kind).unwrap();
    }
    row
}

/// The question whose answer the phase waits for.
fn asked(machine: &Machine) -> Option<Ticket> {
    let of_phase = match &machine.phase {
        Phase::Recovering(r) => r.asked,
        Phase::Preparing(p) => Some(p.asked),
        Phase::Stopping(s) => match s.rung {
            Rung::Saving(t) => Some(t),
            Rung::Step(_) | Rung::Kill(_) => None,
        },
        Phase::Clearing(c) => match c.awaited {
            Awaited::Ports(t) => Some(t),
            Awaited::Tree { .. } => None,
        },
        Phase::Closed { saving, .. } => Some(*saving),
        _ => None,
    };
    of_phase.or(machine.aside)
}
