//! The support proves itself: a leak is found and ended, waiting gives up, an agent that never listens is reported.
use crate::support::{Agent, Sandbox, eventually, install, strays};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

fn leave_fake_game(sandbox: &Sandbox) -> Child {
    Command::new(sandbox.fake_game()).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// Something that behaves like `zlh agent …` as far as starting goes.
fn script(sandbox: &Sandbox, body: &str) -> PathBuf {
    let [text, program] = ["script.txt", "script"].map(|name| sandbox.root().join(name));
    fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    install(&text, &program);
    program
}

#[test]
fn a_process_left_behind_fails_the_test_and_is_ended() {
    let mut sandbox = Sandbox::new();
    sandbox.quiet_within = Duration::from_millis(200);
    let (marker, mut child) = (sandbox.marker().to_owned(), leave_fake_game(&sandbox));
    assert_eq!(strays(&marker).iter().map(|s| s.pid).collect::<Vec<_>>(), [child.id() as i32]);
    let failure = catch_unwind(AssertUnwindSafe(|| drop(sandbox))).unwrap_err();
    assert!(message(failure).contains("fake_game"));
    assert!(!child.wait().unwrap().success());
    assert_eq!(strays(&marker), []);
}

#[test]
fn a_sandbox_is_open_to_other_users() {
    let sandbox = Sandbox::new();
    for path in [sandbox.root(), sandbox.fake_game(), PathBuf::from(sandbox.marker())] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o755, 0o755, "{}: {mode:o}", path.display());
    }
}

#[test]
fn the_address_is_read_and_the_end_is_waited_for() {
    let sandbox = Sandbox::new();
    let program = script(&sandbox, "echo chatter; echo 'listening agent http://127.0.0.1:12345'; exec sleep 1000");
    let agent = Agent::start(&program, &sandbox, &[]);
    assert_eq!(agent.url("/status"), "http://127.0.0.1:12345/status");
    assert!(!agent.terminate().success());
}

#[test]
fn an_agent_that_ends_at_once_is_reported_with_its_log() {
    let sandbox = Sandbox::new();
    let program = script(&sandbox, "echo 'configuration: no' >&2; exit 78");
    let failure = catch_unwind(AssertUnwindSafe(|| drop(Agent::start(&program, &sandbox, &[])))).unwrap_err();
    assert!(message(failure).contains("configuration: no"));
}

#[tokio::test]
async fn waiting_looks_again_and_gives_up() {
    let mut looks = 0;
    let third = eventually("third look", Duration::from_secs(60), async || {
        looks += 1;
        (looks == 3).then_some(looks)
    });
    assert_eq!(third.await, 3);
    let never = tokio::spawn(eventually("the impossible", Duration::from_millis(30), async || None::<()>));
    let failure = never.await.unwrap_err().into_panic();
    assert!(message(failure).contains("the impossible"));
}
