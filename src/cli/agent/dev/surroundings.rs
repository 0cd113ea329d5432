//! What shells find on this machine: the active runtimes, put into the files that shells read.
use super::records;
use crate::{
    host::{dev_home, managed_file, runtimes, store::Store},
    model::dev::USER,
    policy::{
        dev_provision::Memory,
        environment::{self, Place, Surroundings, with_block},
    },
};
use std::path::Path;

/// As things are now. Blocking.
pub fn of(root: &Path) -> Result<Surroundings, String> {
    let runtimes = runtimes::active(root).map_err(|e| format!("the runtimes cannot be listed: {e}"))?;
    let home = dev_home::places(root).0.display().to_string();
    Ok(Surroundings { home, user: USER.into(), runtimes })
}

/// Makes every file what it should be; those that are so already are not touched. Blocking.
pub fn write(root: &Path) -> Result<(), String> {
    let of = of(root)?;
    let whole = |file: &str, text: String| managed_file::edit(&root.join(file), |_| text.into_bytes());
    let block = |file: &str, lines: String, place| {
        managed_file::edit(&root.join(file), |present| with_block(present, &lines, place))
    };
    let hook = environment::hook(&root.display().to_string());
    let mut done = vec![
        whole(environment::PROFILE, environment::posix(&of)),
        block(environment::PAM, environment::pam(&of), Place::Last),
        block(environment::BASH, hook.clone(), Place::First),
    ];
    // Where a shell is not installed, its package would ask about a file that it did not bring.
    if has(root, environment::ZSH) {
        done.push(block(environment::ZSH, hook, Place::Last));
    }
    if root.join("etc/fish").is_dir() {
        done.push(whole(environment::FISH, environment::fish(&of)));
    }
    done.into_iter().collect::<Result<Vec<bool>, _>>().map(drop).map_err(|e| e.to_string())
}

/// What the container was given, as its configuration says: the most that one way in may use. Blocking.
pub fn memory_limit(root: &Path) -> Option<u64> {
    let saved = Store::open(root.join("opt/zlh-agent/state")).and_then(|store| store.load::<Memory>(records::NAME));
    let megabytes = saved.ok()??.config?.get("memory_mb")?.as_u64()?;
    Some(megabytes << 20)
}

fn has(root: &Path, file: &str) -> bool {
    root.join(file).parent().is_some_and(Path::is_dir)
}

/// Beneath another root than `/` no shell reads our files by itself: the home's own profile does it.
pub fn own_profile(root: &Path) -> Option<String> {
    (root != Path::new("/")).then(|| environment::hook(&root.display().to_string()))
}
