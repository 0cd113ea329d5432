//! The desk over every way an update can go, and that nothing else is begun meanwhile.
use super::*;
use crate::{
    model::{
        catalog::{AgentBuild, Digest, PLATFORM},
        ids::OperationId,
        update::Trial,
    },
    policy::operations::By,
};
use proptest::prelude::*;

fn manifest(stable: &str) -> AgentManifest {
    let build = |version: &str| AgentBuild {
        binary: format!("versions/{version}/zlh").parse().unwrap(),
        sha256: Some(Digest([1; 32])),
        size: None,
        extra: Default::default(),
    };
    let artifacts = ["1.0.0", "1.1.0", "1.2.0"].map(|v| (v.to_owned(), [(PLATFORM.to_owned(), build(v))].into()));
    AgentManifest {
        channels: [("stable".to_owned(), stable.to_owned())].into(),
        artifacts: artifacts.into(),
        ..AgentManifest::default()
    }
}

fn desk(mode: UpdateMode) -> Desk {
    let mut desk = Desk::new(Way { running: "1.1.0".into(), mode, channel: "stable".into() });
    assert_eq!(desk.on_command(Command::Check).0, Answer::Busy, "the record was not read yet");
    desk.on_fact(Fact::Recalled(Ok(UpdateRecord::default())));
    desk
}

/// A record in which an update was ordered, as the depot writes it.
fn stored() -> UpdateRecord {
    let by = By { id: OperationId("op-1".into()), holder: "api".into() };
    let mut record = UpdateRecord::default();
    orders::open(&mut record, by, "stable", WallTime(1), std::time::Duration::from_secs(1));
    record
}

/// Orders an update, which is stored.
fn order(desk: &mut Desk, version: Option<&str>) {
    let (answer, effects) = desk.on_command(Command::Take(version.map(str::to_owned)));
    assert!(matches!((answer, &effects[..]), (Answer::Later, [Effect::Store { holder: "api", .. }])), "{effects:?}");
    assert_eq!(desk.on_stored(Ok(stored())), (Answer::Accepted, vec![Effect::Look]));
}

fn looked(stable: &str) -> Fact {
    Fact::Looked(Ok(manifest(stable)), WallTime(7))
}

#[test]
fn each_mode_takes_what_it_may() {
    let table = [
        (UpdateMode::Off, Command::Tick, None),
        (UpdateMode::Off, Command::Take(None), Some(true)),
        (UpdateMode::Notify, Command::Tick, Some(false)),
        (UpdateMode::Notify, Command::Take(None), Some(true)),
        (UpdateMode::Auto, Command::Tick, Some(true)),
        (UpdateMode::Auto, Command::Check, Some(false)),
    ];
    for (mode, command, taken) in table {
        let mut desk = desk(mode);
        if command == Command::Take(None) {
            order(&mut desk, None);
        } else {
            let looks = if taken.is_some() { vec![Effect::Look] } else { vec![] };
            assert_eq!(desk.on_command(command.clone()), (Answer::Accepted, looks), "{mode:?} {command:?}");
        }
        let Some(taken) = taken else { continue };
        let mut next = desk.on_fact(looked("1.2.0"));
        if let [Effect::Store { holder, .. }] = &next[..] {
            assert_eq!((*holder, &command), ("agent", &Command::Tick), "by itself it orders once there is something");
            next = desk.on_stored(Ok(stored())).1;
        }
        assert_eq!(matches!(next[..], [Effect::Prepare(_)]), taken, "{mode:?} {command:?}");
        let standing = desk.standing();
        assert_eq!((standing.latest.as_deref(), standing.update_available), (Some("v1.2.0"), true));
        assert_eq!(standing.last_check_at, Some(WallTime(7)));
    }
}

#[test]
fn a_good_version_is_switched_to_once_nothing_else_goes_on() {
    let mut desk = desk(UpdateMode::Notify);
    order(&mut desk, None);
    desk.on_fact(looked("1.2.0"));
    assert_eq!(desk.operations()[0].step, "fetching, verifying and trying v1.2.0");
    assert_eq!(desk.on_fact(Fact::Prepared(Ok(()))), [Effect::AwaitQuiet]);
    assert_eq!(desk.on_fact(Fact::Quiet(Ok(()))), [Effect::Switch("1.2.0".into())]);
    assert_eq!(desk.standing().state, UpdateState::Switching);
    assert_eq!(desk.standing().target.as_deref(), Some("v1.2.0"));
}

#[test]
fn an_older_version_is_taken_only_by_name() {
    let mut by_channel = desk(UpdateMode::Auto);
    order(&mut by_channel, None);
    assert_eq!(by_channel.on_fact(looked("1.0.0")), [Effect::Conclude(Outcome::Done)], "nothing to do is no failure");
    assert!(!by_channel.standing().update_available);
    let mut by_name = desk(UpdateMode::Auto);
    order(&mut by_name, Some("v1.0.0"));
    assert!(matches!(by_name.on_fact(looked("1.2.0"))[..], [Effect::Prepare(_)]));
}

