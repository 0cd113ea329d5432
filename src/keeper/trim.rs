//! Gives back the pages of program text that only start-up needed. They come again from the page cache if touched.
use nix::sys::mman::{MmapAdvise, madvise};
use std::{
    ffi::c_void,
    fs::File,
    io::{BufRead, BufReader},
    ptr::NonNull,
    time::Duration,
};

/// How long after start-up; by then the first launch is over.
pub const AFTER: Duration = Duration::from_secs(2);

/// One mapping as `/proc/self/smaps` tells it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    /// Read-only bytes of a file.
    text: bool,
    /// Pages of our own in place of the file's, relocated data for one: dropping them would undo what the loader wrote.
    changed_kib: u64,
}

pub fn own_pages() {
    let Ok(file) = File::open("/proc/self/smaps") else { return };
    let mut current = Mapping::default();
    for line in BufReader::with_capacity(4096, file).lines().map_while(Result::ok) {
        match header(&line) {
            Some(next) => drop_pages(&std::mem::replace(&mut current, next)),
            None => current.changed_kib += changed(&line),
        }
    }
    drop_pages(&current);
}

/// `start-end perms offset device inode path`, or `None` for the lines below it.
fn header(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let perms = words.next()?;
    let inode = words.nth(2)?;
    Some(Mapping { start, end, text: matches!(perms, "r-xp" | "r--p") && inode != "0", changed_kib: 0 })
}

fn changed(line: &str) -> u64 {
    let kib = |rest: &str| rest.trim().strip_suffix(" kB").and_then(|n| n.parse().ok()).unwrap_or(u64::MAX / 4);
    match line.split_once(':') {
        Some(("Anonymous" | "Swap", rest)) => kib(rest),
        _ => 0,
    }
}

fn drop_pages(m: &Mapping) {
    if !m.text || m.changed_kib > 0 {
        return;
    }
    if let Some(start) = NonNull::new(m.start as *mut c_void) {
        // SAFETY: unchanged pages of a file: whoever touches them again reads the same bytes from it. A refusal only
        // means that they stay.
        let _ = unsafe { madvise(start, m.end - m.start, MmapAdvise::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_file_text_is_dropped() {
        let text = header("55e0c0a00000-55e0c0a10000 r-xp 00010000 08:01 1234                       /usr/bin/zlh");
        assert_eq!(text, Some(Mapping { start: 0x55e0c0a00000, end: 0x55e0c0a10000, text: true, changed_kib: 0 }));
        let stack = header("7ffc0d1e9000-7ffc0d20a000 rw-p 00000000 00:00 0                          [stack]");
        assert!(stack.is_some_and(|m| !m.text));
        assert_eq!(header("Size:                 64 kB"), None);
        assert_eq!(changed("Anonymous:            12 kB"), 12);
        assert_eq!(
            changed("Private_Dirty:        12 kB"),
            0,
            "a file just installed is dirty in the cache, not changed"
        );
        assert_eq!(changed("Rss:                  12 kB"), 0);
        assert!(changed("Anonymous: ?") > 0, "what cannot be read is not touched");
        own_pages();
    }
}
