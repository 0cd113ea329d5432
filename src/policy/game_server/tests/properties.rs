//! What holds always, whatever is asked, happens, is withheld, breaks or dies: random lives against the invariants.
use super::super::{
    command::Command,
    fact::{Chance, Fact, Found, LaunchFailure, RunFact},
    memory::Desired,
    phase::Phase,
};
use super::rig::{Mood, Rig, resolved, settings, spec};
use crate::{
    model::{
        crash::Retry,
        exit::{Exit, ExitStatus::Code},
        ids::{OperationId, RunId},
        operation::OperationState,
        settings::{Hang, Restart, Settings},
        workload::WorkloadSpec,
    },
    policy::readiness::Answer,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

#[derive(Clone, Debug)]
enum Act {
    Configure(bool),
    Start,
    Stop,
    Restart,
    Kill,
    LaunchAnswered,
    Alive,
    Dead,
    MainExits(i32),
    AllEnds(i32),
    /// Its keeper goes on by a permit, while this is on its way.
    GoesOn(Crossing),
    TreeEmpties,
    StopTyped,
    KeeperLost(bool),
    Classified(Retry),
    Pass(u64),
    Turn(usize),
    Stale(usize),
    Die {
        reboot: bool,
    },
}

/// What is asked, or happens, after the keeper has gone on and before the machine knows.
#[derive(Clone, Copy, Debug)]
enum Crossing {
    Nothing,
    Stop,
    Restart,
    Kill,
    Configure(bool),
    Die,
    StopAndDie,
}

fn crossing() -> impl Strategy<Value = Crossing> {
    use Crossing::*;
    prop_oneof![
        3 => Just(Nothing),
        1 => Just(Stop),
        1 => Just(Restart),
        1 => Just(Kill),
        1 => any::<bool>().prop_map(Configure),
        1 => Just(Die),
        1 => Just(StopAndDie),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let retry = prop_oneof![Just(Retry::Ladder), Just(Retry::Once), Just(Retry::Never)];
    prop_oneof![
        2 => any::<bool>().prop_map(Act::Configure),
        6 => Just(Act::Start),
        4 => Just(Act::Stop),
        3 => Just(Act::Restart),
        2 => Just(Act::Kill),
        4 => Just(Act::LaunchAnswered),
        6 => Just(Act::Alive),
        3 => Just(Act::Dead),
        6 => (0..2).prop_map(Act::MainExits),
        4 => (0..2).prop_map(Act::AllEnds),
        4 => crossing().prop_map(Act::GoesOn),
        8 => Just(Act::TreeEmpties),
        1 => Just(Act::StopTyped),
        1 => any::<bool>().prop_map(Act::KeeperLost),
        3 => retry.prop_map(Act::Classified),
        8 => prop_oneof![0u64..500, 500u64..200_000].prop_map(Act::Pass),
        3 => (0usize..8).prop_map(Act::Turn),
        3 => (0usize..5).prop_map(Act::Stale),
        2 => any::<bool>().prop_map(|reboot| Act::Die { reboot }),
    ]
}

/// What is true out there, as opposed to what the machine believes.
struct Life {
    rig: Rig,
    /// The run with processes, and whether its main process is among them.
    tree: Option<RunId>,
    main: bool,
    /// Nobody reports its end, but SIGKILL works.
    silent: bool,
    /// Somebody asked for a run and nobody has asked to end it since.
    wanted: bool,
    ends: u64,
    newest: RunId,
    /// The newest run that ever had a process.
    last: Option<RunId>,
    outcomes: BTreeMap<OperationId, OperationState>,
    accepted: Vec<OperationId>,
}

fn rules(immediate: bool) -> Settings {
    let base = settings();
    let backoff = if immediate { vec![Duration::ZERO; 3] } else { base.restart.backoff.clone() };
    Settings {
        restart: Restart { backoff, ..base.restart.clone() },
        hang: Hang { restart: true, ..base.hang.clone() },
        ..base
    }
}

impl Life {
    fn new(immediate: bool) -> Life {
        Life {
            rig: Rig::idle_with(rules(immediate)),
            tree: None,
            main: false,
            silent: false,
            wanted: false,
            ends: 0,
            newest: RunId(0),
            last: None,
            outcomes: BTreeMap::new(),
            accepted: Vec::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Configure(same) => self.configure(same),
            Act::Start => self.ask(Command::Start, true),
            Act::Restart => self.ask(Command::Restart, true),
            Act::Stop => self.ask(Command::Stop, false),
            Act::Kill => self.kill(),
            Act::LaunchAnswered => self.answer_launch(),
            Act::Alive => self.rig.run(RunFact::Probed(Answer::Alive { players: None })),
            Act::Dead => self.rig.run(RunFact::Probed(Answer::Dead { reason: "refused".into() })),
            Act::MainExits(code) => self.main_exits(code),
            Act::AllEnds(code) => self.all_ends(code),
            Act::GoesOn(crossing) => self.goes_on(crossing),
            Act::TreeEmpties => self.tree_empties(),
            Act::StopTyped if self.main => self.type_stop(),
            Act::StopTyped => {}
            Act::KeeperLost(recovered) => self.lose_keeper(recovered),
            Act::Classified(retry) if !self.rig.classified.is_empty() => self.rig.classify("some.code", retry),
            Act::Classified(_) => {}
            Act::Pass(ms) => self.rig.pass(Duration::from_millis(ms)),
            Act::Turn(mood) => self.rig.mood = moods()[mood].clone(),
            Act::Stale(kind) => self.stale(kind),
            Act::Die { reboot } => self.die(reboot),
        }
        self.check();
    }

    fn ask(&mut self, command: fn(crate::policy::operations::By) -> Command, wants: bool) {
        let by = self.rig.by();
        self.wanted |= wants;
        match self.rig.command(command(by)) {
            Ok(decision) => {
                self.wanted = wants;
                self.accepted.extend(decision.operation);
            }
            Err(_) if wants => self.wanted = self.rig.machine.memory().intent.desired == Desired::Running,
            Err(_) => {}
        }
    }

    fn configure(&mut self, same: bool) {
        let argv = if same { spec().argv } else { vec![format!("/bin/{}", self.rig.asked)] };
        let config = Arc::new(resolved(WorkloadSpec { argv, ..spec() }));
        let by = self.rig.by();
        let before = self.wanted;
        self.wanted = true;
        match self.rig.command(Command::Configure(config, by)) {
            Ok(decision) => self.accepted.extend(decision.operation),
            Err(_) => self.wanted = before,
        }
    }

    /// Whatever the disk does: a living run is killed within a second.
    fn kill(&mut self) {
        self.ask(Command::Kill, false);
        let (lives, mut told) = (self.tree.is_some(), self.rig.told_all());
        self.observe(&told);
        self.rig.pass(Duration::from_secs(1));
        let later = self.rig.told_all();
        self.observe(&later);
        told.extend(later);
        assert!(!lives || told.iter().any(|t| t == "kill tree"), "a kill without SIGKILL: {told:?}");
    }

    fn answer_launch(&mut self) {
        let waits = self.rig.machine.phase().live().is_some_and(|l| l.born.is_none());
        if waits && self.main {
            let born = self.rig.born();
            self.rig.run(RunFact::Launched(Ok(born)));
        }
    }

    fn main_exits(&mut self, code: i32) {
        if std::mem::take(&mut self.main) {
            self.ends += 1;
            if !self.silent {
                self.rig.main_exits(Code(code));
            }
        }
    }

    /// Nothing outlives the main process; that the tree is empty is told once more afterwards, as ever.
    fn all_ends(&mut self, code: i32) {
        if std::mem::take(&mut self.main) {
            self.ends += 1;
            if !self.silent {
                let run = self.rig.newest();
                self.tree = None;
                let exit = Exit { alone: true, ..self.rig.exit_of(run, Code(code)) };
                self.rig.run(RunFact::Exited(Box::new(exit)));
                self.rig.fact(Fact::Run(run, RunFact::TreeEmptied));
            }
        }
    }

    /// Whoever stops a run has taken the permit back, or the next run had begun before: then it goes, too, at once.
    fn goes_on(&mut self, crossing: Crossing) {
        let Some(next) = self.rig.permitted.take().filter(|_| self.main && !self.silent) else { return };
        let run = self.rig.newest();
        assert!(run < next && run >= self.newest, "a permit for {next} beside {run}");
        let exit = Exit { alone: true, next: Some(next), ..self.rig.exit_of(run, Code(1)) };
        self.ends += 1;
        (self.tree, self.last, self.rig.begun) = (Some(next), Some(next), Some(next));
        match crossing {
            Crossing::Nothing => {}
            Crossing::Stop => self.ask(Command::Stop, false),
            Crossing::Restart => self.ask(Command::Restart, true),
            Crossing::Kill => self.ask(Command::Kill, false),
            Crossing::Configure(same) => self.configure(same),
            Crossing::Die => return self.die_beside(next),
            Crossing::StopAndDie => {
                self.ask(Command::Stop, false);
                return self.die_beside(next);
            }
        }
        self.rig.fact(Fact::Run(run, RunFact::Exited(Box::new(exit))));
        self.rig.fact(Fact::Run(run, RunFact::TreeEmptied));
        let told = self.rig.told_all();
        self.observe(&told);
        assert_eq!(self.rig.begun, None, "neither launched nor killed: {told:?}");
    }

    /// The agent dies before it hears that this run has begun.
    fn die_beside(&mut self, next: RunId) {
        (self.rig.begun, self.newest) = (None, next);
        self.rig.launched.push(next);
        self.die(false);
        let ends = matches!(self.rig.machine.phase(), Phase::Stopping(_) | Phase::Clearing(_) | Phase::Recovering(_));
        assert!(ends || self.rig.disk.intent.desired == Desired::Running, "what was stopped is taken up");
    }

    /// A run that began by a permit and was not wanted any more.
    fn newborn_is_killed(&mut self, run: RunId) {
        self.ends += 1;
        (self.tree, self.main, self.newest) = (None, false, run);
        let exit = Exit { alone: true, ..self.rig.exit_of(run, Code(1)) };
        self.rig.fact(Fact::Run(run, RunFact::Exited(Box::new(exit))));
        assert!(self.rig.machine.memory().accounted >= run, "a later life would take its end for a crash");
        self.rig.fact(Fact::Run(run, RunFact::TreeEmptied));
        let told = self.rig.told_all();
        self.observe(&told);
    }

    fn tree_empties(&mut self) {
        if !self.main && !self.silent && self.tree.take().is_some() {
            self.rig.run(RunFact::TreeEmptied);
        }
    }

    fn type_stop(&mut self) {
        self.rig.run(RunFact::StopTyped);
        self.main_exits(0);
        // Only a run that was neither wanted by a restart nor already on its way down rests after this.
        self.wanted = self.rig.machine.memory().intent.desired == Desired::Running;
    }

    fn lose_keeper(&mut self, recovered: bool) {
        if self.tree.is_some() && self.main && !self.silent {
            self.silent = !recovered;
            self.ends += u64::from(!recovered);
            self.rig.run(RunFact::KeeperLost { recovered, detail: String::new() });
        }
    }

    /// Facts of a run that is not the present one, and timers that were let go.
    fn stale(&mut self, kind: usize) {
        let run = RunId(u64::MAX);
        let fact = match kind {
            0 => RunFact::Exited(Box::new(self.rig.exit_of(run, Code(1)))),
            1 => RunFact::TreeEmptied,
            2 => RunFact::Launched(Ok(self.rig.born())),
            3 => RunFact::KeeperLost { recovered: false, detail: String::new() },
            _ => RunFact::Probed(Answer::Alive { players: None }),
        };
        let before = self.rig.machine.clone();
        self.rig.fact(Fact::Run(run, fact));
        let after = &self.rig.machine;
        assert!(before.phase == after.phase && before.memory == after.memory, "a stale fact changed something");
    }

    /// The agent is killed, or the machine restarts.
    fn die(&mut self, reboot: bool) {
        if reboot {
            (self.tree, self.main, self.last) = (None, false, None);
            self.rig.boot = format!("boot-{}", self.rig.asked);
        }
        let found = match (reboot, self.main, self.last) {
            (true, ..) => Found::LostByReboot,
            (false, _, None) => Found::Nothing,
            (false, true, Some(run)) => Found::Alive(run, self.rig.born()),
            (false, false, Some(run)) => Found::Ended(Box::new(self.rig.exit_of(run, Code(1)))),
        };
        // A stop that was acknowledged is on disk; one that waits for the disk was not acknowledged.
        self.wanted = self.rig.disk.intent.desired == Desired::Running;
        let told = self.rig.told_all();
        self.observe(&told);
        // An outcome that a broken disk never took is open again.
        let rows = self.rig.disk.journal.rows();
        self.accepted.retain(|id| rows.iter().any(|o| o.id == *id));
        self.outcomes.retain(|id, _| rows.iter().any(|o| o.id == *id && o.state.is_final()));
        self.silent = false;
        self.tree = self.tree.filter(|_| self.main);
        let asked = self.rig.asked;
        self.rig = self.rig.reborn(found);
        assert!(self.rig.asked > asked);
    }

    fn check(&mut self) {
        let told = self.rig.told_all();
        self.observe(&told);
        self.check_operations();
        let memory = self.rig.machine.memory();
        assert!(memory.crash_count <= self.ends, "{} crashes of {} ends", memory.crash_count, self.ends);
        let at_rest = matches!(self.rig.machine.phase(), Phase::Idle | Phase::Error { .. });
        let unsaved = self.rig.machine.part().warnings.iter().any(|w| w.code == "state_not_saved");
        let waits = memory.journal.holder().is_some() || unsaved;
        assert!(!at_rest || waits || self.rig.next_timer().is_none(), "a timer nobody needs");
    }

    fn observe(&mut self, told: &[String]) {
        for effect in told {
            if effect.starts_with("launch") {
                self.on_launch();
            } else if let Some(run) = self.rig.begun.take_if(|_| effect == "kill tree") {
                self.newborn_is_killed(run);
            } else if effect == "kill tree" && self.silent {
                (self.tree, self.main, self.silent) = (None, false, false);
            }
        }
    }

    fn on_launch(&mut self) {
        let run = self.rig.launched.iter().copied().find(|r| *r > self.newest).unwrap();
        let begun = self.tree == Some(run);
        assert!(begun || self.tree.is_none(), "a second run beside {:?}", self.tree);
        assert!(self.wanted, "a launch that nobody wants");
        assert_eq!(self.rig.disk.intent.desired, Desired::Running, "a launch before its intent was stored");
        assert!(run <= self.rig.disk.reserved, "a run id that a later life might draw again");
        self.newest = run;
        if begun {
            return;
        }
        let failure = self.rig.mood.launches.as_ref().and_then(|l| l.as_ref().err().map(|f| f.chance));
        (self.tree, self.main, self.silent) = match failure {
            None => (Some(run), true, false),
            Some(Chance::Unknown) => (Some(run), true, true),
            Some(Chance::Later | Chance::Hopeless) => (None, false, false),
        };
        self.last = self.tree.or(self.last);
    }

    fn check_operations(&mut self) {
        let rows = self.rig.machine.memory().journal.rows();
        assert!(rows.iter().skip(1).all(|o| o.state.is_final()), "two holders of one lock");
        for o in rows.iter().filter(|o| o.state.is_final()) {
            let first = *self.outcomes.entry(o.id.clone()).or_insert(o.state);
            assert_eq!(first, o.state, "two outcomes of {}", o.id);
        }
    }

    /// With a friendly world and enough time every accepted operation has an outcome.
    fn come_to_rest(mut self) {
        self.rig.mood = Mood::kind();
        self.rig.pass(Duration::from_secs(7200));
        self.check_operations();
        for id in &self.accepted {
            assert!(self.outcomes.contains_key(id), "{id} has no outcome");
        }
    }
}

fn moods() -> [Mood; 8] {
    let failure = |chance| Some(Err(LaunchFailure { reason: "no".into(), chance }));
    let kind = Mood::kind;
    [
        kind(),
        kind(),
        Mood { saves: Some(Err("disk full".into())), ..kind() },
        Mood { saves: None, ..kind() },
        Mood { prepares: None, ports: Some(Err("taken".into())), ..kind() },
        Mood { launches: None, ..kind() },
        Mood { launches: failure(Chance::Later), ..kind() },
        Mood { launches: failure(Chance::Unknown), ..kind() },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn no_life_breaks_a_promise(immediate in any::<bool>(), acts in prop::collection::vec(act(), 1..60)) {
        let mut life = Life::new(immediate);
        for act in acts {
            life.act(act);
        }
        life.come_to_rest();
    }
}
