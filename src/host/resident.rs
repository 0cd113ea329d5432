//! The part of our own program that is mapped into memory.
//!
//! The first touch of a page of code maps its neighbours with it, and code that is mapped is what the kernel gives back
//! last. What only the start or an operation needed would therefore stay counted, and kept, for months.
use nix::sys::mman::{MmapAdvise, madvise};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use std::{io, num::NonZeroUsize, path::Path, ptr};

/// Unmaps our program's code; what is used again comes back from the page cache at its first touch, in a microsecond.
pub fn let_go() -> io::Result<()> {
    let myself = Process::myself().map_err(io::Error::other)?;
    let program = myself.exe().map_err(io::Error::other)?;
    let maps = myself.maps().map_err(io::Error::other)?;
    maps.into_iter().filter(|map| is_code(map, &program)).try_for_each(|map| unmap(map.address))
}

/// Never data: what was written to it, by relocation at the latest, would be lost.
fn is_code(map: &MemoryMap, program: &Path) -> bool {
    matches!(&map.pathname, MMapPath::Path(path) if path == program)
        && map.perms.contains(MMPermissions::EXECUTE)
        && !map.perms.contains(MMPermissions::WRITE)
}

fn unmap((from, to): (u64, u64)) -> io::Result<()> {
    let start = NonZeroUsize::new(from as usize).map(ptr::NonNull::<libc::c_void>::with_exposed_provenance);
    let (Some(start), length) = (start, (to - from) as usize) else { return Ok(()) };
    // SAFETY: a private mapping of a file that was never written to reads the same after its pages were dropped.
    Ok(unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use procfs::{FromRead, process::MemoryMaps};

    const MAPS: &str = "\
00200000-006b9000 r--p 00000000 fe:00 5742945    /opt/zlh
006b9000-01923000 r-xp 004b8000 fe:00 5742945    /opt/zlh
01923000-0192a000 r--p 01721000 fe:00 5742945    /opt/zlh
0192a000-01932000 rw-p 01728000 fe:00 5742945    /opt/zlh
02000000-02010000 rwxp 00000000 fe:00 5742945    /opt/zlh
15f63000-15fc7000 rw-p 00000000 00:00 0          [heap]
7f0000000000-7f0000010000 r-xp 00000000 fe:00 77 /usr/lib/libc.so.6
";

    #[test]
    fn only_code_of_the_program_is_let_go() {
        let maps = MemoryMaps::from_read(MAPS.as_bytes()).unwrap();
        let code: Vec<_> = maps.into_iter().filter(|map| is_code(map, Path::new("/opt/zlh"))).collect();
        assert_eq!(code.iter().map(|map| map.address).collect::<Vec<_>>(), [(0x006b_9000, 0x0192_3000)]);
    }

    #[test]
    fn the_program_runs_on_without_it() {
        let_go().unwrap();
        assert!(Process::myself().unwrap().stat().unwrap().rss > 0);
    }
}
