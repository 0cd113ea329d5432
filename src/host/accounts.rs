//! Accounts of this machine: looking them up, making the one for games, and seeing files with another's eyes.
//!
//! `/etc/passwd` and `/etc/group` are read here and not by libc, whose lookups load plugins: they crash a static program
//! (docs/adr/0007). Lines are understood as nss_files(5) does: the first of two entries counts; comments, NIS entries
//! (`+`, `-`) and what cannot be read are passed over.
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::Command,
    thread,
};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// Bytes of an account file: far more than any machine has, and not enough to hurt.
const LARGEST: u64 = 32 << 20;

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
    let passwd = read(PASSWD.as_ref())?;
    let user = users(&passwd).find(|user| user.name == name.as_bytes());
    user.map(|user| account_of(&user)).transpose()
}

/// The account this process runs as; its number where it has no name.
pub fn own() -> io::Result<Account> {
    let uid = geteuid().as_raw();
    let passwd = read(PASSWD.as_ref())?;
    match users(&passwd).find(|user| user.uid == uid) {
        Some(user) => account_of(&user),
        None => {
            let gid = getegid().as_raw();
            Ok(Account { name: uid.to_string(), uid, gid, groups: vec![gid] })
        }
    }
}

fn account_of(user: &User<'_>) -> io::Result<Account> {
    let groups = groups(&read(GROUP.as_ref())?, user);
    Ok(Account { name: String::from_utf8_lossy(user.name).into_owned(), uid: user.uid, gid: user.gid, groups })
}

/// An account file; where there is none, nobody is in it.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let about = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", file.display()));
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(open) => _ = open.take(LARGEST + 1).read_to_end(&mut bytes).map_err(about)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(about(e)),
    }
    if bytes.len() as u64 > LARGEST {
        return Err(about(io::Error::other(format!("larger than {} MiB", LARGEST >> 20))));
    }
    Ok(bytes)
}

/// One line of passwd(5), as far as it matters here.
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
}

fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    entries(passwd).filter_map(|mut fields| {
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(User { name, uid: number(fields.next()?)?, gid: number(fields.next()?)? })
    })
}

/// The account's own group first, then those of group(5) that list it, each once.
fn groups(group: &[u8], user: &User<'_>) -> Vec<u32> {
    let mut found = vec![user.gid];
    for mut fields in entries(group) {
        let (Some(gid), Some(members)) = (fields.nth(2).and_then(number), fields.next()) else { continue };
        if !found.contains(&gid) && members.split(|b| *b == b',').any(|m| m.trim_ascii() == user.name) {
            found.push(gid);
        }
    }
    found
}

/// The fields of each line that is an entry of its own.
fn entries(file: &[u8]) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
    let lines = file.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let named = lines.filter(|line| line.first().is_some_and(|b| !b"#+-:".contains(b)));
    named.map(|line| line.split(|b| *b == b':'))
}

/// A uid or gid; the last number of all stands for "none".
fn number(field: &[u8]) -> Option<u32> {
    str::from_utf8(field).ok()?.parse().ok().filter(|id| *id != u32::MAX)
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
        let asking = thread::Builder::new().spawn_scoped(scope, || become_account(account).map(|()| look()))?;
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

    /// (uid, gid, groups) of `name`.
    fn find(passwd: &[u8], group: &[u8], name: &str) -> Option<(u32, u32, Vec<u32>)> {
        let user = users(passwd).find(|user| user.name == name.as_bytes())?;
        Some((user.uid, user.gid, groups(group, &user)))
    }

    #[test]
    fn accounts_are_found_by_name_and_by_number() {
        for nobody in ["no-such-account-here", "", "nul\0", "root:x", "#", "+"] {
            assert_eq!(look_up(nobody).unwrap(), None, "{nobody:?}");
        }
        let root = look_up("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.groups.contains(&0)), (0, 0, true));
        let own = own().unwrap();
        assert_eq!(own.uid, geteuid().as_raw());
        assert!(look_up(&own.name).unwrap().is_none_or(|same| same == own));
    }

    #[test]
    fn odd_lines_of_passwd_are_passed_over() {
        let passwd = b"# games:x:1:1::/:/bin/sh\n\n+games:x:2:2::/:\n+\n-games::::::\n+@net::::::\n:x:3:3::/:\ngames\n\
            games:x:four:4::/:\ngames:x:-5:5::/:\ngames:x:4294967295:6::/:\ngames:x:7:99999999999::/:\ngames:x:8\n\
            \tgames:x:9:10:J\xf6rg:/:/bin/sh\r\ngames:x:11:11::/:/bin/sh\nlast:x:12:13::/:/bin/sh";
        assert_eq!(find(passwd, b"", "games"), Some((9, 10, vec![10])), "the first whole entry");
        assert_eq!(find(passwd, b"", "last"), Some((12, 13, vec![13])), "without a final newline");
        for nobody in ["", "+", "+games", "-games", "+@net", "# games", "game"] {
            assert_eq!(find(passwd, b"", nobody), None, "{nobody:?}");
        }
        assert_eq!(find(b"bare:x:1:2", b"", "bare"), Some((1, 2, vec![2])), "home and shell may be missing");
    }

    #[test]
    fn groups_are_those_that_list_the_account_each_once() {
        let group =
            b"games:x:10:\n# wheel:x:20:games\n+wheel:x:21:games\naudio:x:22:pulse,games\nvideo:x:23:xgames,gamesx\n\
            again:x:22:games\nspaced:x:24: games ,other\nbad:x:no:games\nshort:x:25\nown:x:10:games\nlast:x:26:games";
        assert_eq!(find(b"games:x:9:10::/:", group, "games"), Some((9, 10, vec![10, 22, 24, 26])));
    }

    #[test]
    fn huge_lines_are_read_whole_and_huge_files_refused() {
        let mut group = b"all:x:30:".to_vec();
        group.extend((0..200_000).flat_map(|n| format!("user{n},").into_bytes()));
        group.extend(b"games\nnext:x:31:games\n");
        assert_eq!(find(b"games:x:9:10::/:", &group, "games"), Some((9, 10, vec![10, 30, 31])));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        assert_eq!(read(&file).unwrap(), b"", "no file, nobody in it");
        fs::File::create(&file).unwrap().set_len(LARGEST + 1).unwrap();
        let refused = read(&file).unwrap_err().to_string();
        assert!(refused.contains("passwd: larger than 32 MiB"), "{refused}");
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
