//! Whole lives of a machine, told as scenarios.
mod golden;
mod properties;
mod rig;

use super::{
    command::{Command, Leaving},
    fact::{Chance, Found, LaunchFailure, RunFact},
    memory::Desired,
    phase::Phase,
};
use crate::model::{
    crash::Retry,
    exit::{
        Exit,
        ExitStatus::{self, Code},
    },
    ids::RunId,
    operation::{Operation, OperationKind, OperationState},
    phase::State,
    refusal::Refusal,
    settings::{Hang, Restart, Settings},
    workload::{Readiness, ReadyProbe, WorkloadSpec},
};
use rig::{Rig, S, settings, spec};
use std::time::Duration;

fn outcomes(rig: &Rig) -> Vec<(OperationKind, OperationState)> {
    rig.machine.memory().journal.rows().iter().rev().map(|o| (o.kind, o.state)).collect()
}

fn last_operation(rig: &Rig) -> Operation {
    rig.machine.memory().journal.rows()[0].clone()
}

fn error(rig: &Rig) -> String {
    rig.machine.part().error.unwrap_or_default()
}

fn crashes(rig: &Rig) -> u64 {
    rig.machine.memory().crash_count
}

#[test]
fn a_start_saves_prepares_waits_launches_and_proves() {
    let mut rig = Rig::idle();
    let decision = rig.start();
    assert!(decision.durable.is_some(), "acknowledged only once stored");
    assert_eq!(rig.told(), ["prepare", "await ports", "launch run-1"]);
    assert_eq!(rig.disk.intent.desired, Desired::Running);
    assert!(rig.disk.reserved >= rig.newest(), "the run id is reserved before its use");
    assert_eq!((rig.phase(), rig.machine.state()), ("Starting", State::Starting));
    rig.dead();
    rig.pass(Duration::from_millis(250));
    rig.alive();
    assert_eq!((rig.phase(), rig.machine.state()), ("Ready", State::Running));
    assert_eq!(outcomes(&rig), [(OperationKind::Start, OperationState::Done)]);
    assert_eq!(rig.start().operation, None, "start while running has no effect");
}

#[test]
fn the_intent_is_on_disk_before_anything_is_sent() {
    let mut rig = Rig::ready();
    rig.mood.saves = None;
    rig.stop();
    assert_eq!(rig.told(), [""; 0]);
    assert_eq!(rig.phase(), "Stopping");
    rig.pass(S(2));
    assert_eq!(rig.told(), ["type \"stop\""], "but a dead disk holds up no stop");
    let mut rig = Rig::ready();
    rig.mood.saves = None;
    rig.kill();
    assert_eq!(rig.told(), [""; 0]);
    rig.pass(Duration::from_millis(250));
    assert_eq!(rig.told(), ["kill tree"]);
    let mut rig = Rig::idle();
    rig.mood.saves = Some(Err("disk full".into()));
    rig.start();
    assert_eq!((rig.phase(), rig.launched.len()), ("Error", 0));
    assert!(error(&rig).contains("disk full"), "{}", error(&rig));
}

#[test]
fn a_full_disk_stops_no_restart_and_is_tried_again() {
    let mut rig = Rig::ready();
    rig.mood.saves = Some(Err("disk full".into()));
    rig.exit(Code(1));
    rig.classify("exit.nonzero", Retry::Ladder);
    rig.pass(S(30));
    assert_eq!((rig.phase(), rig.launched.len()), ("Starting", 2), "{}", error(&rig));
    let unsaved = |rig: &Rig| rig.machine.part().warnings.iter().any(|w| w.code == "state_not_saved");
    assert!(unsaved(&rig) && rig.disk.crash_count == 0);
    rig.mood.saves = Some(Ok(()));
    rig.told_all();
    rig.pass(S(5));
    assert!(rig.told_all().contains(&"save crash+save".to_owned()), "what was refused is offered again");
    assert!(!unsaved(&rig) && rig.disk.crash_count == 1);
}

