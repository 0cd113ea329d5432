//! Which processes are the editor. Its program is node, and no argument of it is `code-server` unless a path holds the
//! word; a terminal, a `grep` or a `tar` may have the word in theirs. So the whole shape counts:
//!
//! ```text
//! parent    R/lib/node  R  --bind-addr …           the one that was started; its pid is the editor's
//! listener  R/lib/node  R/out/node/entry           its child, which has the socket and outlives it for seconds
//! others    R/lib/node  … R/lib/vscode/out/bootstrap-fork --type=…
//! ```
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Parent,
    Listener,
}

/// What a process says that it is by its command line, of an editor that is installed beneath `shelf`. This is asked of
/// every process of the machine: it allocates nothing, and most of them are out at the first comparison.
pub fn claims(command_line: &[u8], shelf: &Path) -> Option<Role> {
    if !command_line.starts_with(shelf.as_os_str().as_bytes()) {
        return None;
    }
    let mut words = command_line.split(|b| *b == 0).map(|word| Path::new(OsStr::from_bytes(word)));
    let (program, what) = (words.next()?, words.next()?);
    let install = program.parent()?.parent()?;
    if !is_version(install, shelf) || program.strip_prefix(install) != Ok(Path::new("lib/node")) {
        return None;
    }
    match what {
        what if what == install => Some(Role::Parent),
        what if what.strip_prefix(install) == Ok(Path::new("out/node/entry")) => Some(Role::Listener),
        _ => None,
    }
}

/// Is the program that such a process really runs the editor's own? `None` where this account may not look (a process
/// of another account).
pub fn is_its_program(exe: Option<&Path>, shelf: &Path) -> bool {
    let Some(exe) = exe else { return true };
    // Replaced while it runs, it is shown with this ending.
    let shown = exe.as_os_str().as_bytes();
    let exe = Path::new(OsStr::from_bytes(shown.strip_suffix(b" (deleted)").unwrap_or(shown)));
    exe.starts_with(shelf) && exe.ends_with("lib/node")
}

/// The shelf itself (as earlier agents unpacked it), or one folder in it.
fn is_version(install: &Path, shelf: &Path) -> bool {
    install == shelf || install.parent() == Some(shelf)
}
