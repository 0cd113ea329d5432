//! Lives of a set-up: what goes well, what fails, what is killed in between.
use super::*;
use crate::model::time::{BootTime, WallTime};
use plan::Step;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

fn now() -> Moment {
    Moment { boot: BootTime(Duration::from_secs(5)), wall: WallTime(5_000), chance: 0.0 }
}

fn resolved() -> Arc<Resolved> {
    let body = json!({"vmid": 1, "runtime": "node", "version": "22", "container_type": "dev"});
    let config = read(&body, &Settings::default()).unwrap();
    Arc::new(Resolved { config, shown: body.clone(), body, warnings: Vec::new() })
}

fn by(n: u32) -> By {
    By { id: OperationId(format!("op-{n}")), holder: "api".into() }
}

fn recalled(memory: Memory) -> Fact {
    let config = memory.config.as_ref().map(|_| Ok(resolved()));
    Fact::Recalled(Ok(Box::new(Recollection { memory, config })))
}

/// Awake, with this saved.
fn machine(memory: Memory) -> (Machine, Vec<Effect>) {
    let mut m = Machine::new(Arc::new(Settings::default()));
    assert_eq!(m.awaken(), [Effect::Recall]);
    let effects = m.on_fact(now(), recalled(memory));
    (m, effects)
}

/// The step that is to be done now.
fn work(effects: &[Effect]) -> Option<(Ticket, Step)> {
    effects.iter().find_map(|e| if let Effect::Perform(t, step, _) = e { Some((*t, *step)) } else { None })
}

fn saved(effects: &[Effect]) -> Memory {
    let saved = effects.iter().rev().find_map(|e| if let Effect::Save(_, m) = e { Some((**m).clone()) } else { None });
    saved.unwrap_or_else(|| panic!("nothing saved by {effects:?}"))
}

fn overdue(effects: &[Effect]) -> Ticket {
    effects.iter().find_map(|e| if let Effect::Arm(t, _) = e { Some(*t) } else { None }).unwrap()
}

/// Does every step until none is left; the last effects.
fn walk(m: &mut Machine, mut effects: Vec<Effect>) -> (Vec<Step>, Vec<Effect>) {
    let mut done = Vec::new();
    while let Some((ticket, step)) = work(&effects) {
        done.push(step);
        effects = m.on_fact(now(), Fact::Done(ticket, Ok(())));
    }
    (done, effects)
}

#[test]
fn a_bare_container_becomes_a_dev_container() {
    let (mut m, _) = machine(Memory::default());
    assert_eq!((m.state(), m.part("/w").configured), (State::Idle, false));
    let decision = m.configure(now(), resolved(), by(1)).unwrap();
    assert_eq!(
        (m.state(), m.part("/w").install_step.as_str()),
        (State::Installing, "stopping what is no longer wanted")
    );
    assert!(saved(&decision.effects).journal.holder().is_some(), "stored before it is acknowledged");
    let (done, last) = walk(&mut m, decision.effects);
    assert_eq!(done, plan::steps(&resolved().config));
    let part = m.part("/w");
    assert!(part.provisioned && part.runtime_installed && part.operation.is_none());
    assert_eq!(
        (part.state, part.ready_at, part.workspace.as_deref()),
        (State::Running, Some(WallTime(5_000)), Some("/w"))
    );
    let memory = saved(&last);
    assert!(memory.provisioned && memory.journal.holder().is_none());
}

#[test]
fn one_at_a_time_and_the_second_learns_who_is_first() {
    let (mut m, _) = machine(Memory::default());
    m.configure(now(), resolved(), by(1)).unwrap();
    let refused = m.configure(now(), resolved(), by(2)).unwrap_err();
    assert!(matches!(refused, Refusal::OperationInProgress { holder, .. } if holder.0 == "op-1"));
    let mut early = Machine::new(Arc::new(Settings::default()));
    assert_eq!(early.configure(now(), resolved(), by(1)).unwrap_err(), Refusal::Recovering);
}

