//! Accounts of this machine: looking them up, making the one for games, and seeing files with another's eyes.
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setfsgid, setfsuid};
use std::{ffi::CString, io, process::Command, thread};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// All groups, `gid` included.
    pub groups: Vec<u32>,
}

/// `None`: there is no such account.
pub fn look_up(name: &str) -> io::Result<Option<Account>> {
    User::from_name(name)?.map(account_of).transpose()
}

/// The account this process runs as; its number where it has no name.
pub fn own() -> io::Result<Account> {
    let uid = geteuid();
    match User::from_uid(uid)? {
        Some(user) => account_of(user),
        None => {
            let gid = nix::unistd::getegid().as_raw();
            Ok(Account { name: uid.to_string(), uid: uid.as_raw(), gid, groups: vec![gid] })
        }
    }
}

fn account_of(user: User) -> io::Result<Account> {
    let name = CString::new(user.name.as_str())?;
    let groups = getgrouplist(&name, user.gid)?.iter().map(|gid| gid.as_raw()).collect();
    Ok(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups, name: user.name })
}

/// Makes a system account without home and login, as useradd(8) does. Another who was faster does no harm.
pub fn create(name: &str) -> io::Result<Account> {
    let arguments = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"];
    let made = Command::new("useradd").args(arguments).args(["--shell", "/usr/sbin/nologin", "--", name]).output()?;
    look_up(name)?.ok_or_else(|| {
        let said = String::from_utf8_lossy(&made.stderr);
        io::Error::other(format!("useradd {name}: {} {}", made.status, said.trim()))
    })
}

/// Runs `look` with the file rights of `account`: the kernel itself answers, whatever modes, groups and ACLs say.
/// It happens in a thread of its own, because these credentials belong to a thread and must not outlive the question.
pub fn as_account<T: Send>(account: &Account, look: impl FnOnce() -> T + Send) -> io::Result<T> {
    if account.uid == geteuid().as_raw() {
        return Ok(look());
    }
    thread::scope(|scope| {
        let asking = scope.spawn(|| become_account(account).map(|()| look()));
        asking.join().unwrap_or_else(|_| Err(io::Error::other("the question itself failed")))
    })
}

fn become_account(account: &Account) -> io::Result<()> {
    // The raw call changes this thread only; glibc's setgroups would change every thread of the process.
    // SAFETY: the pointer and the length describe one live slice of gid_t.
    let done = unsafe { libc::syscall(libc::SYS_setgroups, account.groups.len(), account.groups.as_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    setfsgid(Gid::from_raw(account.gid));
    setfsuid(Uid::from_raw(account.uid));
    // Neither call reports failure; a second one tells what is in force.
    if setfsuid(Uid::from_raw(account.uid)).as_raw() != account.uid {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn accounts_are_found_by_name() {
        assert_eq!(look_up("no-such-account-here").unwrap(), None);
        let root = look_up("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.groups.contains(&0)), (0, 0, true));
        assert_eq!(own().unwrap().uid, geteuid().as_raw());
    }

    #[test]
    fn files_are_seen_with_another_accounts_eyes_and_only_for_a_moment() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can look through another's eyes");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let nobody = look_up("nobody").unwrap().unwrap();
        let seen = as_account(&nobody, || fs::read(&file)).unwrap();
        assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(fs::read(&file).is_ok(), "this thread is still root");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        nix::unistd::chown(&file, None, Some(Gid::from_raw(nobody.gid))).unwrap();
        assert!(as_account(&nobody, || fs::read(&file)).unwrap().is_ok(), "by its group");
    }
}
