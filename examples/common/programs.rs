//! The programs of the simulations: found beside them, built where needed, an agent started.
use super::{Play, check};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Starts an agent and waits for its `listening agent http://…` line.
pub fn raise(root: &Path, listen: &str, settings: &[String]) -> Play<(Child, String)> {
    let log = fs::OpenOptions::new().create(true).append(true).open(root.join("agent.log"))?;
    let mut command = Command::new(programs()?.join("zlh"));
    command.arg("agent").arg("--root").arg(root).args(["--listen", listen, "--allow-unauthenticated"]);
    for setting in settings.iter().map(String::as_str).chain(["on_agent_stop=stop"]) {
        command.args(["--set", setting]);
    }
    let mut agent = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let stdout = agent.stdout.take().ok_or("the agent has no standard output")?;
    let said = BufReader::new(stdout).lines().next().transpose()?.unwrap_or_default();
    match said.strip_prefix("listening agent http://") {
        Some(address) => Ok((agent, address.to_owned())),
        None => Err(format!("the agent does not listen:\n{}", fs::read_to_string(root.join("agent.log"))?).into()),
    }
}

/// `target/<profile>`: simulations lie in its folder `examples`.
pub fn programs() -> Play<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.ancestors().nth(2).ok_or("this program lies in no target folder")?.to_owned())
}

/// Under `cargo run` the agent and the fake game are brought up to date; else only what is missing is built.
pub fn build() -> Play {
    let programs = programs()?;
    let there = programs.join("zlh").exists() && programs.join("examples/fake_game").exists();
    if there && env::var_os("CARGO").is_none() {
        return Ok(());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--bin", "zlh", "--example", "fake_game"]);
    if programs.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    check(built.success(), format!("the agent could not be built: {built}"))
}
