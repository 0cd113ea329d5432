//! Looking at this machine before a launch is decided: memory, runtimes, files of the server, time zone.
mod memory;
mod runtimes;

pub use memory::memory_limit;

use super::{accounts, find};
use crate::model::machine::{Machine, Questions};
use nix::unistd::geteuid;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Blocking; some file reads, and a walk of those folders of the server root that the questions name.
pub fn look(root: &Path, questions: &Questions) -> io::Result<Machine> {
    Ok(Machine {
        memory_limit_bytes: memory_limit(Path::new("/")),
        is_root: geteuid().is_root(),
        account: accounts::own()?.name,
        timezone: timezone(Path::new("/")),
        runtimes: questions.runtime.as_deref().map(|name| runtimes::find(root, name)).unwrap_or_default(),
        files: find::find(&questions.server_root, &questions.globs)?,
        secret: secret()?,
    })
}

/// Name of the time zone; `root` is `/` outside of tests.
pub(super) fn timezone(root: &Path) -> String {
    let named = fs::read_to_string(root.join("etc/timezone")).ok().map(|text| text.trim().to_owned());
    let linked = || {
        let target = fs::read_link(root.join("etc/localtime")).ok()?;
        Some(target.to_str()?.split_once("zoneinfo/")?.1.to_owned())
    };
    let plain =
        |zone: &String| !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    named.filter(plain).or_else(|| linked().filter(plain)).unwrap_or_else(|| "UTC".into())
}

/// 96 bits nobody can guess, as 24 hexadecimal digits.
fn secret() -> io::Result<String> {
    let mut bytes = [0u8; 12];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_zone_is_read_from_either_place() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("etc");
        fs::create_dir(&etc).unwrap();
        assert_eq!(timezone(folder.path()), "UTC");
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Berlin", etc.join("localtime")).unwrap();
        assert_eq!(timezone(folder.path()), "Europe/Berlin");
        fs::write(etc.join("timezone"), "America/New_York\n").unwrap();
        assert_eq!(timezone(folder.path()), "America/New_York");
        fs::write(etc.join("timezone"), "x;rm\n").unwrap();
        assert_eq!(timezone(folder.path()), "Europe/Berlin");
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let questions = Questions { runtime: Some("java".into()), ..Questions::default() };
        let (one, two) = (look(Path::new("/"), &questions).unwrap(), look(Path::new("/"), &questions).unwrap());
        assert!(one.memory_limit_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(one.secret.len(), 24);
        assert_ne!(one.secret, two.secret);
    }
}
