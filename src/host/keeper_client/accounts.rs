//! Account names to numbers. Looked up again only when the account files have changed: a crash loop launches often.
use crate::{host::keeping::KeepingError, keeper::protocol::Identity};
use nix::unistd::{User, geteuid, getgrouplist};
use std::{collections::HashMap, ffi::CString, os::unix::fs::MetadataExt};

/// Inode, size and time of change of `/etc/passwd` and `/etc/group`.
type Stamp = [(u64, u64, i64, i64); 2];

#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: HashMap<String, Identity>,
    stamp: Stamp,
}

impl Accounts {
    /// `None` where no change of user is wanted, or none is possible because we are not root.
    pub(super) fn identity(&mut self, name: Option<&str>) -> Result<Option<Identity>, KeepingError> {
        let Some(name) = name.filter(|_| geteuid().is_root()) else { return Ok(None) };
        let stamp = stamp();
        if stamp != self.stamp {
            self.known.clear();
            self.stamp = stamp;
        }
        if let Some(identity) = self.known.get(name) {
            return Ok(Some(identity.clone()));
        }
        let identity = look_up(name)?;
        self.known.insert(name.to_owned(), identity.clone());
        Ok(Some(identity))
    }
}

fn look_up(name: &str) -> Result<Identity, KeepingError> {
    let failed = |e: nix::Error| KeepingError::Environment(format!("cannot look up account {name:?}: {e}"));
    let user = User::from_name(name).map_err(failed)?.ok_or_else(|| KeepingError::NoSuchUser(name.to_owned()))?;
    let c_name = CString::new(name).map_err(|_| KeepingError::NoSuchUser(name.to_owned()))?;
    let groups = getgrouplist(&c_name, user.gid).map_err(failed)?;
    Ok(Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups: groups.iter().map(|g| g.as_raw()).collect() })
}

fn stamp() -> Stamp {
    ["/etc/passwd", "/etc/group"]
        .map(|file| std::fs::metadata(file).map_or((0, 0, 0, 0), |m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_unknown_ones_are_told_apart() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.identity(None).unwrap(), None);
        if !geteuid().is_root() {
            return assert_eq!(accounts.identity(Some("nobody")).unwrap(), None);
        }
        for _ in 0..2 {
            let nobody = accounts.identity(Some("nobody")).unwrap().unwrap();
            assert_eq!((nobody.uid, nobody.groups.contains(&nobody.gid)), (65534, true));
        }
        assert_eq!(accounts.identity(Some("nobody-at-all")), Err(KeepingError::NoSuchUser("nobody-at-all".into())));
        assert_eq!(accounts.identity(Some("nul\0")), Err(KeepingError::NoSuchUser("nul\0".into())));
    }
}
