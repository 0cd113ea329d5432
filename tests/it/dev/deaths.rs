//! The agent is killed in the middle of the set-up, at each step, before and after; the next life finishes it.
#![cfg(feature = "failpoints")]
use super::{SOON, config, finish};
use crate::{
    installs::rig::Rig,
    support::{Agent, eventually_now},
};
use reqwest::Method;
use std::path::Path;

#[tokio::test]
async fn killed_at_any_step_the_next_life_finishes() {
    for point in ["agent.before_dev_step", "agent.after_dev_step"] {
        for step in 1..=5 {
            let rig = Rig::new();
            let mut flags = vec!["--allow-unauthenticated".to_owned()];
            flags.extend(rig.flags(&[]));
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let fail = format!("{point}:kill9@{step}");
            let program = Path::new(env!("CARGO_BIN_EXE_zlh"));
            let mut agent = Agent::spawn(program, &rig.sandbox, &flags, &[("ZLH_FAIL", &fail)]);
            assert!(agent.listens());
            // Who got no answer knows nothing; who got one is owed a dev container.
            let answer = agent.try_call(Method::POST, "/config", Some(&config("22"))).await;
            let ended = eventually_now(SOON, || agent.ended());
            assert!(ended.is_some_and(|status| !status.success()), "{fail} never struck");
            let agent = rig.agent(&[]);
            if answer.is_err() && agent.status().await["containerType"] == "game" {
                agent.configure(&config("22")).await;
            }
            let status = agent.until_state("running", SOON).await;
            assert_eq!(status["devProvisioned"], true, "{fail}: {status:#}");
            let operations = agent.get("/operations").await.json();
            let configs: Vec<_> = operations["operations"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|o| o["kind"] == "config")
                .map(|o| &o["state"])
                .collect();
            assert_eq!(configs, ["done"], "{fail}");
            finish(&rig, agent).await;
        }
    }
}
