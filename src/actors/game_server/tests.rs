//! The GameServerActor with root and status around it, in virtual time, against a scripted world that fails on purpose.
pub mod script;

use super::{Denied, Message};
use crate::{
    host::keeping::{KeeperEvent, KeepingError, LaunchStep},
    model::{
        crash::Retry,
        exit::ExitStatus::{self, Code},
        ids::RunId,
        operation::OperationState,
        phase::State,
        refusal::Refusal,
        settings::{Hang, Restart, Settings},
    },
    policy::game_server::{
        command::Leaving,
        fact::{Fact, Reply, RunFact, Ticket},
        memory::Desired,
    },
};
use bytes::Bytes;
use script::{Agent, S, Script, elapse};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn start_stop_and_what_is_seen_of_it() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    let seen = agent.status.current();
    assert!(seen.snapshot.ready && seen.snapshot.pid == Some(4121) && seen.checks.iter().all(|c| c.ok));
    assert_eq!(seen.snapshot.players.as_ref().unwrap().online, 3);
    assert_eq!(seen.operations[0].state, OperationState::Done);
    let again = agent.game.start("test").await.unwrap();
    assert_eq!((again.operation, again.state), (None, State::Running));
    agent.game.stop("test").await.unwrap();
    let seen = agent.state(State::Idle).await;
    assert_eq!((seen.snapshot.crash_count, seen.snapshot.process_running), (0, false));
    assert_eq!(script.deeds(), ["good start of run-1", "type stop"]);
    assert_eq!(agent.game.command("say hi".into()).await, Err(Denied::Refused(Refusal::NotRunning)));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_means_stored() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().save_takes = Duration::from_millis(700);
    let asked = Instant::now();
    agent.game.start("test").await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_millis(700));
    script.mood().save_takes = S(10);
    assert_eq!(agent.game.stop("test").await, Err(Denied::Busy), "no answer within limits.command_timeout");
    agent.state(State::Idle).await;
    assert!(asked.elapsed() < S(10), "a slow disk does not hold up the stop itself");
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_in_the_status() {
    let script = Script::new();
    script.mood().save_takes = Duration::ZERO;
    let agent = Agent::ready(&script).await;
    for _ in 0..10 {
        let accepted = agent.game.restart("test").await.unwrap().operation;
        let shown = agent.status.current();
        assert!(shown.operations.iter().any(|operation| Some(&operation.id) == accepted.as_ref()), "{accepted:?}");
        agent.until(|p| p.operations.iter().all(|operation| operation.state.is_final())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_config_changes_nothing() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    let refused = agent.game.configure(serde_json::json!({ "game": "chess" }), "test").await;
    assert!(matches!(refused, Err(Denied::Refused(Refusal::Unusable { field, .. })) if field == "game"));
    assert_eq!(agent.status.current().operations.len(), 0);
    let accepted = agent.game.configure(serde_json::json!({ "game": "custom" }), "test").await.unwrap();
    assert_eq!(accepted.state, State::Installing);
    agent.state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn thirty_sixty_onehundredtwenty_then_error_on_the_clock() {
    let script = Script::new();
    script.mood().exits_after = Some((S(1), Code(1)));
    script.mood().ready = false;
    let agent = Agent::up(&script).await;
    agent.game.start("test").await.unwrap();
    let seen = agent.state(State::Error).await;
    assert_eq!(script.launches(), [0, 31, 92, 213]);
    assert_eq!((seen.snapshot.crash_count, seen.snapshot.last_crash_exit_code), (4, Some(1)));
    let seen = agent.until(|p| p.crashes.len() == 4).await;
    assert_eq!(seen.crashes[3].decision, "restart 1 in 30 s");
    assert_eq!(seen.crashes[0].decision, "gave up: 4 crashes in a row before it was ready");
}

#[tokio::test(start_paused = true)]
async fn a_deterministic_crash_is_an_error_at_once() {
    let script = Script::new();
    script.mood().exits_after = Some((S(1), Code(1)));
    script.mood().classify = Some(("java.too_old".into(), Retry::Never));
    let agent = Agent::up(&script).await;
    agent.game.start("test").await.unwrap();
    agent.state(State::Error).await;
    assert_eq!((script.launches().len(), script.began.elapsed().as_secs()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_crash_engine_that_never_answers_holds_up_nothing() {
    let script = Script::new();
    script.mood().classify = None;
    let agent = Agent::ready(&script).await;
    script.exit(Code(1));
    agent.state(State::Running).await;
    let seen = agent.until(|p| p.crashes.len() == 1).await;
    assert_eq!(seen.crashes[0].verdict.code, "exit.nonzero");
    assert_eq!(script.launches(), [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn what_else_a_restart_at_once_wants_waits_for_the_program_but_not_long() {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    for (takes, saved_after) in [(MS(2), MS(2)), (S(20), MS(5))] {
        let script = Script::new();
        let base = Settings::default();
        let restart = Restart { backoff: vec![Duration::ZERO; 3], ..base.restart.clone() };
        let agent = Agent::with(&script, Settings { restart, ..base }).await;
        agent.game.start("test").await.unwrap();
        agent.state(State::Running).await;
        elapse(S(1)).await;
        (script.mood().launch_takes, script.mood().alone) = (takes, true);
        script.saves();
        let crashed = script.began.elapsed();
        script.exit(Code(1));
        agent.until(|p| p.snapshot.crash_count == 1).await;
        assert_eq!(script.runs().len(), 2);
        assert_eq!(script.saves().first().map(|at| *at - crashed), Some(saved_after), "takes {takes:?}");
        agent.until(|p| p.crashes.len() == 1 && p.snapshot.state == State::Running).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_run_is_an_error_with_its_reason() {
    let script = Script::new();
    let message = "No such file or directory".to_owned();
    script.mood().launch = Err(KeepingError::Launch { step: LaunchStep::Exec, errno: 2, message });
    let agent = Agent::up(&script).await;
    agent.game.start("test").await.unwrap();
    let seen = agent.state(State::Error).await;
    assert_eq!(seen.snapshot.error.as_deref(), Some("could not execute the program: No such file or directory"));
    assert_eq!((seen.snapshot.crash_count, seen.operations[0].state), (0, OperationState::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_breaks_reports_its_loss() {
    let script = Script::new();
    script.mood().prepare = None;
    let agent = Agent::up(&script).await;
    agent.game.start("test").await.unwrap();
    let seen = agent.state(State::Error).await;
    assert_eq!(seen.snapshot.error.as_deref(), Some("no answer within 600 s, or its task broke"));
}

#[tokio::test(start_paused = true)]
async fn who_ignores_everything_is_killed_inside_the_grace() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    (script.mood().obeys_stop, script.mood().obeys_term) = (false, false);
    script.deeds();
    let asked = Instant::now();
    agent.game.stop("test").await.unwrap();
    agent.state(State::Idle).await;
    assert_eq!(script.deeds(), ["type stop", "signal 15 Leader", "signal 9 Tree"]);
    assert_eq!(asked.elapsed().as_secs(), 30);
    assert_eq!(agent.status.current().snapshot.crash_count, 0, "killed by us is no crash");
}

#[tokio::test(start_paused = true)]
async fn a_kill_cuts_a_stop_short() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    (script.mood().obeys_stop, script.mood().obeys_term) = (false, false);
    let stop = agent.game.stop("test").await.unwrap();
    let asked = Instant::now();
    agent.game.kill("test").await.unwrap();
    let seen = agent.state(State::Idle).await;
    assert!(asked.elapsed() < Duration::from_millis(300));
    assert_eq!(
        (Some(&seen.operations[0].id), seen.operations[0].state),
        (stop.operation.as_ref(), OperationState::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn never_ready_is_stopped_and_says_why() {
    let script = Script::new();
    script.mood().ready = false;
    let agent = Agent::up(&script).await;
    agent.game.start("test").await.unwrap();
    let seen = agent.state(State::Error).await;
    assert_eq!(seen.snapshot.error.as_deref(), Some("not ready within 60 s: refused"));
    assert!(!script.is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_dumped_and_restarted_where_so_set() {
    let script = Script::new();
    let base = Settings::default();
    let agent = Agent::with(&script, Settings { hang: Hang { restart: true, ..base.hang.clone() }, ..base }).await;
    agent.game.start("test").await.unwrap();
    agent.state(State::Running).await;
    script.mood().ready = false;
    agent.until(|p| p.snapshot.warnings.iter().any(|w| w.code == "hang")).await;
    let seen = agent.until(|p| p.crashes.len() == 1).await;
    assert_eq!((seen.crashes[0].verdict.code.as_str(), seen.snapshot.crash_count), ("hang", 1));
    script.mood().ready = true;
    agent.state(State::Running).await;
    assert_eq!(script.deeds()[1..], ["signal 3 Leader", "type stop", "good start of run-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_keeper_is_told_and_a_lost_run_restarted() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    let run = script.runs()[0];
    script.tell(KeeperEvent::KeeperLost { run, recovered: true, detail: "killed".into() });
    agent.until(|p| p.snapshot.warnings.iter().any(|w| w.code == "keeper_lost")).await;
    script.tell(KeeperEvent::KeeperLost { run, recovered: false, detail: "killed".into() });
    agent.until(|p| p.snapshot.crash_count == 1 && p.snapshot.state == State::Running).await;
    assert_eq!(script.runs().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_stop_command_typed_key_by_key_is_a_clean_stop() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    for key in ["s", "t", "o", "p", "\r"] {
        agent.game.console().write(Bytes::from(key)).await.unwrap();
    }
    script.exit(Code(0));
    let seen = agent.state(State::Idle).await;
    assert_eq!((seen.snapshot.crash_count, script.saved().intent.desired), (0, Desired::Stopped));
    let end = agent.game.console().ends().borrow().unwrap();
    assert_eq!((end.run, end.status), (RunId(1), Code(0)));
}

#[tokio::test(start_paused = true)]
async fn stale_facts_change_nothing() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    let before = agent.status.current();
    for fact in [
        Fact::Run(RunId(7), RunFact::TreeEmptied),
        Fact::Run(RunId(7), RunFact::StopTyped),
        Fact::Reply(Ticket(3), Reply::TimerFired),
        Fact::Reply(Ticket(9999), Reply::Prepared(Err("old".into()))),
    ] {
        agent.game.slot.cast(Message::Fact(fact));
    }
    elapse(S(3)).await;
    let after = agent.status.current();
    assert_eq!(before.snapshot.state, after.snapshot.state);
    assert_eq!((&before.operations, &before.crashes), (&after.operations, &after.crashes));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_is_replaced_and_the_game_does_not_notice() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    let before = agent.game.slot.current().unwrap().get_id();
    agent.game.slot.cast(Message::Panic);
    elapse(S(1)).await;
    assert_ne!(agent.game.slot.current().unwrap().get_id(), before);
    let seen = agent.until(|p| p.checks.iter().all(|c| c.ok)).await;
    assert_eq!((seen.snapshot.state, seen.snapshot.crash_count), (State::Running, 0));
    assert_eq!(script.runs().len(), 1);
    agent.game.stop("test").await.unwrap();
    agent.state(State::Idle).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_phase_loses_neither_intent_nor_operation() {
    // While starting: the operation goes on.
    let script = Script::new();
    script.mood().ready = false;
    let agent = Agent::up(&script).await;
    let start = agent.game.start("test").await.unwrap();
    agent.game.slot.cast(Message::Panic);
    elapse(S(1)).await;
    script.mood().ready = true;
    let seen = agent.state(State::Running).await;
    assert_eq!(
        (Some(&seen.operations[0].id), seen.operations[0].state),
        (start.operation.as_ref(), OperationState::Done)
    );

    // While stopping: the ladder goes on where it was.
    (script.mood().obeys_stop, script.mood().obeys_term) = (false, false);
    script.deeds();
    let asked = Instant::now();
    agent.game.stop("test").await.unwrap();
    elapse(S(25)).await;
    agent.game.slot.cast(Message::Panic);
    agent.state(State::Idle).await;
    assert_eq!(script.deeds(), ["type stop", "signal 15 Leader", "signal 15 Leader", "signal 9 Tree"]);
    assert!(asked.elapsed() < S(40));

    // During backoff: the rest of the wait is kept.
    script.mood().exits_after = Some((S(1), Code(1)));
    agent.game.start("test").await.unwrap();
    let seen = agent.state(State::Crashed).await;
    elapse(S(10)).await;
    agent.game.slot.cast(Message::Panic);
    script.mood().exits_after = None;
    let crashed = script.launches().len();
    agent.until(|p| p.snapshot.state == State::Running && p.snapshot.revision > seen.snapshot.revision).await;
    let launches = script.launches();
    assert_eq!(launches[crashed] - launches[crashed - 1], 31);
}

/// Each verb panics once, inside the handler that calls it.
#[tokio::test(start_paused = true)]
async fn a_panic_in_any_handler_arm_is_survived() {
    let verbs = ["recall", "discover", "save", "prepare", "ports", "launch", "probe", "classify", "say", "signal"];
    for verb in verbs {
        let script = Script::new();
        let agent = Agent::up(&script).await;
        script.mood().breaks = Some(verb);
        if ["recall", "discover"].contains(&verb) {
            agent.game.slot.cast(Message::Panic);
            elapse(S(1)).await;
        }
        match agent.game.start("test").await {
            Ok(_) => {}
            Err(Denied::Gone) => _ = after(S(1), agent.game.start("test")).await.unwrap(),
            Err(other) => panic!("{verb}: {other:?}"),
        }
        agent.state(State::Running).await;
        script.exit(Code(1));
        agent.until(|p| p.snapshot.crash_count == 1 && p.snapshot.state == State::Running).await;
        script.mood().obeys_stop = false;
        agent.game.stop("test").await.unwrap();
        let seen = agent.state(State::Idle).await;
        assert!(script.mood().breaks.is_none(), "{verb} was never called");
        assert!(seen.operations.iter().all(|o| o.state == OperationState::Done), "{verb}: {:?}", seen.operations);
        assert_eq!(script.runs().len(), 2, "{verb}");
    }
}

async fn after<T>(time: Duration, then: impl Future<Output = T>) -> T {
    elapse(time).await;
    then.await
}

#[tokio::test(start_paused = true)]
async fn a_frozen_actor_answers_busy_and_is_replaced() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    agent.game.slot.cast(Message::Freeze);
    assert_eq!(agent.game.stop("test").await, Err(Denied::Busy));
    let frozen = Instant::now();
    loop {
        if agent.game.stop("test").await.is_ok() {
            break;
        }
        assert!(frozen.elapsed() < S(90), "not replaced");
        elapse(S(1)).await;
    }
    let seen = agent.state(State::Idle).await;
    assert_eq!(seen.snapshot.crash_count, 0);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_leaves_lets_the_game_run_and_the_next_takes_it_up() {
    let script = Script::new();
    let agent = Agent::ready(&script).await;
    let Agent { game, root, .. } = agent;
    root.shut_down(async { game.shut_down(Leaving::Leave, S(5)).await.unwrap() }).await;
    assert!(script.is_alive());
    assert_eq!(game.start("test").await, Err(Denied::Gone));
    let next = Agent::up(&script).await;
    next.state(State::Running).await;
    assert_eq!(script.runs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_takes_the_game_down_in_order() {
    let script = Script::new();
    let Agent { game, root, status, .. } = Agent::ready(&script).await;
    script.mood().obeys_stop = false;
    root.shut_down(async { game.shut_down(Leaving::Stop, S(60)).await.unwrap() }).await;
    assert_eq!(script.deeds()[1..], ["type stop", "signal 15 Leader", "retire"]);
    assert_eq!(status.current().snapshot.crash_count, 0);
    script.reboot();
    let next = Agent::up(&script).await;
    next.state(State::Running).await;
    assert_eq!(next.status.current().operations[0].holder, "autostart");
}

/// Intent × what the next agent finds.
#[tokio::test(start_paused = true)]
async fn the_next_agent_does_what_was_wanted() {
    type Prepare = fn(&Script);
    let alive: Prepare = |_| {};
    let crashed: Prepare = |s| s.exit_unseen(Code(1));
    let killed: Prepare = |s| s.exit_unseen(ExitStatus::Signal { signal: 9, core_dumped: false });
    let rebooted: Prepare = Script::reboot;
    let table = [
        ("running", alive, State::Running, 1, 0),
        ("running", crashed, State::Crashed, 1, 1),
        ("running", killed, State::Crashed, 1, 1),
        ("running", rebooted, State::Running, 2, 0),
        ("stopped", alive, State::Idle, 1, 0),
        ("stopped", crashed, State::Idle, 1, 0),
        ("stopped", rebooted, State::Idle, 1, 0),
        ("restart", alive, State::Running, 2, 0),
        ("restart", crashed, State::Running, 2, 0),
    ];
    for (n, (intent, happens, want, runs, crashes)) in table.into_iter().enumerate() {
        let script = Script::new();
        let agent = Agent::ready(&script).await;
        script.mood().obeys_stop = false;
        match intent {
            "stopped" => _ = agent.game.stop("test").await.unwrap(),
            "restart" => _ = agent.game.restart("test").await.unwrap(),
            _ => {}
        }
        agent.die().await;
        happens(&script);
        let next = Agent::up(&script).await;
        let seen = next.until(|p| p.snapshot.state == want && p.operations.iter().all(|o| o.state.is_final())).await;
        assert_eq!((script.runs().len(), seen.snapshot.crash_count), (runs, crashes), "row {n}: {intent}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_costs_a_sample_now_and_then_and_no_revisions() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    elapse(S(20)).await;
    let before = agent.status.current().snapshot.revision;
    elapse(S(600)).await;
    assert_eq!(agent.status.current().snapshot.revision, before);
}