#[test]
fn a_step_that_fails_says_which_and_why_and_can_be_tried_again() {
    let (mut m, _) = machine(Memory::default());
    let effects = m.configure(now(), resolved(), by(1)).unwrap().effects;
    let (withdrawn, _) = work(&effects).unwrap();
    let effects = m.on_fact(now(), Fact::Done(withdrawn, Ok(())));
    let (account, _) = work(&effects).unwrap();
    let effects = m.on_fact(now(), Fact::Done(account, Ok(())));
    let (workspace, _) = work(&effects).unwrap();
    m.on_fact(now(), Fact::Progressed { ticket: account, text: "late".into(), progress: None });
    assert_eq!(m.part("").install_step, "preparing the workspace", "an old step's words count no more");
    let effects = m.on_fact(now(), Fact::Done(workspace, Err("disk full".into())));
    let why = "preparing the workspace: disk full";
    assert_eq!(saved(&effects).failure.as_deref(), Some(why));
    let part = m.part("");
    assert_eq!((part.state, part.failure.as_deref()), (State::Error, Some(why)));
    assert_eq!(part.operations[0].error.as_deref(), Some(why));
    assert!(m.on_fact(now(), Fact::Done(workspace, Ok(()))).is_empty(), "told twice");
    let effects = m.configure(now(), resolved(), by(2)).unwrap().effects;
    walk(&mut m, effects);
    assert_eq!((m.state(), m.part("").failure), (State::Running, None));
}

#[test]
fn out_of_time_is_an_outcome() {
    let (mut m, _) = machine(Memory::default());
    let effects = m.configure(now(), resolved(), by(1)).unwrap().effects;
    let (deadline, (step, _)) = (overdue(&effects), work(&effects).unwrap());
    assert!(m.awaits(deadline));
    let effects = m.on_fact(now(), Fact::Overdue(deadline));
    assert_eq!(effects[0], Effect::Abandon);
    assert!(saved(&effects).failure.unwrap().contains("dev.provision_within, 1800 s"));
    assert!(!m.awaits(deadline) && m.on_fact(now(), Fact::Done(step, Ok(()))).is_empty());
}

#[test]
fn what_cannot_be_stored_is_not_begun() {
    let (mut m, _) = machine(Memory::default());
    let decision = m.configure(now(), resolved(), by(1)).unwrap();
    let effects = m.on_fact(now(), Fact::Stored(decision.durable, Err("read-only".into())));
    assert_eq!((effects.first(), m.state()), (Some(&Effect::Abandon), State::Error));
    assert!(m.part("").failure.unwrap().contains("read-only"));
    // A lost outcome is no failure of the set-up, but somebody should know.
    let (mut m, _) = machine(Memory::default());
    let effects = m.configure(now(), resolved(), by(1)).unwrap().effects;
    let (_, last) = walk(&mut m, effects);
    let Some(Effect::Save(ticket, _)) = last.first() else { panic!("{last:?}") };
    m.on_fact(now(), Fact::Stored(*ticket, Err("full".into())));
    assert_eq!((m.state(), m.part("").warnings[0].code.as_str()), (State::Running, "state_not_saved"));
}

#[test]
fn what_was_saved_decides_where_it_goes_on() {
    let config = Some(resolved().body.clone());
    let (m, effects) = machine(Memory { config: config.clone(), provisioned: true, ..Memory::default() });
    assert_eq!((m.state(), effects), (State::Running, vec![Effect::Refresh]));
    assert_eq!(m.on_runtimes_changed(), [Effect::Refresh]);
    let failed = Memory { config: config.clone(), failure: Some("x".into()), ..Memory::default() };
    let (m, effects) = machine(failed);
    assert_eq!((m.state(), effects, m.on_runtimes_changed()), (State::Error, Vec::new(), Vec::new()));
    let mut broken = Machine::new(Arc::new(Settings::default()));
    broken.on_fact(now(), Fact::Recalled(Err("dev.json is damaged".into())));
    assert_eq!((broken.state(), broken.part("").failure.as_deref()), (State::Error, Some("dev.json is damaged")));
    assert!(broken.configure(now(), resolved(), by(1)).is_ok(), "and a new configuration sets it right");
}

proptest! {
    /// Killed after any number of steps, any number of times: the next life walks the plan to its end, in order, under
    /// the operation that was accepted, which ends once.
    #[test]
    fn killed_at_any_step_the_next_life_finishes(kills in prop::collection::vec(0..6usize, 0..5)) {
        let (mut m, _) = machine(Memory::default());
        let mut effects = m.configure(now(), resolved(), by(1)).unwrap().effects;
        let disk = saved(&effects);
        for steps in kills {
            for _ in 0..steps {
                if let Some((ticket, _)) = work(&effects).filter(|(_, step)| *step != Step::SmokeTest) {
                    effects = m.on_fact(now(), Fact::Done(ticket, Ok(())));
                }
            }
            prop_assert_eq!(m.state(), State::Installing);
            (m, effects) = machine(disk.clone());
        }
        let (done, last) = walk(&mut m, effects);
        prop_assert_eq!(done, plan::steps(&resolved().config));
        let memory = saved(&last);
        let rows = memory.journal.rows();
        prop_assert_eq!((rows.len(), rows[0].id.0.as_str(), rows[0].error.is_none()), (1, "op-1", true));
        prop_assert!(memory.provisioned && m.state() == State::Running);
    }
}
