//! The sshd addon on this machine: its package, its files, and a listener that hears of changes.
use super::surroundings;
use crate::{
    actors::dev_provision::world::Progress,
    host::{accounts::person, managed_file, openssh},
    model::{
        dev::{Ssh, USER},
        settings::Settings,
    },
    policy::addons::sshd as rules,
};
use std::{collections::BTreeMap, io, path::Path};

/// What the server finds out about each session itself.
const ITS_OWN: [&str; 5] = ["HOME", "USER", "LOGNAME", "SHELL", "TERM"];

/// Nothing where it is there already.
pub async fn install(settings: &Settings, progress: &Progress) -> Result<(), String> {
    if openssh::is_installed(Path::new(rules::PROGRAM)) {
        return Ok(());
    }
    let told = |line: &str| progress(&format!("installing sshd: {line}"), None);
    openssh::install(settings.sshd.install_patience, told).await
}

/// Who may come in; the listener looks at each login, and need not be told. Blocking.
pub fn write_keys(root: &Path, ssh: &Ssh) -> Result<(), String> {
    managed_file::edit(&root.join(rules::KEYS), |_| rules::keys(ssh).into_bytes()).map(drop).map_err(said)
}

/// Everything that a start needs; `false`: the listener's configuration is as it was. Blocking.
pub fn write_config(root: &Path, port: u16) -> Result<bool, String> {
    let text = rules::config(port, root, &environment(root)?);
    managed_file::edit(&root.join(rules::CONFIG), |_| text.into_bytes()).map_err(said)
}

/// Blocking.
pub fn prepare(root: &Path, port: u16) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("sshd lets others in only if it is root's: run the agent as root".into());
    }
    if !openssh::is_installed(Path::new(rules::PROGRAM)) {
        return Err(format!("{} is not there; send the container's /config again", rules::PROGRAM));
    }
    openssh::prepare(USER).map_err(said)?;
    openssh::ensure_host_key(&root.join(rules::SECRETS), rules::HOST_KEY).map_err(said)?;
    write_config(root, port)?;
    openssh::check(rules::PROGRAM, &root.join(rules::CONFIG)).map_err(said)
}

/// As other ways in have it.
fn environment(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let shell = person::shell(USER).map_err(said)?.display().to_string();
    let mut env = surroundings::of(root)?.launch(&shell);
    env.retain(|name, _| !ITS_OWN.contains(&name.as_str()));
    Ok(env)
}

fn said(e: io::Error) -> String {
    e.to_string()
}
