//! Dev containers: the real agent, an artifact server, keepers, and real shells as user `dev`.
mod deaths;
mod provisioning;
mod sessions;
mod ways;

use crate::{
    installs::rig::Rig,
    support::{Agent, Console},
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

/// Longer than anything here takes on a busy machine; nothing waits this long when all is well.
const SOON: Duration = Duration::from_secs(180);

fn config(version: &str) -> Value {
    json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": version})
}

/// An agent that has set up its container.
async fn running(rig: &Rig, flags: &[&str]) -> Agent {
    let agent = rig.agent(flags);
    agent.configure(&config("22")).await;
    agent.until_state("running", SOON).await;
    agent
}

async fn shell(agent: &Agent, query: &str) -> Console {
    let mut console = agent.console_v1(query).await;
    console.until_frame("hello", SOON).await;
    console
}

/// Names of the sessions whose keepers have a folder.
fn keepers(rig: &Rig) -> Vec<String> {
    let entries = fs::read_dir(rig.sandbox.root().join("run/zlh/k")).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.strip_prefix("shell-").map(str::to_owned)).collect()
}

/// Ends every shell, and the agent; idle keepers leave with it.
async fn finish(rig: &Rig, agent: Agent) {
    for session in keepers(rig) {
        let mut console = shell(&agent, &format!("?session={session}")).await;
        console.type_line("exit").await;
        console.until_frame("exit", SOON).await;
    }
    assert!(agent.terminate().success());
}
