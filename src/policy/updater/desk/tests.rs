//! The desk over every way an update can go, and that nothing else is begun meanwhile.
use super::*;
use crate::model::{
    catalog::{AgentBuild, Digest, PLATFORM},
    update::Trial,
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
        let (answer, effects) = desk.on_command(command.clone());
        assert_eq!(answer, Answer::Accepted);
        assert_eq!(effects, if taken.is_some() { vec![Effect::Look] } else { vec![] }, "{mode:?} {command:?}");
        let Some(taken) = taken else { continue };
        let next = desk.on_fact(looked("1.2.0"));
        assert_eq!(matches!(next[..], [Effect::Prepare(_)]), taken, "{mode:?} {command:?}");
        let standing = desk.standing();
        assert_eq!((standing.latest.as_deref(), standing.update_available), (Some("v1.2.0"), true));
        assert_eq!(standing.last_check_at, Some(WallTime(7)));
    }
}

#[test]
fn a_good_version_is_switched_to_once_nothing_else_goes_on() {
    let mut desk = desk(UpdateMode::Notify);
    desk.on_command(Command::Take(None));
    desk.on_fact(looked("1.2.0"));
    assert_eq!(desk.on_fact(Fact::Prepared(Ok(()))), [Effect::AwaitQuiet]);
    assert_eq!(desk.on_fact(Fact::Quiet(Ok(()))), [Effect::Switch("1.2.0".into())]);
    assert_eq!(desk.standing().state, UpdateState::Switching);
    assert_eq!(desk.standing().target.as_deref(), Some("v1.2.0"));
}

#[test]
fn an_older_version_is_taken_only_by_name() {
    let mut by_channel = desk(UpdateMode::Auto);
    by_channel.on_command(Command::Take(None));
    assert_eq!(by_channel.on_fact(looked("1.0.0")), []);
    assert!(!by_channel.standing().update_available);
    let mut by_name = desk(UpdateMode::Auto);
    by_name.on_command(Command::Take(Some("v1.0.0".into())));
    assert!(matches!(by_name.on_fact(looked("1.2.0"))[..], [Effect::Prepare(_)]));
}

#[test]
fn a_broken_program_is_rejected_and_a_server_that_is_down_is_not() {
    for (programs_fault, rejects) in [(true, 1), (false, 0)] {
        let mut desk = desk(UpdateMode::Auto);
        desk.on_command(Command::Tick);
        desk.on_fact(looked("1.2.0"));
        let effects = desk.on_fact(Fact::Prepared(Err(("it ended".into(), programs_fault))));
        assert_eq!(effects.len(), rejects);
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
        desk.on_command(Command::Take(None));
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
