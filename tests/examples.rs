//! The simulations under `examples/` keep their promises: each checks itself and says so by its exit code.
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Runs a built simulation to its end and insists on success; all it said is shown if not.
fn plays(name: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_zlh")).with_file_name("examples").join(name);
    assert!(program.exists(), "{} is missing: run 'cargo build --examples'", program.display());
    // Without CARGO it takes the programs that are there instead of building them anew.
    let ended = Command::new(program).env_remove("CARGO").stdin(Stdio::null()).output();
    let ended = ended.unwrap_or_else(|e| panic!("{name} cannot be run: {e}"));
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ended.status.success() && said[0].contains("As promised"), "{name}: {}\n{}", ended.status, said.join("\n"));
}

#[test]
fn crash_loop() {
    plays("crash_loop");
}

#[test]
fn oom() {
    plays("oom");
}

#[test]
fn flapping() {
    plays("flapping");
}

#[test]
fn agent_killed() {
    plays("agent_killed");
}

#[test]
fn supervision_tree() {
    plays("supervision_tree");
}
