//! The addons' handle with actors, root and status around it, in virtual time, in the scripted world of game servers.
use super::*;
use crate::{
    actors::{
        game_server::tests::script::{Here, S, Script},
        root::{Root, actor_rule},
    },
    model::{exit::ExitStatus::Code, phase::State},
    policy::status::Identity,
};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(30);

struct Life {
    addons: Addons,
    status: Status,
    _root: Root,
}

async fn live(script: &Arc<Script>) -> Life {
    let here = Arc::new(Here(script.clone()));
    let settings = Arc::new(Settings::default());
    let status = Status::new(Identity::default(), here.clone(), settings.status.interval).unwrap();
    let addons = Addons::new(vec![(Addon::Sshd, here)], &settings, &status);
    let children = [status.child()].into_iter().chain(addons.children()).collect();
    let root = Root::spawn(children, actor_rule()).await.unwrap();
    Life { addons, status, _root: root }
}

impl Life {
    async fn provide(&self, body: Value) -> Result<(), String> {
        self.addons.provide(Addon::Sshd, body, WITHIN, "config").await
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_is_left_alone_unless_another_launch_is_wanted() {
    let script = Script::new();
    let life = live(&script).await;
    life.provide(json!({"port": 22})).await.unwrap();
    assert!(life.status.addon(Addon::Sshd).borrow().ready);
    let first = life.addons.wanted(Addon::Sshd).unwrap();
    life.provide(first.clone()).await.unwrap();
    assert_eq!(script.runs().len(), 1, "started once");
    life.provide(json!({"port": 23})).await.unwrap();
    assert_eq!(script.runs().len(), 2, "another port, another listener");
    assert_eq!(life.status.addon(Addon::Sshd).borrow().crash_count, 0);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_it_down_is_told() {
    let script = Script::new();
    (script.mood().ready, script.mood().exits_after) = (false, Some((S(1), Code(255))));
    let life = live(&script).await;
    let why = life.provide(json!({})).await.unwrap_err();
    assert!(why.contains("exit code 255"), "{why}");
    let why = life.addons.provide(Addon::Tailscale, json!({}), WITHIN, "config").await.unwrap_err();
    assert!(why.contains("tailscale"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_withdrawn_is_down_and_one_that_never_was_is_no_trouble() {
    let script = Script::new();
    script.forget_config();
    let life = live(&script).await;
    for addon in Addon::ALL {
        life.addons.withdraw(addon, "config").await.unwrap();
    }
    life.provide(json!({})).await.unwrap();
    life.addons.withdraw(Addon::Sshd, "config").await.unwrap();
    let part = life.status.addon(Addon::Sshd).borrow().clone();
    assert_eq!((part.state, part.process, part.crash_count), (State::Idle, None, 0));
}
