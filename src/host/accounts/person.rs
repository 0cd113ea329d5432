//! The account of a person: with a home, a shell, and a group of its own name.
use super::{Account, GROUP, PASSWD, entries, look_up, read};
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

const SHELL: &str = "/bin/bash";
const SHADOW: &str = "/etc/shadow";
/// Every Debian has it.
const LAST_RESORT: &str = "/bin/sh";
/// Programs that passwd(5) lists as shells of those who may not log in.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// The account, made as useradd(8) does if there is none. One that is there keeps its number, groups and shell; its home
/// becomes `home`. The folder itself is not touched.
pub fn ensure(name: &str, home: &Path) -> io::Result<Account> {
    let account = match look_up(name)? {
        Some(account) => account,
        None => create(name, home)?,
    };
    if account.uid == 0 {
        return Err(io::Error::other(format!("account {name} is root: rename it, or remove it from {PASSWD}")));
    }
    Ok(account)
}

/// Homes are compared as text: that is how login(1) takes them.
pub fn move_home(name: &str, home: &Path) -> io::Result<()> {
    let entry = Entry::of(name)?.ok_or_else(|| io::Error::other(format!("account {name} has gone")))?;
    if entry.home == home {
        return Ok(());
    }
    run("usermod", &["--home", text(home)?, "--", name])
}

/// An account whose password field in shadow(5) begins with `!` is locked, and OpenSSH lets nobody into it, not even with
/// a key. `*` is no password either, and no lock.
pub fn open_to_keys(name: &str) -> io::Result<()> {
    let shadow = read(SHADOW.as_ref())?;
    let own = entries(&shadow).find_map(|mut fields| (fields.next()? == name.as_bytes()).then(|| fields.next()));
    match own.flatten().is_some_and(|password| password.starts_with(b"!")) {
        true => run("usermod", &["--password", "*", "--", name]),
        false => Ok(()),
    }
}

/// What a login starts: the account's own shell if it has one that runs here.
pub fn shell(name: &str) -> io::Result<PathBuf> {
    let own = Entry::of(name)?.map(|entry| entry.shell);
    let may_log_in = |shell: &PathBuf| !NO_SHELLS.iter().any(|no| shell.file_name().is_some_and(|name| name == *no));
    let all = own.into_iter().filter(may_log_in).chain([SHELL.into(), LAST_RESORT.into()]);
    let mut there = all.filter(|shell| shell.is_absolute() && shell.is_file());
    there.next().ok_or_else(|| io::Error::other(format!("neither {SHELL} nor {LAST_RESORT} is there")))
}

fn create(name: &str, home: &Path) -> io::Result<Account> {
    // A group of this name may have been left by somebody else's userdel(8).
    let group: &[&str] = if has_group(name)? { &["--gid", name] } else { &["--user-group"] };
    let arguments = ["--no-create-home", "--home-dir", text(home)?, "--shell", SHELL];
    let made = run("useradd", &[&arguments[..], group, &["--", name]].concat());
    // Another who was faster does no harm.
    look_up(name)?.map_or_else(|| Err(made.err().unwrap_or_else(|| io::Error::other("useradd made nothing"))), Ok)
}

fn has_group(name: &str) -> io::Result<bool> {
    let group = read(GROUP.as_ref())?;
    Ok(entries(&group).any(|mut fields| fields.next() == Some(name.as_bytes())))
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let done = Command::new(program).args(arguments).output()?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr);
            Err(io::Error::other(format!("{program} {}: {} {}", arguments.join(" "), done.status, said.trim())))
        }
    }
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

/// The last two fields of passwd(5).
struct Entry {
    home: PathBuf,
    shell: PathBuf,
}

impl Entry {
    fn of(name: &str) -> io::Result<Option<Entry>> {
        Ok(Entry::find(&read(PASSWD.as_ref())?, name))
    }

    fn find(passwd: &[u8], name: &str) -> Option<Entry> {
        let mut fields =
            entries(passwd).find_map(|mut fields| (fields.next()? == name.as_bytes()).then_some(fields))?;
        let path = |field: Option<&[u8]>| PathBuf::from(String::from_utf8_lossy(field.unwrap_or_default()).as_ref());
        Some(Entry { home: path(fields.nth(4)), shell: path(fields.next()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_and_shell_are_read_as_they_stand() {
        let passwd = b"dev:x:1000:1000:,,,:/home/dev:/usr/bin/zsh\nbare:x:1:2\nodd:x:1:2::/o:\n";
        let found = |name| Entry::find(passwd, name).map(|e| (e.home, e.shell));
        assert_eq!(found("dev"), Some(("/home/dev".into(), "/usr/bin/zsh".into())));
        assert_eq!(found("bare"), Some(("".into(), "".into())));
        assert_eq!(found("odd"), Some(("/o".into(), "".into())));
        assert_eq!(found("nobody-here"), None);
    }

    #[test]
    fn who_may_not_log_in_gets_a_shell_all_the_same() {
        for name in ["nobody", "no-such-account-here"] {
            let shell = shell(name).unwrap();
            assert!(shell.ends_with("bash") || shell.ends_with("sh"), "{name}: {}", shell.display());
        }
        assert!(shell("root").unwrap().is_file());
    }

    #[test]
    fn root_is_nobodys_dev_account() {
        let refused = ensure("root", Path::new("/root")).unwrap_err().to_string();
        assert!(refused.contains("is root"), "{refused}");
    }
}
