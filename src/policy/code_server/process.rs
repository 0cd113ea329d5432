//! Which processes are the editor. Its program is node, and no argument of it is `code-server` unless a path holds the
//! word; a terminal, a `grep` or a `tar` may have the word in theirs. So the whole shape counts:
//!
//! ```text
//! parent    R/lib/node  R  --bind-addr …           the one that was started; its pid is the editor's
//! listener  R/lib/node  R/out/node/entry           its child, which has the socket and outlives it for seconds
//! others    R/lib/node  … R/lib/vscode/out/bootstrap-fork --type=…
//! ```
use std::path::Path;

/// One process as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// `None` where this account may not look (another account's process).
    pub exe: Option<&'a Path>,
    pub argv: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Parent,
    Listener,
}

/// What it is of an editor that is installed beneath `shelf`, if anything.
pub fn role(seen: &Seen<'_>, shelf: &Path) -> Option<Role> {
    let install = Path::new(seen.argv.first()?).parent()?.parent()?;
    let is_node = Path::new(seen.argv.first()?) == install.join("lib/node");
    // Replaced while it runs, it is shown with this ending.
    let runs = |exe: &Path| {
        let shown = exe.to_string_lossy();
        let exe = Path::new(shown.trim_end_matches(" (deleted)"));
        exe.starts_with(shelf) && exe.ends_with("lib/node")
    };
    if !is_node || !is_version(install, shelf) || !seen.exe.is_none_or(runs) {
        return None;
    }
    let what = Path::new(seen.argv.get(1)?);
    match what {
        what if what == install => Some(Role::Parent),
        what if what == install.join("out/node/entry") => Some(Role::Listener),
        _ => None,
    }
}

/// The shelf itself (as earlier agents unpacked it), or one folder in it.
fn is_version(install: &Path, shelf: &Path) -> bool {
    install == shelf || install.parent() == Some(shelf)
}
