//! Where settings come from: defaults, agent.toml, environment, flags; every fault is reported at once.
//!
//! Later sources win: defaults < `<root>/etc/zlh-agent/agent.toml` (or `--config`) < `ZLH_*` < `--set` < flags of their
//! own. A faulty value is a fault even where a later source would have won: it waits to be found on a bad day.
pub mod artifacts;
mod file;
pub mod gateway;
mod loading;
mod origin;
mod show;
mod table;
mod token;
mod value;

pub use origin::{Fault, Origin, Origins};
pub use show::{document, show, show_all};
pub use table::{Setting, table};

use crate::model::settings::Settings;
use loading::{Entry, Loading, Rules, flag_entries};
use std::path::PathBuf;

/// Everything that may say something about settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`: this file, which then must exist.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with `ZLH_` are looked at.
    pub env: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
    /// Flags of their own, as key and value: `("listen", "127.0.0.1:0")` for `--listen`.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// With the environment of this process; names and values that are not UTF-8 are left out.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>, flags: Vec<(&'static str, String)>) -> Sources {
        let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Sources { file, env: env.collect(), set, flags }
    }
}

/// Names that do not follow the rule, and the key each stands for.
const COMPATIBLE_NAMES: [(&str, &str); 3] = [
    ("ZLH_AGENT_TOKEN", "token"),
    ("ZLH_AGENT_UPDATE_MODE", "agent.update_mode"),
    ("ZLH_AGENT_UPDATE_INTERVAL", "agent.update_interval"),
];

/// All sources together, or everything that is wrong with them.
pub fn load(sources: Sources) -> Result<(Settings, Origins), Vec<Fault>> {
    let mut loading = Loading::of_agent();
    let env = loading.environment(&sources.env);
    let set = loading.set_flags(&sources.set);
    let late: Vec<Entry> = env.into_iter().chain(set).chain(flag_entries(&sources.flags)).collect();
    // The file lies under the root, and the root may be named by what comes after the file.
    let file = loading.file(sources.file.as_deref(), &late, ("root", "/", "etc/zlh-agent/agent.toml"));
    for entry in file.iter().chain(&late) {
        loading.apply(entry);
    }
    token::settle(&mut loading.settings, &mut loading.origins, &mut loading.faults);
    loading.check_together();
    if loading.faults.is_empty() { Ok((loading.settings, loading.origins)) } else { Err(loading.faults) }
}

impl Loading<Settings> {
    fn of_agent() -> Loading<Settings> {
        Loading::new(Rules { table: table(), prefix: "ZLH_", names: &COMPATIBLE_NAMES })
    }

    /// What no single value can tell.
    fn check_together(&mut self) {
        let s = &self.settings;
        if s.console.replay_bytes > s.console.scrollback_bytes {
            let origin = self.origins.of("console.replay_bytes");
            let problem = "more than console.scrollback_bytes, so it could never be kept";
            self.faults.push(Fault::new(origin, "console.replay_bytes", problem));
        }
        if s.limits.config_bytes > s.limits.body_bytes {
            let origin = self.origins.of("limits.config_bytes");
            self.faults.push(Fault::new(origin, "limits.config_bytes", "more than limits.body_bytes lets in"));
        }
        let open = s.token.is_none() && !s.allow_unauthenticated && !s.listen.ip().to_canonical().is_loopback();
        // A token that was named but could not be read is told by itself.
        if open && !self.faults.iter().any(|fault| fault.key.starts_with("token")) {
            let problem = format!(
                "there is none, and {} can be reached from outside: name a file by --token-file, or set ZLH_AGENT_TOKEN, \
                 or listen on 127.0.0.1, or say allow_unauthenticated if the network is trusted",
                s.listen
            );
            self.faults.push(Fault::new(self.origins.of("token"), "token", problem));
        }
    }
}

#[cfg(test)]
mod tests;
