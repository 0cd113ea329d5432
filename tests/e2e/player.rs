//! A real Minecraft player (mineflayer), one process a visit.
use crate::{
    it::support::{Sandbox, eventually_now},
    parts::part,
    play::PATIENCE,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// Dropped before [`Player::gone`] it is killed.
pub struct Player {
    child: Child,
    notes: Arc<Mutex<String>>,
}

impl Player {
    pub fn join(sandbox: &Sandbox, port: u16, options: &[&str]) -> Player {
        let mut child = Command::new(part("NODE"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/mc-join.mjs"))
            .arg(format!("127.0.0.1:{port}"))
            .args(options)
            .env("MC_CLIENT", part("MC_CLIENT"))
            .env("ZLH_TEST_ID", sandbox.marker())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let notes = Arc::new(Mutex::new(String::new()));
        let (stderr, noting) = (child.stderr.take().unwrap(), notes.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *noting.lock().unwrap() += &(line + "\n");
            }
        });
        Player { child, notes }
    }

    /// Waits until the player has seen this.
    pub fn sees(&self, text: &str) {
        let seen = eventually_now(PATIENCE, || self.notes.lock().unwrap().contains(text).then_some(()));
        assert!(seen.is_some(), "the player never saw {text:?}:\n{}", self.notes.lock().unwrap());
    }

    /// Asks the player to leave the game.
    pub fn leave(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap(); // our own child, not yet waited for
    }

    /// How the visit was, once it has ended as it should.
    pub fn gone(mut self) -> Value {
        let ended = eventually_now(PATIENCE, || self.child.try_wait().unwrap());
        let notes = self.notes.lock().unwrap().clone();
        let ended = ended.unwrap_or_else(|| panic!("the player is still there:\n{notes}"));
        let mut answer = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert!(ended.success(), "{ended}: {answer}\n{notes}");
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}
