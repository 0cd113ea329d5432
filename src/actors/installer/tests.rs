//! The InstallerActor with root and status around it, in virtual time, against a scripted workshop that fails on purpose.
mod script;

use super::{Denied, Message, workshop::Unmet};
use crate::{
    model::{
        install::{Family, User},
        operation::OperationState::{Done, Failed},
        refusal::Refusal,
    },
    policy::installer::Failure,
};
use script::{Agent, S, Script, Way, elapse, node, unusable};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn an_install_is_seen_from_its_first_step_to_its_tree() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(10);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    let progress: super::Progress = Arc::new(move |step, share| told.lock().unwrap().push((step.to_owned(), share)));
    let (tree, seen) = tokio::join!(
        agent.installer.install(node("22"), true, "test", &progress),
        agent.until(|p| p.snapshot.install_step == "downloading node 22: 5 MB")
    );
    assert!(seen.snapshot.install_progress.is_some_and(|share| 0.4 < share && share < 0.6));
    assert_eq!(seen.operations[0].subject, "node 22");
    let tree = tree.unwrap();
    assert_eq!(tree.bin, ["/opt/zlh/runtimes/node/22/bin"]);
    assert_eq!(tree.env["HOME_OF_IT"], "/opt/zlh/runtimes/node/22");
    let heard = heard.lock().unwrap().clone();
    assert!(heard.iter().any(|(step, _)| step == "downloading node 22: 9 MB"), "{heard:?}");
    let seen = agent.until(|p| !p.snapshot.runtimes.is_empty()).await;
    let runtime = &seen.snapshot.runtimes[0];
    assert_eq!((runtime.version.as_str(), runtime.active, runtime.verified), ("22", true, true));
    assert_eq!(seen.snapshot.install_step, "");
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_finished_by_the_next_actor() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(100);
    let id = agent.ensure("22").await;
    agent.until(|p| p.snapshot.install_step.contains("MB")).await;
    agent.installer.slot.cast(Message::Panic);
    assert_eq!(agent.end_of(&id).await, (Done, None));
    assert_eq!((script.active().as_deref(), script.brought(), script.staging()), (Some("22"), 2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_finished_by_the_next_agent() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(100);
    let id = agent.ensure("22").await;
    agent.until(|p| p.snapshot.install_step.contains("MB")).await;
    agent.die().await;
    assert_eq!(script.staging(), 1, "as a killed agent leaves it");
    let agent = Agent::up(&script).await;
    assert_eq!(agent.end_of(&id).await, (Done, None));
    assert_eq!((script.active().as_deref(), script.staging()), (Some("22"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_step_may_take_as_long_as_it_likes_while_it_shows_progress() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(3000);
    let id = agent.ensure("22").await;
    assert_eq!(agent.end_of(&id).await, (Done, None));
}

#[tokio::test(start_paused = true)]
async fn a_step_without_progress_is_cut_off_and_undone() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().bring = Way::Hangs;
    let began = Instant::now();
    let id = agent.ensure("22").await;
    let why = "downloading node 22: no progress for 180 s (install.patience)".to_owned();
    assert_eq!(agent.end_of(&id).await, (Failed, Some(why)));
    assert!(S(180) <= began.elapsed() && began.elapsed() < S(185), "{:?}", began.elapsed());
    assert_eq!(script.staging(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_breaks_fails_its_operation_and_nothing_else() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    for (way, why) in [(Way::Panics, "its task broke"), (Way::Fails, "http://a/x is not there (404)")] {
        script.mood().bring = way;
        let id = agent.ensure("22").await;
        assert_eq!(agent.end_of(&id).await, (Failed, Some(format!("downloading node 22: {why}"))));
    }
    script.mood().bring = Way::Well;
    let id = agent.ensure("22").await;
    assert_eq!(agent.end_of(&id).await, (Done, None));
}

#[tokio::test(start_paused = true)]
async fn equal_wants_are_one_download_and_different_ones_run_side_by_side() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(100);
    let began = Instant::now();
    let (a, b, c) = tokio::join!(agent.ensure("22"), agent.ensure("22"), agent.ensure("24"));
    assert_eq!(a, b);
    assert_ne!(a, c);
    agent.end_of(&a).await;
    agent.end_of(&c).await;
    assert_eq!(script.brought(), 2);
    assert!(began.elapsed() < S(150), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_install_ends_soon_and_leaves_nothing() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(1000);
    let id = agent.ensure("22").await;
    agent.until(|p| p.snapshot.install_step.contains("MB")).await;
    let asked = Instant::now();
    agent.installer.cancel(id.clone()).await.unwrap();
    assert_eq!(agent.end_of(&id).await, (Failed, Some("cancelled".into())));
    assert!(asked.elapsed() < S(2));
    assert_eq!((script.staging(), script.active()), (0, None));
    let again = agent.installer.cancel(id.clone()).await;
    assert_eq!(again, Err(Denied::Refused(Refusal::NotCancellable { operation: id })));
}

#[tokio::test(start_paused = true)]
async fn what_the_catalog_does_not_have_is_refused_and_a_silent_server_is_found_out() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().server = Err(unusable());
    let refused = agent.installer.ensure(node("19"), true, "test").await;
    assert!(matches!(refused, Err(Denied::Refused(Refusal::Unusable { field, .. })) if field == "version"));
    let nameless = agent.installer.ensure(node("../22"), true, "test").await;
    assert!(matches!(nameless, Err(Denied::Refused(Refusal::Unusable { .. }))));
    script.mood().server = Err(Unmet::Failed(Failure::other("http://a cannot be reached")));
    let id = agent.ensure("22").await;
    assert_eq!(agent.end_of(&id).await, (Failed, Some("http://a cannot be reached".into())));
}

#[tokio::test(start_paused = true)]
async fn what_is_there_needs_no_server() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    let id = agent.ensure("22").await;
    agent.end_of(&id).await;
    script.mood().server = Err(unusable());
    script.deeds();
    let id = agent.ensure("22").await;
    assert_eq!(agent.end_of(&id).await, (Done, None));
    assert_eq!(script.deeds(), ["verifying node 22"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_uses_is_not_removed() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    let id = agent.ensure("22").await;
    agent.end_of(&id).await;
    let (tree, users) = (Family::runtime("node").version("22"), vec![User { pid: 7, name: "node".into() }]);
    script.mood().users = users.clone();
    let refused = agent.installer.remove(tree.clone(), "test").await;
    assert_eq!(refused, Err(Denied::Refused(Refusal::InUse { what: "node 22".into(), users })));
    script.mood().users = Vec::new();
    let id = agent.installer.remove(tree, "test").await.unwrap().operation.unwrap();
    assert_eq!(agent.end_of(&id).await, (Done, None));
    assert_eq!(script.active(), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_saved_is_not_begun() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    agent.until(|_| true).await;
    script.mood().save = Err("disk full".into());
    let id = agent.ensure("22").await;
    let why = "what was asked could not be saved: disk full".to_owned();
    assert_eq!(agent.end_of(&id).await, (Failed, Some(why)));
    assert_eq!(script.brought(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_follower_hears_the_end_across_a_reborn_actor() {
    let script = Script::new();
    let agent = Agent::up(&script).await;
    script.mood().takes = S(60);
    let progress: super::Progress = Arc::new(|_, _| {});
    let follow = agent.installer.install(node("22"), true, "test", &progress);
    let (tree, ()) = tokio::join!(follow, async {
        elapse(S(20)).await;
        agent.installer.slot.cast(Message::Panic);
    });
    assert_eq!(tree.unwrap().id.to_string(), "node 22");
}
