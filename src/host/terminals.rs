//! When something was last typed or printed at the terminals of an account. The kernel keeps it in the times of the
//! terminal's device, eight seconds exact (`tty_update_time`): this is where w(1) has its idle times from.
use super::process::Stat;
use nix::unistd::Uid;
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// A number that changes with whatever is typed or printed at any terminal of `owner` but that of the process
/// `besides`: a terminal that it opened to be launched in is no place of work.
pub fn stamp(owner: Uid, besides: i32) -> io::Result<u64> {
    let besides = Stat::read(besides)?.map(|stat| stat.terminal);
    stamp_in(Path::new("/dev/pts"), owner, besides)
}

fn stamp_in(folder: &Path, owner: Uid, besides: Option<u64>) -> io::Result<u64> {
    let devices = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        devices => devices?,
    };
    let mut stamp: u64 = 0;
    for device in devices {
        // It may be closed meanwhile.
        let Ok(about) = device?.metadata() else { continue };
        if about.uid() == owner.as_raw() && Some(about.rdev()) != besides {
            // A sum, so that no change hides behind another terminal's.
            stamp = stamp.wrapping_add(about.atime().unsigned_abs()).wrapping_add(about.mtime().unsigned_abs());
        }
    }
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{
        pty::openpty,
        sys::{
            stat::{fstat, futimens},
            time::TimeSpec,
        },
        unistd::{geteuid, write},
    };

    #[test]
    fn typing_and_printing_change_it_and_one_terminal_can_be_left_out() {
        let pty = openpty(None, None).unwrap();
        let device = fstat(&pty.slave).unwrap().st_rdev;
        let of = |besides| stamp_in(Path::new("/dev/pts"), geteuid(), besides).unwrap();
        // As if nothing had happened for an hour; the kernel notes what is eight seconds apart.
        let hour_ago = TimeSpec::new(1_000_000, 0);
        futimens(&pty.slave, &hour_ago, &hour_ago).unwrap();
        let (before, without) = (of(None), of(Some(device)));
        assert_ne!(before, without);
        write(&pty.slave, b"printed\n").unwrap();
        assert_ne!(of(None), before);
        assert_eq!(stamp_in(Path::new("/nowhere"), geteuid(), None).unwrap(), 0);
    }
}