#[test]
fn the_ladder_ends_with_sigkill_inside_the_grace() {
    let mut rig = Rig::ready();
    rig.stop();
    assert_eq!(rig.told(), ["type \"stop\""]);
    rig.pass(S(20));
    assert_eq!(rig.told(), ["signal 15 leader"]);
    rig.pass(S(10));
    assert_eq!(rig.told(), ["kill tree"]);
    rig.exit(ExitStatus::Signal { signal: 9, core_dumped: false });
    assert_eq!((rig.phase(), crashes(&rig)), ("Idle", 0));
    assert_eq!(outcomes(&rig).last(), Some(&(OperationKind::Stop, OperationState::Done)));
    assert_eq!(rig.next_timer(), None, "nothing is left ticking");
}

#[test]
fn a_stop_is_over_when_tree_and_ports_are() {
    let mut rig = Rig::ready();
    rig.mood.ports = None;
    rig.stop();
    rig.main_exits(Code(0));
    assert_eq!(rig.machine.state(), State::Stopping, "descendants may still write");
    rig.pass(S(2));
    assert_eq!(rig.told().last().unwrap(), "kill tree", "leftovers do not stay");
    rig.run(RunFact::TreeEmptied);
    assert_eq!(rig.told(), ["await ports"]);
    assert_eq!(last_operation(&rig).state, OperationState::Running);
}

#[test]
fn a_second_stop_joins_the_first_and_a_stop_supersedes_a_start() {
    let mut rig = Rig::starting();
    let first = rig.stop().operation;
    assert_eq!(rig.stop().operation, first);
    rig.exit(Code(143));
    assert_eq!(
        outcomes(&rig),
        [(OperationKind::Start, OperationState::Superseded), (OperationKind::Stop, OperationState::Done)]
    );
    assert_eq!(rig.stop().operation, None, "stop while stopped has no effect");
}

#[test]
fn a_stop_before_the_launch_leaves_nothing_behind() {
    let mut rig = Rig::idle();
    rig.mood.prepares = None;
    rig.start();
    rig.stop();
    assert_eq!((rig.phase(), rig.launched.len()), ("Idle", 0));
    assert_eq!(rig.next_timer(), None);
    let mut rig = Rig::idle();
    rig.mood.launches = None;
    rig.start();
    rig.kill();
    assert_eq!(rig.phase(), "Stopping");
    rig.told();
    let born = rig.born();
    rig.run(RunFact::Launched(Ok(born)));
    assert_eq!(rig.told(), ["kill tree"], "a process that appears late is killed as well");
}

#[test]
fn a_restart_waits_for_tree_and_ports() {
    let mut rig = Rig::ready();
    rig.restart();
    rig.told();
    rig.main_exits(Code(0));
    assert_eq!((rig.told(), crashes(&rig)), (vec![], 0));
    rig.mood.ports = None;
    rig.run(RunFact::TreeEmptied);
    assert_eq!(rig.told(), ["prepare", "await ports"]);
    assert_eq!(rig.launched.len(), 1);
}

#[test]
fn ports_that_stay_taken_are_an_error_with_their_name() {
    let mut rig = Rig::idle();
    rig.mood.ports = Some(Err("port 25565 is in use by pid 7 (java)".into()));
    rig.start();
    assert_eq!(error(&rig), "not started: port 25565 is in use by pid 7 (java)");
    assert_eq!(last_operation(&rig).state, OperationState::Failed);
}

#[test]
fn thirty_sixty_onehundredtwenty_then_error() {
    let mut rig = Rig::idle();
    rig.start();
    let mut waits = Vec::new();
    while rig.phase() != "Error" {
        rig.pass(S(1));
        rig.exit(Code(1));
        if let Phase::Backoff { due, .. } = rig.machine.phase() {
            waits.push(due.since(rig.now.boot).as_secs());
            assert_eq!(rig.machine.state(), State::Crashed);
            rig.pass(rig.next_timer().unwrap());
        }
    }
    assert_eq!((waits, crashes(&rig)), (vec![30, 60, 120], 4));
    assert!(error(&rig).contains("4 crashes in a row"), "{}", error(&rig));
    assert_eq!(rig.next_timer(), None);
    rig.start();
    assert_eq!((rig.phase(), error(&rig)), ("Starting", String::new()), "a person's start clears it");
    assert_eq!(rig.machine.memory().restart.streak, 0);
}

