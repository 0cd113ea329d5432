//! The part of our own program that is mapped into memory.
//!
//! The first touch of a page of code maps its neighbours with it, and code that is mapped is what the kernel gives back
//! last. What only the start or an operation needed would therefore stay counted, and kept, for months.
use super::rest::rest;
use nix::sys::mman::{MmapAdvise, madvise};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use std::{convert::Infallible, io, num::NonZeroUsize, path::Path, ptr, time::Duration};

/// When the start is over, with the first round of all that is done every fifteen seconds.
const SETTLED: Duration = Duration::from_secs(20);
/// How often what was mapped since is let go of.
const EVERY: Duration = Duration::from_secs(60);

/// What only the start, or an operation since, needed is let go of now and then.
pub async fn travel_light() {
    let Err(why) = let_go_now_and_then().await;
    tracing::debug!(%why, "code that is not needed stays mapped");
}

async fn let_go_now_and_then() -> io::Result<Infallible> {
    rest(SETTLED).await;
    let mapped = Mapped::find()?;
    loop {
        mapped.let_go()?;
        rest(EVERY).await;
    }
}

/// Where our program's code and constants are mapped. They stay there, and finding them costs more than letting them go.
struct Mapped(Vec<(u64, u64)>);

impl Mapped {
    fn find() -> io::Result<Mapped> {
        let myself = Process::myself().map_err(io::Error::other)?;
        let program = myself.exe().map_err(io::Error::other)?;
        let maps = myself.smaps().map_err(io::Error::other)?;
        Ok(Mapped(maps.into_iter().filter(|map| is_as_on_disk(map, &program)).map(|map| map.address).collect()))
    }

    /// Unmaps them; what is used again comes back from the page cache at its first touch, in a microsecond.
    fn let_go(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|range| unmap(*range))
    }
}

/// What was written to, if only by relocation at the start, would be lost.
fn is_as_on_disk(map: &MemoryMap, program: &Path) -> bool {
    matches!(&map.pathname, MMapPath::Path(path) if path == program)
        && !map.perms.contains(MMPermissions::WRITE)
        && map.extension.map.get("Anonymous") == Some(&0)
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

    const SMAPS: &str = "\
00200000-006b9000 r--p 00000000 fe:00 5742945    /opt/zlh
Rss:                1664 kB
Anonymous:             0 kB
006b9000-01923000 r-xp 004b8000 fe:00 5742945    /opt/zlh
Rss:               11564 kB
Anonymous:             0 kB
01923000-0192a000 r--p 01721000 fe:00 5742945    /opt/zlh
Rss:                  28 kB
Anonymous:             8 kB
0192a000-01932000 rw-p 01728000 fe:00 5742945    /opt/zlh
Rss:                   0 kB
Anonymous:             0 kB
7f0000000000-7f0000010000 r-xp 00000000 fe:00 77 /usr/lib/libc.so.6
Rss:                  64 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_on_disk_is_let_go() {
        let maps = MemoryMaps::from_read(SMAPS.as_bytes()).unwrap();
        let gone: Vec<_> = maps.into_iter().filter(|map| is_as_on_disk(map, Path::new("/opt/zlh"))).collect();
        let gone: Vec<_> = gone.iter().map(|map| map.address).collect();
        assert_eq!(gone, [(0x0020_0000, 0x006b_9000), (0x006b_9000, 0x0192_3000)]);
    }

    #[test]
    fn the_program_runs_on_without_it() {
        let mapped = Mapped::find().unwrap();
        for _ in 0..2 {
            mapped.let_go().unwrap();
        }
        assert!(Process::myself().unwrap().stat().unwrap().rss > 0);
    }
}
