//! What a shell in a dev container finds in its environment, the same whichever way somebody came in.
//!
//! ```text
//!  login shell ─────────────► /etc/profile ─► profile.d/zlh.sh ┐
//!  bash -i, ssh HOST command ► /etc/bash.bashrc (first lines) ─┤
//!  zsh, every one ──────────► /etc/zsh/zshenv ─────────────────┼─► the same PATH and variables
//!  fish, every one ─────────► /etc/fish/conf.d/zlh.fish ───────┤
//!  su, ssh, cron: sh -c ────► PAM ─► /etc/environment ─────────┤ (without the folders in the home)
//!  our own terminals, IDE ──► given by the keeper ─────────────┘
//! ```
//! Rules: only the account of the dev container is touched (by its home); a value that somebody set themselves stays; in
//! `PATH` whatever is not ours keeps its side; a runtime is named by its `current` link, so another active version is
//! there in the next shell, without any file being written.
//!
//! `/etc/environment` is read for every account, root's too: no folder that `dev` can write to is named in it.
mod block;
mod scripts;

pub use block::{Place, with_block};
pub use scripts::{fish, hook, pam, posix};

use crate::model::dev::ActiveRuntime;
use std::{collections::BTreeMap, path::Path};

/// Where each file lies beneath the root.
pub const PROFILE: &str = "etc/profile.d/zlh.sh";
pub const FISH: &str = "etc/fish/conf.d/zlh.fish";
pub const PAM: &str = "etc/environment";
pub const BASH: &str = "etc/bash.bashrc";
pub const ZSH: &str = "etc/zsh/zshenv";

/// What every account of this machine has; games too, as Debian's own default has them.
const SYSTEM_FOLDERS: [&str; 8] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/games", "/usr/games"];
/// Where package tools put a person's own programs, relative to the home.
const HOME_FOLDERS: [&str; 4] = [".local/bin", ".npm-global/bin", "go/bin", ".dotnet/tools"];
/// There on every Debian, also without the package `locales`.
const LANG: &str = "C.UTF-8";
const TERM: &str = "xterm-256color";

/// Everything the environment is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The account's home as it is on this machine.
    pub home: String,
    pub user: String,
    pub runtimes: Vec<ActiveRuntime>,
}

/// Where a variable's value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// The same for everybody.
    Fixed(String),
    /// Relative to the home.
    InHome(&'static str),
}

impl Surroundings {
    /// What a program gets that nobody's shell prepares: terminals, the editor, its tasks.
    pub fn launch(&self, shell: &str) -> BTreeMap<String, String> {
        let own = [
            ("HOME", self.home.as_str()),
            ("USER", &self.user),
            ("LOGNAME", &self.user),
            ("SHELL", shell),
            ("TERM", TERM),
            ("LANG", LANG),
        ];
        let mut all: BTreeMap<String, String> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        all.insert("PATH".into(), self.folders().join(":"));
        all.extend(self.variables().into_iter().map(|(name, value)| (name.to_owned(), self.text(&value))));
        all
    }

    /// Folders of `PATH`, in order: one's own programs first, then the runtimes', then the system's.
    fn folders(&self) -> Vec<String> {
        let own = HOME_FOLDERS.map(|folder| format!("{}/{folder}", self.home));
        own.into_iter().chain(self.shared_folders()).collect()
    }

    /// The same without those that the account itself can write to.
    fn shared_folders(&self) -> impl Iterator<Item = String> {
        let of_runtimes = self.runtimes.iter().flat_map(programs);
        of_runtimes.chain(SYSTEM_FOLDERS.map(str::to_owned))
    }

    fn variables(&self) -> Vec<(&'static str, Value)> {
        self.runtimes.iter().flat_map(variables_of).collect()
    }

    fn text(&self, value: &Value) -> String {
        match value {
            Value::Fixed(text) => text.clone(),
            Value::InHome(folder) => format!("{}/{folder}", self.home),
        }
    }
}

fn programs(runtime: &ActiveRuntime) -> Vec<String> {
    let of = |folder: &String| shown(&runtime.home.join(folder));
    match runtime.bin.is_empty() {
        true => vec![shown(&runtime.home)],
        false => runtime.bin.iter().map(of).collect(),
    }
}

/// What the tools of a runtime need besides `PATH`. A runtime's own folder belongs to root: what people install
/// themselves goes to their home.
fn variables_of(runtime: &ActiveRuntime) -> Vec<(&'static str, Value)> {
    let home = || Value::Fixed(shown(&runtime.home));
    match runtime.id.as_str() {
        "java" => vec![("JAVA_HOME", home())],
        "go" => vec![("GOROOT", home()), ("GOPATH", Value::InHome("go"))],
        "dotnet" => vec![("DOTNET_ROOT", home())],
        "node" => vec![("NPM_CONFIG_PREFIX", Value::InHome(".npm-global"))],
        "python" => vec![("PYTHONUSERBASE", Value::InHome(".local"))],
        _ => Vec::new(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn surroundings() -> Surroundings {
        let runtime = |id: &str, bin: &[&str]| ActiveRuntime {
            id: id.into(),
            home: format!("/opt/zlh/runtimes/{id}/current").into(),
            bin: bin.iter().map(|b| b.to_string()).collect(),
        };
        let runtimes = vec![runtime("dotnet", &[]), runtime("java", &["bin"]), runtime("node", &["bin"])];
        Surroundings { home: "/home/dev".into(), user: "dev".into(), runtimes }
    }

    #[test]
    fn a_launched_program_finds_everything() {
        let env = surroundings().launch("/bin/bash");
        assert_eq!(
            env["PATH"],
            "/home/dev/.local/bin:/home/dev/.npm-global/bin:/home/dev/go/bin:/home/dev/.dotnet/tools:\
             /opt/zlh/runtimes/dotnet/current:/opt/zlh/runtimes/java/current/bin:/opt/zlh/runtimes/node/current/bin:\
             /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"
        );
        for (name, value) in [
            ("HOME", "/home/dev"),
            ("USER", "dev"),
            ("LOGNAME", "dev"),
            ("SHELL", "/bin/bash"),
            ("TERM", "xterm-256color"),
            ("LANG", "C.UTF-8"),
            ("JAVA_HOME", "/opt/zlh/runtimes/java/current"),
            ("DOTNET_ROOT", "/opt/zlh/runtimes/dotnet/current"),
            ("NPM_CONFIG_PREFIX", "/home/dev/.npm-global"),
        ] {
            assert_eq!(env[name], value, "{name}");
        }
        assert!(!env.keys().any(|name| name.contains("TOKEN")), "{env:?}");
    }

    #[test]
    fn what_everybody_reads_names_nothing_the_account_can_write_to() {
        let text = pam(&surroundings());
        assert!(text.contains("PATH=") && text.contains("JAVA_HOME="), "{text}");
        assert!(!text.contains("/home/dev"), "{text}");
    }
}
