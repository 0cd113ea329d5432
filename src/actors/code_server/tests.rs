//! The editor's handle with its actor, root and status around it, in virtual time, in the scripted world of game servers.
use super::*;
use crate::{
    actors::{
        game_server::tests::script::{Here, S, Script},
        root::{Root, actor_rule},
    },
    model::exit::ExitStatus::Code,
    policy::status::Identity,
};
use tokio::time::Instant;

struct Life {
    editor: CodeServer,
    status: Status,
    _root: Root,
}

async fn live(script: &Arc<Script>) -> Life {
    let here = Arc::new(Here(script.clone()));
    let settings = Arc::new(Settings::default());
    let status = Status::new(Identity::default(), here.clone(), settings.status.interval).unwrap();
    let editor = CodeServer::new(here, settings, status.clone());
    let root = Root::spawn(vec![status.child(), editor.child()], actor_rule()).await.unwrap();
    Life { editor, status, _root: root }
}

#[tokio::test(start_paused = true)]
async fn the_set_up_hears_of_an_editor_that_stays_up_and_leaves_a_running_one_alone() {
    let script = Script::new();
    let life = live(&script).await;
    let asked = Instant::now();
    life.editor.provide(6001, "config").await.unwrap();
    assert!(asked.elapsed() >= S(2), "codeserver.settle");
    assert!(life.status.code_server().borrow().ready);
    life.editor.provide(6001, "config").await.unwrap();
    assert_eq!(script.runs().len(), 1, "started once");
    assert_eq!(life.editor.start("test").await.unwrap().operation, None);
    life.editor.restart("test").await.unwrap();
    life.status.code_server().wait_for(|part| part.ready && script.runs().len() == 2).await.unwrap();
    assert_eq!(life.status.code_server().borrow().crash_count, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_never_answers_fails_the_set_up_with_the_reason() {
    let script = Script::new();
    (script.mood().ready, script.mood().exits_after) = (false, Some((S(1), Code(1))));
    let life = live(&script).await;
    let why = life.editor.provide(6001, "config").await.unwrap_err();
    assert!(why.contains("exit code 1"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_with_0_right_after_it_answered_fails_the_set_up_too() {
    let script = Script::new();
    script.mood().exits_after = Some((S(1), Code(0)));
    let life = live(&script).await;
    life.editor.provide(6001, "config").await.unwrap_err();
    let part = life.status.code_server().borrow().clone();
    assert_eq!((part.crash_count, part.state), (1, State::Crashed), "an unasked exit 0 is a crash");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_it_from_being_launched_is_told() {
    let script = Script::new();
    script.mood().prepare = Some(Err("browsers refuse to open port 6000".into()));
    let life = live(&script).await;
    let why = life.editor.provide(6001, "config").await.unwrap_err();
    assert!(why.contains("port 6000"), "{why}");
    assert_eq!(script.runs(), [], "nothing was launched");
}

#[tokio::test(start_paused = true)]
async fn who_starts_what_was_never_installed_is_told_so() {
    let script = Script::new();
    script.forget_config();
    let life = live(&script).await;
    let refused = life.editor.start("test").await.unwrap_err();
    assert_eq!(refused, Denied::Refused(Refusal::NotInstalled { what: NAME.into(), installed: Vec::new() }));
    life.editor.restart("test").await.unwrap_err();
    assert_eq!(life.editor.stop("test").await.unwrap().operation, None);
}
