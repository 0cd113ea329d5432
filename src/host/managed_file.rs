//! Files of the system that we have a part in: replaced whole, and only when they change.
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

/// Larger than any file that a shell reads at its start.
const LARGEST: u64 = 4 << 20;
const MODE: u32 = 0o644;

/// Makes the file what `edit` makes of its present content (empty if there is none), keeping owner and mode. `false`: it
/// was so already. A symbolic link is not followed: whoever made it means another file. Blocking.
pub fn edit(path: &Path, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<bool> {
    replace(path, edit).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn replace(path: &Path, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<bool> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => Some(about),
        Ok(about) if about.is_symlink() => return Err(io::Error::other("is a symbolic link, which is not followed")),
        Ok(_) => return Err(io::Error::other("is not a file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let present = if about.is_some() { read(path)? } else { Vec::new() };
    let wanted = edit(&present);
    if about.is_some() && wanted == present {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.zlh-new"));
    // What an agent that was killed left half written.
    _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&wanted)?;
    if let Some(about) = &about {
        fchown(&file, Some(about.uid()), Some(about.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(about.map_or(MODE, |a| a.permissions().mode() & 0o7777)))?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(true)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let options = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    options.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other(format!("larger than {} MiB", LARGEST >> 20))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_written_and_the_mode_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/environment");
        assert!(edit(&file, |old| [old, b"x\n"].concat()).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        assert!(!edit(&file, <[u8]>::to_vec).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode, "not touched");
        assert!(edit(&file, |old| [old, b"y\n"].concat()).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"x\ny\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_an_earlier_agent_left_half_written_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile");
        fs::write(folder.path().join(".profile.zlh-new"), "half").unwrap();
        assert!(edit(&file, |_| b"whole".to_vec()).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"whole");
    }

    #[test]
    fn links_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "mine").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for path in [&link, &folder.path().to_owned()] {
            let refused = edit(path, |_| b"x".to_vec()).unwrap_err().to_string();
            assert!(refused.contains(path.to_str().unwrap()), "{refused}");
        }
        assert_eq!(fs::read(&real).unwrap(), b"mine");
    }
}