#[test]
fn without_delay_the_next_launch_goes_out_in_the_same_turn() {
    let base = settings();
    let restart = Restart { backoff: vec![Duration::ZERO; 99], max_crashes_before_ready: 99, ..base.restart.clone() };
    let mut rig = Rig::idle_with(Settings { restart, ..base });
    rig.start();
    rig.mood.saves = None;
    for n in 2..9 {
        rig.told();
        rig.main_exits(Code(1));
        let turn = rig.machine.on_fact(rig.now, super::Fact::Run(rig.newest(), RunFact::TreeEmptied));
        let launch = turn.iter().find_map(|e| match e {
            super::Effect::Launch(run, spec) => Some((*run, spec.clone())),
            _ => None,
        });
        let (run, _) = launch.unwrap();
        assert_eq!(run.0, n);
        rig.launched.push(run);
        let born = rig.born();
        rig.run(RunFact::Launched(Ok(born)));
    }
}

#[test]
fn when_nothing_outlived_the_run_the_launch_is_the_first_effect_of_its_end() {
    let base = settings();
    let restart = Restart { backoff: vec![Duration::ZERO; 99], ..base.restart.clone() };
    let mut rig = Rig::idle_with(Settings { restart, ..base });
    rig.start();
    rig.run(RunFact::Launched(Ok(rig.born())));
    let ends = |rig: &mut Rig| {
        let exit = Exit { alone: true, ..rig.exit_of(rig.newest(), Code(1)) };
        rig.machine.on_fact(rig.now, super::Fact::Run(exit.run, RunFact::Exited(Box::new(exit))))
    };
    let turn = ends(&mut rig);
    assert!(matches!(turn[..2], [super::Effect::Launch(RunId(2), _), super::Effect::Save(..)]), "{turn:?}");
    rig.launched.push(RunId(2));
    rig.run(RunFact::Launched(Ok(rig.born())));
    // What the disk does not know yet is not launched ahead of it.
    rig.configure(WorkloadSpec { argv: vec!["/bin/other".into()], ..spec() });
    let turn = ends(&mut rig);
    assert!(matches!(turn[0], super::Effect::Save(..)), "{turn:?}");
    assert!(!turn.iter().any(|effect| matches!(effect, super::Effect::Launch(..))), "{turn:?}");
}

#[test]
fn only_where_the_next_crash_is_certain_to_be_answered_at_once_may_the_keeper_do_so() {
    let with = |backoff: Vec<Duration>, per_hour: u32| {
        let base = settings();
        let restart = Restart { backoff, max_crashes_per_hour: per_hour, ..base.restart.clone() };
        let mut rig = Rig::idle_with(Settings { restart, ..base });
        rig.start();
        assert_eq!(rig.permitted, None, "it could crash before it is ready");
        rig.alive();
        rig
    };
    let zero = Duration::ZERO;
    assert_eq!(with(vec![S(30); 3], 10).permitted, None);
    assert_eq!(with(vec![zero, S(30)], 10).permitted, Some(RunId(2)));
    assert_eq!(with(vec![zero; 3], 0).permitted, None, "the first crash is one too many");
    // One that has not been ready for long comes to the second rung.
    let mut rig = with(vec![zero, S(30)], 10);
    rig.exit(Code(1));
    rig.alive();
    assert_eq!((rig.newest(), rig.phase(), rig.permitted), (RunId(2), "Ready", None));

    // It is taken back before anything is stored or done that says otherwise.
    type Ask = fn(&mut Rig);
    let asked: [Ask; 5] = [
        |rig| _ = rig.stop(),
        |rig| _ = rig.kill(),
        |rig| _ = rig.restart(),
        |rig| rig.shut_down(Leaving::Leave),
        |rig| _ = rig.configure(WorkloadSpec { argv: vec!["/bin/other".into()], ..spec() }),
    ];
    for ask in asked {
        let mut rig = with(vec![zero; 3], 10);
        rig.told_all();
        ask(&mut rig);
        assert_eq!(rig.told_all()[0], "permit none");
    }
}