#[test]
fn a_broken_program_is_rejected_and_a_server_that_is_down_is_not() {
    for (programs_fault, rejects) in [(true, true), (false, false)] {
        let mut desk = desk(UpdateMode::Auto);
        order(&mut desk, None);
        desk.on_fact(looked("1.2.0"));
        let effects = desk.on_fact(Fact::Prepared(Err(("it ended".into(), programs_fault))));
        let rejected = matches!(&effects[..], [Effect::Reject { .. }]);
        let concluded = matches!(&effects[..], [Effect::Conclude(Outcome::Failed(_))]);
        assert_eq!((rejected, concluded), (rejects, !rejects), "each ends what was ordered");
        let standing = desk.standing();
        assert_eq!((standing.state, standing.last_error.as_deref()), (UpdateState::Idle, Some("it ended")));
        assert_eq!(standing.update_available, !programs_fault);
    }
}

#[test]
fn on_trial_nothing_is_begun_and_why_one_was_taken_back_is_told() {
    let mut desk = desk(UpdateMode::Auto);
    let trial = Trial { version: "1.1.0".into(), previous: "1.0.0".into(), starts: 1 };
    desk.on_fact(Fact::Recalled(Ok(UpdateRecord { trial: Some(trial), ..UpdateRecord::default() })));
    assert_eq!(desk.on_command(Command::Take(None)).0, Answer::Busy);
    assert_eq!(desk.standing().state, UpdateState::OnTrial);
    let back = UpdateRecord { last_error: Some("1.2.0 was taken back".into()), ..UpdateRecord::default() };
    desk.on_fact(Fact::Recalled(Ok(back)));
    assert_eq!(desk.standing().last_error.as_deref(), Some("1.2.0 was taken back"));
}

#[test]
fn an_order_that_cannot_be_stored_is_refused_and_one_that_was_left_has_failed() {
    let mut desk = desk(UpdateMode::Notify);
    desk.on_command(Command::Take(None));
    assert_eq!(desk.on_stored(Err("no space".into())), (Answer::Unsaved, vec![]));
    assert_eq!(desk.standing().state, UpdateState::Idle);
    assert!(desk.standing().last_error.unwrap().contains("no space"));
    let mut fresh = Desk::new(desk.way.clone());
    let effects = fresh.on_fact(Fact::Recalled(Ok(stored())));
    assert!(matches!(&effects[..], [Effect::Conclude(Outcome::Failed(_))]), "{effects:?}");
    assert_eq!(fresh.on_fact(Fact::Recalled(Ok(stored()))), [], "once");
}

#[test]
fn what_failed_here_is_taken_only_by_name_and_whoever_orders_is_told() {
    let mut desk = desk(UpdateMode::Notify);
    let mut record = stored();
    record.failed.insert("1.2.0".into(), "it hung".into());
    desk.on_command(Command::Take(None));
    desk.on_stored(Ok(record));
    let effects = desk.on_fact(looked("1.2.0"));
    let [Effect::Conclude(Outcome::Failed(why))] = &effects[..] else { panic!("{effects:?}") };
    assert!(why.contains("it hung") && why.contains("zlh update 1.2.0"), "{why}");
}

#[test]
fn a_program_gives_way_only_to_what_it_was_updated_to() {
    use crate::policy::updater::gives_way;
    let record = UpdateRecord { stands_for: Some("1.0.0".into()), ..UpdateRecord::default() };
    assert!(gives_way(&record, "1.0.0", "1.2.0"));
    assert!(!gives_way(&record, "1.3.0", "1.2.0"), "somebody installed that one");
    assert!(!gives_way(&record, "1.0.0", "1.0.0"));
    assert!(!gives_way(&UpdateRecord::default(), "1.0.0", "1.2.0"));
}

proptest! {
    /// Whatever fails in whatever order: it comes to rest, and the next order begins with a look.
    #[test]
    fn every_failure_comes_to_rest(at in 0..5usize) {
        let why = || "injected".to_owned();
        let mut desk = desk(UpdateMode::Notify);
        order(&mut desk, None);
        let steps = [
            (looked("1.2.0"), Fact::Looked(Err(why()), WallTime(7))),
            (Fact::Prepared(Ok(())), Fact::Prepared(Err(("injected".into(), false)))),
            (Fact::Quiet(Ok(())), Fact::Quiet(Err(why()))),
            (Fact::Switched(Ok(())), Fact::Switched(Err(why()))),
        ];
        let mut broke = false;
        for (i, (good, bad)) in steps.into_iter().enumerate() {
            prop_assert_eq!(desk.on_command(Command::Tick).0, Answer::Busy);
            if i == at {
                desk.on_fact(bad);
                broke = true;
                break;
            }
            desk.on_fact(good);
        }
        prop_assert_eq!(desk.standing().state == UpdateState::Idle, broke);
        prop_assert_eq!(desk.standing().last_error.is_some(), broke);
        if broke {
            prop_assert_eq!(desk.on_command(Command::Check).1, vec![Effect::Look]);
        }
    }
}
