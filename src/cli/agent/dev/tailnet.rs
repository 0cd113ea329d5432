//! The tailscale addon on this machine: what its daemon needs, and joining.
use crate::{
    actors::dev_provision::world::Progress,
    host::tailscale::{self, KeyFile},
    model::{dev::Tailscale, settings::Settings},
    policy::addons::tailscale::{self as rules, Carrying, Told},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Its answers come at once.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Beyond the limit that the command was told itself.
const SLACK: Duration = Duration::from_secs(10);
/// Between daemon and command: the daemon knows within moments where it stands.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// States in which the daemon has not made up its mind.
const UNDECIDED: [&str; 3] = ["", "NoState", "Starting"];

pub fn carrying() -> Carrying {
    if tailscale::has_device() { Carrying::Device } else { Carrying::Userspace }
}

/// Blocking.
pub fn prepare(root: &Path) -> Result<(), String> {
    for program in ["tailscaled", "tailscale"] {
        let path = root.join(rules::SHELF).join("current").join(program);
        if !path.is_file() {
            return Err(format!("{} is not there; send the container's /config again", path.display()));
        }
    }
    let private = |folder: &str| {
        let folder = root.join(folder);
        tailscale::private_folder(&folder).map_err(|e| format!("{}: {e}", folder.display()))
    };
    private(rules::SECRETS)?;
    private(rules::RUN)
}

/// The command that talks to the daemon beneath one root.
pub struct Tailnet {
    program: PathBuf,
    socket: PathBuf,
    key: PathBuf,
}

impl Tailnet {
    pub fn beneath(root: &Path) -> Tailnet {
        Tailnet {
            program: root.join(rules::SHELF).join("current/tailscale"),
            socket: root.join(rules::socket()),
            key: root.join(rules::RUN).join("auth-key"),
        }
    }

    fn command(&self, words: &[&str]) -> Vec<String> {
        rules::command(&self.program, &self.socket, words)
    }

    /// Has a place in the wanted network afterwards; one that it has already is kept, and no key is used up.
    pub async fn join(&self, to: &Tailscale, settings: &Settings, progress: &Progress) -> Result<(), String> {
        let told = self.settled().await?;
        let here = self.server().await;
        let elsewhere = here.as_deref().is_some_and(|here| !same_server(here, &to.login_server));
        if told.has_joined() && !elsewhere {
            progress(&format!("tailscale: {}", told.in_words()), None);
            return Ok(());
        }
        progress(&format!("tailscale: joining {}", to.login_server), None);
        self.go_up(to, elsewhere && told.has_joined(), settings.tailscale.join_within).await?;
        let told = self.told().await?;
        match told.has_joined() {
            true => {
                tracing::info!(place = told.in_words(), server = to.login_server, "joined the private network");
                progress(&format!("tailscale: {}", told.in_words()), None);
                Ok(())
            }
            false => Err(format!("{} did not let it in: {}", to.login_server, told.in_words())),
        }
    }

    async fn go_up(&self, to: &Tailscale, anew: bool, within: Duration) -> Result<(), String> {
        let key = to.auth_key.as_ref().map(|key| KeyFile::write(&self.key, &key.0));
        let key = key.transpose().map_err(|e| format!("{}: {e}", self.key.display()))?;
        let words = rules::joining(to, key.as_ref().map(KeyFile::path), anew, within);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = tailscale::run(&self.command(&words), within + SLACK).await;
        said.map(drop).map_err(|why| {
            let why = to.auth_key.as_ref().map_or(why.clone(), |key| why.replace(&key.0, "[secret]"));
            let cure = match to.auth_key {
                Some(_) => "is the key still valid, and the server's address right?",
                None => "it has no place there yet: send tailscale.auth_key",
            };
            format!("{why}; {cure}")
        })
    }

    async fn told(&self) -> Result<Told, String> {
        rules::told(&tailscale::run(&self.command(&["status", "--json"]), ANSWERS_WITHIN).await?)
    }

    async fn settled(&self) -> Result<Told, String> {
        let until = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            let told = self.told().await?;
            if !UNDECIDED.contains(&told.backend_state.as_str()) || tokio::time::Instant::now() >= until {
                return Ok(told);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The server it knows, if it says so.
    async fn server(&self) -> Option<String> {
        let said = tailscale::run(&self.command(&["debug", "prefs"]), ANSWERS_WITHIN).await.ok()?;
        rules::server(&said)
    }
}

fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
