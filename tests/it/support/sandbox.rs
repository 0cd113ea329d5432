//! A test's own place: a folder that any user may enter, a fake game everybody may run, a marker on every process.
use super::{Agent, leaks};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Dropping it ends every process of the test; if the test had passed so far and there was one, it fails.
pub struct Sandbox {
    folder: TempDir,
    /// How long processes may take to go away after the last agent has ended.
    pub quiet_within: Duration,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let open = fs::Permissions::from_mode(0o755); // games run as another user and must get in
        let folder = tempfile::Builder::new().prefix("zlh-it-").permissions(open.clone()).tempdir().unwrap();
        for sub in ["root", "bin"] {
            fs::create_dir(folder.path().join(sub)).unwrap();
            fs::set_permissions(folder.path().join(sub), open.clone()).unwrap();
        }
        Sandbox { folder, quiet_within: Duration::from_secs(60) }
    }

    /// What `--root` is.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Unique to this test; every process started here carries it. (`ZLH_TEST_ID` in the environment.)
    pub fn marker(&self) -> &str {
        self.folder.path().to_str().expect("temporary folders have plain names")
    }

    /// Standard error of all agents started here, in order.
    pub fn agent_log(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }

    /// A copy of the fake game that an unprivileged user can run (the build folder may be closed to them).
    pub fn fake_game(&self) -> PathBuf {
        let copy = self.folder.path().join("bin/fake_game");
        if !copy.exists() {
            let built = Path::new(env!("CARGO_BIN_EXE_zlh")).with_file_name("examples").join("fake_game");
            assert!(built.exists(), "{} is missing: run 'cargo build --example fake_game'", built.display());
            install(&built, &copy);
        }
        copy
    }

    /// A `/config` body that runs the fake game with these flags, proven ready by its `Done` line.
    pub fn fake_game_config(&self, flags: &[&str]) -> Value {
        let mut command = vec![self.fake_game().display().to_string()];
        command.extend(flags.iter().map(|f| (*f).to_owned()));
        json!({
            "vmid": 5100, "game": "custom", "command": command, "workdir": "fake", "memory_mb": 256,
            "env": {"ZLH_TEST_ID": self.marker()},
            "stop": [{"stdin": "stop", "wait": "5s"}, {"signal": "SIGTERM", "wait": "5s"}],
            "ready": {"kind": "log", "pattern": "Done \\(", "within": "120s"},
        })
    }

    /// Starts a real agent here, open to everyone on a port of its own; `flags` come last and win.
    pub fn agent(&self, flags: &[&str]) -> Agent {
        let mut all = vec!["--allow-unauthenticated"];
        all.extend(flags);
        Agent::start(Path::new(env!("CARGO_BIN_EXE_zlh")), self, &all)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let marker = self.marker().to_owned();
        if thread::panicking() {
            let log = fs::read_to_string(self.agent_log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- agent log, last lines ---");
            tail.iter().rev().for_each(|l| eprintln!("{l}"));
            return leaks::end_all(&marker);
        }
        let quiet = super::eventually_now(self.quiet_within, || leaks::strays(&marker).is_empty().then_some(()));
        let left = leaks::strays(&marker);
        leaks::end_all(&marker);
        assert!(quiet.is_some(), "the test left processes behind: {left:?}");
    }
}

/// Copies a program so that everybody may run it. By a process of its own: if this one had the file open for writing
/// while another test forks, running it would fail with "text file busy".
pub fn install(from: &Path, to: &Path) {
    let done = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(done.success(), "install {} {}: {done}", from.display(), to.display());
}