#[test]
fn a_short_wait_is_followed_by_the_launch_and_a_long_one_by_another_look() {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    for (wait, looks) in [(MS(100), false), (S(2), false), (MS(2001), true), (S(30), true)] {
        let base = settings();
        let restart = Restart { backoff: vec![wait; 3], ..base.restart.clone() };
        let mut rig = Rig::idle_with(Settings { restart, ..base });
        rig.start();
        rig.exit(Code(1));
        rig.told();
        rig.pass(wait);
        let told = rig.told();
        assert_eq!(told.iter().any(|effect| effect == "prepare"), looks, "{wait:?}: {told:?}");
        assert_eq!((rig.newest(), rig.phase()), (RunId(2), "Starting"), "{wait:?}");
    }
    // A crash that the disk does not know yet could be forgotten.
    let base = settings();
    let restart = Restart { backoff: vec![MS(100); 3], ..base.restart.clone() };
    let mut rig = Rig::idle_with(Settings { restart, ..base });
    rig.start();
    rig.mood.saves = None;
    rig.exit(Code(1));
    rig.pass(MS(100));
    assert_eq!((rig.newest(), rig.phase()), (RunId(1), "Preparing"));
}

#[test]
fn a_verdict_may_forbid_the_restart_but_not_touch_a_run_that_started() {
    let mut rig = Rig::starting();
    rig.exit(Code(1));
    assert_eq!(rig.phase(), "Backoff");
    rig.classify("java.too_old", Retry::Never);
    assert_eq!(error(&rig), "java.too_old happened. Do this.");
    assert_eq!(rig.machine.part().crashes[0].decision, "gave up: trying again cannot help (java.too_old)");
    assert_eq!(rig.next_timer(), None);

    let mut rig = Rig::starting();
    rig.exit(Code(1));
    rig.pass(S(30));
    rig.classify("java.too_old", Retry::Never);
    assert_eq!(rig.phase(), "Starting");
    assert_eq!(rig.machine.part().crashes[0].decision, "restart 1 in 30 s");
}

#[test]
fn a_verdict_of_one_retry_ends_it_the_second_time() {
    let mut rig = Rig::starting();
    for want in ["Backoff", "Error"] {
        rig.exit(Code(1));
        rig.classify("env.disk_full", Retry::Once);
        assert_eq!(rig.phase(), want);
        rig.pass(S(200));
    }
}

#[test]
fn a_failure_decided_earlier_gets_the_engines_words() {
    let base = settings();
    let mut rig = Rig::idle_with(Settings { restart: Restart { backoff: vec![], ..base.restart.clone() }, ..base });
    rig.start();
    rig.exit(Code(1));
    assert_eq!(error(&rig), "gave up: 1 crashes in a row; the last one: exit code 1 after 0 s");
    rig.classify("jvm.heap", Retry::Ladder);
    assert_eq!(error(&rig), "gave up: 1 crashes in a row: jvm.heap happened. Do this.");
}

#[test]
fn exit_zero_is_clean_only_after_the_stop_command_was_typed() {
    let mut rig = Rig::ready();
    rig.exit(Code(0));
    assert_eq!((rig.phase(), crashes(&rig)), ("Backoff", 1));
    let mut rig = Rig::ready();
    rig.run(RunFact::StopTyped);
    rig.exit(Code(0));
    assert_eq!((rig.phase(), crashes(&rig)), ("Idle", 0));
    assert_eq!(rig.disk.intent.desired, Desired::Stopped, "no autostart brings it back");
    let mut rig = Rig::ready();
    rig.run(RunFact::StopTyped);
    rig.exit(Code(1));
    assert_eq!((rig.phase(), crashes(&rig)), ("Backoff", 1), "it broke while stopping by itself");
}

#[test]
fn a_stop_during_backoff_cancels_the_restart_and_stays() {
    for kill in [false, true] {
        let mut rig = Rig::starting();
        rig.exit(Code(1));
        if kill {
            rig.kill()
        } else {
            rig.stop()
        };
        assert_eq!((rig.phase(), rig.next_timer()), ("Idle", None));
        rig.pass(S(3600));
        assert_eq!(rig.launched.len(), 1);
        assert_eq!(rig.disk.restart.due, None);
    }
}

