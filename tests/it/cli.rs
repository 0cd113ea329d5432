//! The command line against an agent that is played here word for word (CONTRACT.md): it stands for the wire, not for
//! the product. Terminals are real ones (openpty).
mod answers;
mod console;
mod logs;
mod machine;
mod manual;
mod power;
mod rendering;
mod script;
mod terminal;

pub use script::{Reply, Script, TOKEN};
pub use terminal::Terminal;

use std::{process::Output, time::Duration};
use tokio::process::Command;

pub const PATIENCE: Duration = Duration::from_secs(120);

/// `zlh` with the played agent's address and token, nothing of ours in the environment.
pub fn zlh(agent: &Script, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.env_clear().env("ZLH_URL", agent.url()).env("ZLH_AGENT_TOKEN", TOKEN).env("TERM", "xterm");
    command.args(words).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(agent: &Script, words: &[&str]) -> Output {
    let ended = tokio::time::timeout(PATIENCE, zlh(agent, words).stdin(std::process::Stdio::null()).output());
    ended.await.unwrap_or_else(|_| panic!("zlh {words:?} did not end")).unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
