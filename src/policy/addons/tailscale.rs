//! A place in a private network: Tailscale's own programs against a Headscale server (or Tailscale's). The daemon is
//! supervised; joining is one command after it is up, and what it then knows it keeps, so that a later start needs no key.
//!
//! Never: another way out for this container's traffic (no exit node, no routes of others), or names resolved by
//! somebody else (no DNS takeover).
use crate::{
    model::{
        dev::Tailscale,
        settings::Settings,
        workload::{Readiness, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::game_server::command::Resolved,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

/// Id in the catalog's `addons`; also where versions of it lie beneath `/opt/zlh/services`.
pub const ID: &str = "tailscale";
/// Where versions of it lie beneath the root.
pub const SHELF: &str = "opt/zlh/services/tailscale";
/// What the network knows this machine by, beneath the root; nobody but root may pass.
pub const SECRETS: &str = "opt/zlh-agent/state/tailscale/machine";
/// Folder of the daemon's socket, beneath the root; nobody but root may pass.
pub const RUN: &str = "run/zlh/tailscale";
const SIGTERM: i32 = 15;
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How the daemon carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrying {
    /// By a network device of its own.
    Device,
    /// Itself, where containers have no `/dev/net/tun`: others reach this one's ports, and that is all an addon is for.
    Userspace,
}

/// Nothing of a configuration needs another daemon.
pub fn body() -> Value {
    json!({})
}

pub fn resolved(body: Value, root: &Path, carrying: Carrying, settings: &Settings) -> Resolved {
    let at = |path: &str| root.join(path).display().to_string();
    let mut argv = vec![
        at(&format!("{SHELF}/current/tailscaled")),
        format!("--statedir={}", at(SECRETS)),
        format!("--state={}/tailscaled.state", at(SECRETS)),
        format!("--socket={}", at(&socket())),
        format!("--port={}", settings.tailscale.port),
        // Nothing of what this container does is told to the makers.
        "--no-logs-no-support".to_owned(),
    ];
    if carrying == Carrying::Userspace {
        argv.push("--tun=userspace-networking".into());
    }
    let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("TS_NO_LOGS_NO_SUPPORT", "true")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let program = root.join(SHELF).join("current/tailscale");
    let probe = ReadyProbe::Command { argv: command(&program, &root.join(socket()), &["status", "--json"]) };
    let spec = WorkloadSpec {
        stop: vec![StopStep::Signal { signal: SIGTERM, wait: ENDS_WITHIN }],
        ready: Readiness { probe, within: settings.tailscale.ready_within },
        signatures: vec!["common".into()],
        ..WorkloadSpec::plain(ID, argv, root.join(SECRETS), env)
    };
    Resolved { spec: Arc::new(spec), shown: body.clone(), body, warnings: Vec::new() }
}

/// Of the daemon, beneath the root.
pub fn socket() -> String {
    format!("{RUN}/tailscaled.sock")
}

/// A command to the daemon that listens at `socket`.
pub fn command(program: &Path, socket: &Path, words: &[&str]) -> Vec<String> {
    let own = [program.display().to_string(), format!("--socket={}", socket.display())];
    own.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
}

/// Words that join. The key is named by its file: a command line can be read by everybody.
pub fn joining(to: &Tailscale, key: Option<&Path>, anew: bool, within: Duration) -> Vec<String> {
    let mut words = vec![
        "up".to_owned(),
        format!("--login-server={}", to.login_server),
        format!("--hostname={}", to.hostname),
        "--accept-dns=false".into(),
        "--accept-routes=false".into(),
        // What somebody set by hand beside this goes back to what it is without anybody's word: no exit node, no SSH.
        "--reset".into(),
        format!("--timeout={}s", within.as_secs().max(1)),
    ];
    words.extend(key.map(|file| format!("--auth-key=file:{}", file.display())));
    if anew {
        words.push("--force-reauth".into());
    }
    words
}

/// `tailscale status --json`, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Told {
    pub backend_state: String,
    pub health: Option<Vec<String>>,
    #[serde(rename = "Self")]
    pub own: Option<Own>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Own {
    #[serde(rename = "TailscaleIPs")]
    pub addresses: Option<Vec<String>>,
    pub host_name: String,
}

/// What was told; text that is no such JSON is an error for a person.
pub fn told(text: &str) -> Result<Told, String> {
    serde_json::from_str(text).map_err(|e| format!("`tailscale status --json` says what is no status: {e}"))
}

/// The server in `tailscale debug prefs`.
pub fn server(prefs: &str) -> Option<String> {
    let prefs: Value = serde_json::from_str(prefs).ok()?;
    prefs.get("ControlURL")?.as_str().filter(|url| !url.is_empty()).map(str::to_owned)
}

impl Told {
    /// It has a place in the network now.
    pub fn has_joined(&self) -> bool {
        self.backend_state == "Running"
    }

    /// Under which addresses others reach it, or why they do not.
    pub fn in_words(&self) -> String {
        let own = self.own.clone().unwrap_or_default();
        match self.has_joined() {
            true => format!("{} at {}", own.host_name, own.addresses.unwrap_or_default().join(", ")),
            false => {
                format!("it is in state {}: {}", self.backend_state, self.health.clone().unwrap_or_default().join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Secret;

    fn network() -> Tailscale {
        Tailscale {
            login_server: "https://hs.example".into(),
            auth_key: Some(Secret("tskey-S3CRET".into())),
            hostname: "dev-6001".into(),
        }
    }

    #[test]
    fn no_key_is_in_a_command_line_and_nothing_of_this_machine_is_given_away() {
        let words = joining(&network(), Some(Path::new("/run/key")), false, Duration::from_secs(60)).join(" ");
        assert_eq!(
            words,
            "up --login-server=https://hs.example --hostname=dev-6001 --accept-dns=false --accept-routes=false --reset \
             --timeout=60s --auth-key=file:/run/key"
        );
        assert!(!words.contains("exit-node") && !words.contains("S3CRET"));
        let again = joining(&network(), None, true, Duration::from_millis(1)).join(" ");
        assert!(again.ends_with("--timeout=1s --force-reauth"), "{again}");
    }

    #[test]
    fn the_daemon_keeps_its_state_and_carries_packets_as_it_can() {
        let settings = Settings::default();
        let argv = |carrying| resolved(body(), Path::new("/"), carrying, &settings).spec.argv.join(" ");
        let device = argv(Carrying::Device);
        assert!(device.starts_with("/opt/zlh/services/tailscale/current/tailscaled --statedir=/opt/zlh-agent/state/"));
        assert!(device.contains("--no-logs-no-support") && !device.contains("--tun"), "{device}");
        assert!(argv(Carrying::Userspace).ends_with("--tun=userspace-networking"));
    }

    #[test]
    fn its_own_words_are_read_leniently() {
        let up = told(
            r#"{"Version":"1","BackendState":"Running","Health":null,
            "Self":{"ID":"1","HostName":"dev-6001","TailscaleIPs":["100.64.0.3","fd7a::3"]},"Peer":{}}"#,
        );
        let up = up.unwrap();
        assert!(up.has_joined());
        assert_eq!(up.in_words(), "dev-6001 at 100.64.0.3, fd7a::3");
        let down = told(r#"{"BackendState":"NeedsLogin","Health":["not logged in"],"Self":null}"#).unwrap();
        assert_eq!((down.has_joined(), down.in_words()), (false, "it is in state NeedsLogin: not logged in".into()));
        assert_eq!(server(r#"{"ControlURL":"https://hs","RouteAll":false}"#), Some("https://hs".into()));
        assert_eq!((server("no"), server(r#"{"ControlURL":""}"#)), (None, None));
        assert!(told("Tailscale is stopped.").unwrap_err().contains("no status"));
    }
}