#[test]
fn a_start_deadline_stops_it_and_says_what_the_probe_heard() {
    let mut rig = Rig::starting();
    rig.dead();
    rig.pass(S(60));
    assert_eq!(rig.told().last().unwrap(), "type \"stop\"");
    assert_eq!(last_operation(&rig).error.as_deref(), Some("not ready within 60 s: connection refused"));
    rig.exit(Code(0));
    assert_eq!((error(&rig).as_str(), crashes(&rig)), ("not ready within 60 s: connection refused", 0));
}

#[test]
fn no_probe_means_ready_as_soon_as_it_is_up() {
    let mut rig = Rig::idle();
    rig.configure(WorkloadSpec { ready: Readiness { probe: ReadyProbe::None, within: S(60) }, ..spec() });
    assert_eq!((rig.phase(), rig.next_timer()), ("Ready", None));
}

#[test]
fn a_hang_is_warned_of_dumped_and_only_on_demand_restarted() {
    for restart in [false, true] {
        let base = settings();
        let mut rig = Rig::idle_with(Settings { hang: Hang { restart, ..base.hang.clone() }, ..base });
        rig.start();
        rig.alive();
        rig.told();
        for _ in 0..13 {
            rig.dead();
            rig.pass(S(10));
        }
        assert_eq!(rig.told(), ["signal 3 leader"]);
        assert!(rig.machine.part().warnings.iter().any(|w| w.code == "hang"));
        assert!(!rig.machine.part().ready);
        rig.dead();
        assert_eq!(rig.phase(), if restart { "Stopping" } else { "Ready" });
        if restart {
            rig.exit(Code(0));
            assert_eq!((rig.phase(), crashes(&rig)), ("Backoff", 1));
            assert!(rig.classified[0].hung);
        }
    }
}

#[test]
fn what_never_started_is_no_crash() {
    let fails = |chance| {
        let mut rig = Rig::idle();
        rig.mood.launches = Some(Err(LaunchFailure { reason: "could not execute the program".into(), chance }));
        rig.start();
        (rig.phase(), crashes(&rig), error(&rig))
    };
    assert_eq!(fails(Chance::Hopeless), ("Error", 0, "could not execute the program".into()));
    assert_eq!(fails(Chance::Later), ("Backoff", 0, String::new()));
    assert_eq!(fails(Chance::Unknown), ("Clearing", 0, String::new()));
}

#[test]
fn an_unanswered_launch_is_cleared_before_the_next() {
    let mut rig = Rig::idle();
    rig.mood.launches = Some(Err(LaunchFailure { reason: "no answer".into(), chance: Chance::Unknown }));
    rig.start();
    rig.mood.launches = None;
    rig.told();
    rig.pass(S(2));
    assert_eq!(rig.told(), ["kill tree"]);
    rig.pass(S(40));
    assert_eq!(rig.told(), ["prepare", "await ports", "launch run-2"]);
}

#[test]
fn a_tree_that_survives_sigkill_forbids_a_second_run() {
    let mut rig = Rig::ready();
    rig.main_exits(Code(1));
    rig.pass(S(60));
    assert_eq!(rig.phase(), "Error");
    rig.told();
    rig.start();
    assert_eq!((rig.phase(), rig.launched.len(), rig.told()), ("Clearing", 1, vec!["kill tree".into()]));
    rig.run(RunFact::TreeEmptied);
    assert_eq!((rig.phase(), rig.launched.len()), ("Starting", 2));
}

#[test]
fn a_lost_keeper_is_a_warning_or_a_crash() {
    let mut rig = Rig::ready();
    rig.run(RunFact::KeeperLost { recovered: true, detail: "killed".into() });
    assert_eq!(rig.phase(), "Ready");
    assert!(rig.machine.part().warnings.iter().any(|w| w.code == "keeper_lost"));
    rig.run(RunFact::KeeperLost { recovered: false, detail: "killed".into() });
    assert_eq!(rig.told(), [""; 0], "it may be saving its world");
    let mut unreported = rig.clone();
    rig.exit(Code(129));
    assert_eq!((rig.phase(), crashes(&rig)), ("Backoff", 1));
    assert_eq!(rig.classified[0].exit.status, Code(129));
    unreported.pass(S(25));
    assert_eq!(unreported.told(), ["kill tree", "classify restart 1 in 30 s"]);
    unreported.pass(S(40));
    assert_eq!((unreported.launched.len(), crashes(&unreported)), (2, 1));
}

