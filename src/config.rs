//! Where settings come from: defaults, agent.toml, environment, flags; every fault is reported at once.
//!
//! Later sources win: defaults < `<root>/etc/zlh-agent/agent.toml` (or `--config`) < `ZLH_*` < `--set` < flags of their
//! own. A faulty value is a fault even where a later source would have won: it waits to be found on a bad day.
mod file;
mod origin;
mod show;
mod table;
mod token;
mod value;

pub use origin::{Fault, Origin, Origins};
pub use show::{document, show};
pub use table::{Setting, table};

use crate::model::settings::Settings;
use std::path::{Path, PathBuf};

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

/// One `key = value` with the place it was found.
struct Entry {
    key: String,
    value: String,
    origin: Origin,
}

/// Names that do not follow the rule, and the key each stands for.
const COMPATIBLE_NAMES: [(&str, &str); 3] = [
    ("ZLH_AGENT_TOKEN", "token"),
    ("ZLH_AGENT_UPDATE_MODE", "agent.update_mode"),
    ("ZLH_AGENT_UPDATE_INTERVAL", "agent.update_interval"),
];

/// All sources together, or everything that is wrong with them.
pub fn load(sources: Sources) -> Result<(Settings, Origins), Vec<Fault>> {
    let mut loading = Loading::default();
    let env = loading.environment(&sources.env);
    let set = loading.set_flags(&sources.set);
    let flags = sources.flags.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: value.clone(),
        origin: Origin::Flag(format!("--{}", key.replace(['_', '.'], "-"))),
    });
    let late: Vec<Entry> = env.into_iter().chain(set).chain(flags).collect();
    let file = loading.file(sources.file.as_deref(), &late);
    for entry in file.iter().chain(&late) {
        loading.apply(entry);
    }
    token::settle(&mut loading.settings, &mut loading.origins, &mut loading.faults);
    loading.check_together();
    if loading.faults.is_empty() { Ok((loading.settings, loading.origins)) } else { Err(loading.faults) }
}

#[derive(Default)]
struct Loading {
    settings: Settings,
    origins: Origins,
    faults: Vec<Fault>,
}

impl Loading {
    fn environment(&mut self, env: &[(String, String)]) -> Vec<Entry> {
        let mut out = Vec::new();
        let mut ours: Vec<&(String, String)> =
            env.iter().filter(|(k, v)| k.starts_with("ZLH_") && !v.is_empty()).collect();
        ours.sort();
        for (name, value) in ours {
            let compatible = COMPATIBLE_NAMES.iter().find(|(known, _)| known == name).map(|(_, key)| (*key).to_owned());
            let key = compatible.unwrap_or_else(|| name["ZLH_".len()..].to_ascii_lowercase().replace("__", "."));
            let origin = Origin::Environment(name.clone());
            if is_known(&key) || is_ours_by_group(&key) {
                out.push(Entry { key, value: value.clone(), origin });
            } else {
                // Other parts of the platform have variables of this prefix too.
                self.origins.notes.push(format!("{name} is no setting of the agent and was ignored"));
            }
        }
        out
    }

    fn set_flags(&mut self, set: &[String]) -> Vec<Entry> {
        let mut out = Vec::new();
        for text in set {
            match text.split_once('=') {
                Some((key, value)) => {
                    out.push(Entry { key: key.trim().into(), value: value.into(), origin: Origin::Set });
                }
                None => self.faults.push(Fault::new(Origin::Set, text, "write it as key=value")),
            }
        }
        out
    }

    /// The file lies under the root, and the root may be named by what comes after the file.
    fn file(&mut self, named: Option<&Path>, late: &[Entry]) -> Vec<Entry> {
        let root = late.iter().rev().find(|entry| entry.key == "root").map_or("/", |entry| &entry.value);
        let usual = Path::new(root).join("etc/zlh-agent/agent.toml");
        file::entries(named.unwrap_or(&usual), named.is_some(), &mut self.faults)
    }

    fn apply(&mut self, entry: &Entry) {
        let fault = |problem: String| Fault::new(entry.origin.clone(), &entry.key, problem);
        let Some(setting) = table::find(&entry.key) else {
            if table::LATER.contains(&entry.key.as_str()) {
                let note = format!("{} ({}) has no effect in this version", entry.key, entry.origin);
                self.origins.notes.push(note);
            } else {
                self.faults.push(fault(no_such(&entry.key)));
            }
            return;
        };
        if setting.is_secret() && !matches!(entry.origin, Origin::Environment(_)) {
            self.faults
                .push(fault("others could read it there; write it to a file and name that by token_file".into()));
            return;
        }
        let slot = (setting.slot)(&mut self.settings);
        let allowed = slot.allowed();
        match slot.set(&entry.value) {
            Ok(()) => self.origins.set(setting.key, entry.origin.clone()),
            Err(_) if setting.is_secret() => self.faults.push(fault(format!("unusable; allowed: {allowed}"))),
            Err(why) => self.faults.push(fault(format!("{:?}: {why}; allowed: {allowed}", shortened(&entry.value)))),
        }
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

fn is_known(key: &str) -> bool {
    table::find(key).is_some() || table::LATER.contains(&key)
}

/// `restart.backof`: the group is ours, so it is a slip and not somebody else's variable.
fn is_ours_by_group(key: &str) -> bool {
    let group = |key: &str| key.split_once('.').map(|(group, _)| group.to_owned());
    group(key).is_some_and(|own| table().iter().any(|setting| group(setting.key).as_ref() == Some(&own)))
}

fn no_such(key: &str) -> String {
    match table::nearest(key) {
        Some(near) => format!("no such setting; did you mean {near}?"),
        None => "no such setting; `zlh config show --default` lists all".into(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