#[test]
fn config_installs_verifies_or_waits_for_the_next_start() {
    let mut rig = Rig::idle();
    rig.mood.prepares = None;
    assert_eq!(rig.configure(spec()).state, State::Installing);
    assert_eq!(rig.machine.state(), State::Installing);
    let by = rig.by();
    let busy = rig.command(Command::Stop(by)).unwrap_err();
    assert!(matches!(busy, Refusal::OperationInProgress { kind: OperationKind::Config, .. }));

    let mut rig = Rig::ready();
    rig.configure(spec());
    assert_eq!(rig.told(), ["prepare"]);
    assert_eq!((rig.phase(), last_operation(&rig).state), ("Ready", OperationState::Done));
    let other = WorkloadSpec { argv: vec!["/bin/other".into()], ..spec() };
    rig.configure(other.clone());
    assert_eq!((rig.phase(), last_operation(&rig).state), ("Ready", OperationState::Done));
    assert!(rig.machine.part().warnings.iter().any(|w| w.code == "config_pending"));
    rig.restart();
    rig.exit(Code(0));
    assert_eq!(rig.machine.phase().live().unwrap().spec.argv, other.argv);
    assert!(rig.machine.part().warnings.is_empty());
}

#[test]
fn a_stop_supersedes_a_config_that_already_starts() {
    let mut rig = Rig::idle();
    rig.configure(spec());
    assert_eq!(rig.phase(), "Starting");
    rig.stop();
    assert_eq!(outcomes(&rig)[0], (OperationKind::Config, OperationState::Superseded));
}

#[test]
fn shutdown_leaves_or_stops_and_never_forgets_what_is_wanted() {
    let mut rig = Rig::ready();
    rig.shut_down(Leaving::Leave);
    assert_eq!(rig.told(), ["finish"]);
    assert_eq!(rig.disk.intent.desired, Desired::Running);
    let by = rig.by();
    assert_eq!(rig.command(Command::Start(by)), Err(Refusal::ShuttingDown));

    rig.kill();
    assert_eq!(rig.told(), ["kill tree"]);
    assert_eq!(rig.disk.intent.desired, Desired::Stopped);

    let mut rig = Rig::ready();
    rig.shut_down(Leaving::Stop);
    assert_eq!(rig.told(), ["type \"stop\""]);
    rig.exit(Code(0));
    assert_eq!((rig.told(), crashes(&rig)), (vec!["finish".into()], 0));
    assert_eq!(rig.disk.intent.desired, Desired::Running, "the next boot starts it again");
    rig.boot = "boot-2".into();
    assert_eq!(rig.reborn(Found::LostByReboot).phase(), "Starting");
}

fn alive(rig: &Rig) -> Found {
    Found::Alive(rig.newest(), rig.born())
}

fn ended(rig: &Rig, code: i32) -> Found {
    Found::Ended(Box::new(rig.exit_of(rig.newest(), Code(code))))
}

#[test]
fn the_next_life_takes_up_what_it_finds() {
    let ready = Rig::ready();
    assert_eq!(ready.reborn(alive(&ready)).phase(), "Ready");
    let starting = Rig::starting();
    let mut next = starting.reborn(alive(&starting));
    assert_eq!(next.phase(), "Starting");
    next.alive();
    assert_eq!(outcomes(&next), [(OperationKind::Start, OperationState::Done)], "the operation goes on");
    let next = starting.reborn(ended(&starting, 1));
    assert_eq!((next.phase(), crashes(&next)), ("Backoff", 1));
    assert_eq!(outcomes(&next), [(OperationKind::Start, OperationState::Failed)]);
    assert_eq!(next.reborn(ended(&starting, 1)).machine.memory().crash_count, 1, "counted once");
}

#[test]
fn the_next_life_goes_on_with_a_stop_at_its_rung() {
    let mut rig = Rig::ready();
    rig.stop();
    rig.pass(S(5));
    assert_eq!(rig.reborn(alive(&rig)).told(), ["recall", "discover", "type \"stop\""]);
    rig.pass(S(20));
    let mut next = rig.reborn(alive(&rig));
    assert_eq!(next.told(), ["recall", "discover", "signal 15 leader"]);
    next.exit(Code(143));
    assert_eq!(outcomes(&next).last(), Some(&(OperationKind::Stop, OperationState::Done)));
    let next = rig.reborn(ended(&rig, 1));
    assert_eq!((next.phase(), crashes(&next), next.launched.len()), ("Idle", 0, 1));
    assert_eq!(outcomes(&next).last(), Some(&(OperationKind::Stop, OperationState::Done)));
}

#[test]
fn the_next_life_finishes_a_restart() {
    let mut rig = Rig::ready();
    rig.restart();
    let mut next = rig.reborn(alive(&rig));
    assert_eq!(next.phase(), "Stopping");
    next.exit(Code(0));
    assert_eq!((next.phase(), next.launched.len(), crashes(&next)), ("Starting", 2, 0));
    assert!(next.launched[1] > next.launched[0], "run ids never repeat across lives");
    next.alive();
    assert_eq!(outcomes(&next).last(), Some(&(OperationKind::Restart, OperationState::Done)));
    let next = rig.reborn(ended(&rig, 0));
    assert_eq!((next.phase(), crashes(&next)), ("Starting", 0));
}

#[test]
fn the_next_life_waits_only_for_the_rest() {
    let mut rig = Rig::starting();
    rig.exit(Code(1));
    rig.pass(S(12));
    let next = rig.reborn(ended(&rig, 1));
    assert_eq!((next.phase(), next.next_timer()), ("Backoff", Some(S(18))));
    rig.boot = "boot-2".into();
    let next = rig.reborn(Found::LostByReboot);
    assert_eq!((next.phase(), next.machine.memory().restart.streak), ("Starting", 0), "another boot: at once");
}

#[test]
fn the_next_life_keeps_an_error_until_reboot() {
    let mut rig = Rig::starting();
    rig.exit(Code(1));
    rig.classify("java.too_old", Retry::Never);
    let next = rig.reborn(ended(&rig, 1));
    assert_eq!((next.phase(), error(&next).as_str()), ("Error", "java.too_old happened. Do this."));
    rig.boot = "boot-2".into();
    assert_eq!(rig.reborn(Found::LostByReboot).phase(), "Starting");
}

#[test]
fn autostart_is_a_setting_and_an_operation() {
    for (autostart, want) in [(true, "Starting"), (false, "Idle")] {
        let mut base = settings();
        base.game.autostart = autostart;
        let mut rig = Rig::idle_with(base);
        rig.start();
        rig.alive();
        rig.boot = "boot-2".into();
        let next = rig.reborn(Found::LostByReboot);
        assert_eq!(next.phase(), want);
        if autostart {
            assert_eq!(last_operation(&next).holder, "autostart");
        }
    }
    let stopped = Rig::idle().reborn(Found::Nothing);
    assert_eq!((stopped.phase(), stopped.launched.len()), ("Idle", 0));
}

#[test]
fn a_kill_while_recovering_reaches_what_is_found() {
    let ready = Rig::ready();
    let mut next = ready.successor();
    next.kill();
    next.found = alive(&ready);
    next.awaken();
    assert_eq!(next.told(), ["recall", "discover", "kill tree"]);
    next.exit(ExitStatus::Signal { signal: 9, core_dumped: false });
    assert_eq!((next.phase(), crashes(&next)), ("Idle", 0));
}

#[test]
fn an_end_that_is_reported_before_discovery_is_not_lost() {
    let ready = Rig::ready();
    let mut next = ready.successor();
    next.exit(Code(1));
    next.found = alive(&ready);
    next.awaken();
    assert_eq!((next.phase(), crashes(&next)), ("Backoff", 1));
}

#[test]
fn an_operation_past_its_deadline_fails_and_frees_the_lock() {
    let mut rig = Rig::idle();
    rig.mood.launches = None;
    rig.start();
    rig.pass(S(3600));
    let o = last_operation(&rig);
    assert_eq!(
        (o.state, o.error.unwrap().as_str()),
        (OperationState::Failed, "not finished by its deadline; last step: launching")
    );
}
