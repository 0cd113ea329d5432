//! Finds the files a server wrote about its own crash: Minecraft crash reports, HotSpot's hs_err, Mono's and Node's reports.
//!
//! The folder belongs to the workload, so nothing in it is trusted: only regular files are read, no link is followed, a
//! pipe with the right name does not block, and no more than the given bytes are read.
use super::no_follow::{Folder, modified_ms};
use crate::model::time::WallTime;
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// A file counts if it was last written from this long before the start (the clock of file times ticks in steps of up to
/// 10 ms; more than that and a quick restart would be given the report of the run before) …
const BEFORE_MS: i64 = 20;
/// … to this long after the end: another process may still finish it.
const AFTER_MS: i64 = 30_000;
/// Names looked at in one folder.
const NAMES: usize = 10_000;
/// Files read at most, newest first.
const FILES: usize = 4;

/// One file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashFile {
    /// Relative to the server root.
    pub path: String,
    pub modified: WallTime,
    /// Its first bytes; invalid UTF-8 is replaced.
    pub text: String,
}

/// The crash files one run wrote below `root`, the most telling first: newest first, but plain logs (`debug.txt`) last.
/// Blocks on the disk. `owner`: uid the run had; what others put there is not its word. `most_bytes`: how much of each
/// file is read.
pub fn crash_files(
    root: &Path,
    owner: u32,
    (started, ended): (WallTime, WallTime),
    most_bytes: u64,
) -> io::Result<Vec<CrashFile>> {
    let root = Folder::root(root)?;
    let window = started.0.saturating_sub(BEFORE_MS)..=ended.0.saturating_add(AFTER_MS);
    let mut found = candidates(&root, "", is_crash_file)?;
    if let Some(reports) = root.folder("crash-reports")? {
        found.extend(candidates(&reports, "crash-reports/", |name| name.ends_with(".txt"))?);
    }
    found.retain(|(_, _, about)| about.uid() == owner && window.contains(&modified_ms(about)));
    found.sort_by_key(|(path, _, about)| (path == "debug.txt", std::cmp::Reverse(modified_ms(about))));
    found.truncate(FILES);
    found.into_iter().map(|(path, file, about)| read(path, file, &about, most_bytes)).collect()
}

fn is_crash_file(name: &str) -> bool {
    (name.starts_with("hs_err_") && name.ends_with(".log"))
        || name.starts_with("mono_crash")
        || (name.starts_with("report.") && name.ends_with(".json"))
        || name == "debug.txt"
}

type Candidate = (String, File, Metadata);

fn candidates(folder: &Folder, prefix: &str, wanted: fn(&str) -> bool) -> io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for name in folder.names(NAMES)?.iter().filter(|n| wanted(n)) {
        // A file that may not be read is no reason to miss the others.
        if let Ok(Some((file, about))) = folder.file(name) {
            found.push((format!("{prefix}{name}"), file, about));
        }
    }
    Ok(found)
}

fn read(path: String, file: File, about: &Metadata, most_bytes: u64) -> io::Result<CrashFile> {
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(CrashFile { path, modified: WallTime(modified_ms(about)), text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, SystemTime},
    };

    fn now() -> WallTime {
        WallTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64)
    }

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn aged(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let started = WallTime(now().0 - 60_000);
        crash_files(root, me(), (started, now()), 1 << 20).unwrap().into_iter().map(|f| f.path).collect()
    }

    #[test]
    fn finds_what_this_run_wrote_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("crash-reports")).unwrap();
        for (name, age) in [
            ("hs_err_pid12.log", 20),
            ("crash-reports/crash-2026-server.txt", 10),
            ("crash-reports/old.txt", 3600),
            ("debug.txt", 0),
            ("report.2026.json", 30),
            ("latest.log", 0),
        ] {
            fs::write(dir.path().join(name), name).unwrap();
            aged(&dir.path().join(name), age);
        }
        assert_eq!(
            names(dir.path()),
            ["crash-reports/crash-2026-server.txt", "hs_err_pid12.log", "report.2026.json", "debug.txt"]
        );
    }

    #[test]
    fn links_pipes_and_second_names_are_not_read() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret.txt");
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, dir.path().join("hs_err_pid1.log")).unwrap();
        fs::hard_link(&secret, dir.path().join("hs_err_pid2.log")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("hs_err_pid3.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(dir.path().join("hs_err_pid4.log")).unwrap();
        symlink(outside.path(), dir.path().join("crash-reports")).unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_another_wrote_or_an_earlier_run_is_not_this_runs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hs_err_pid1.log"), "x").unwrap();
        let span = |age_ms: i64| (WallTime(now().0 - age_ms), now());
        let of = |owner: u32, age_ms: i64| crash_files(dir.path(), owner, span(age_ms), 9).unwrap().len();
        aged(&dir.path().join("hs_err_pid1.log"), 1);
        assert_eq!((of(me(), 5_000), of(me() + 1, 5_000), of(me(), 500)), (1, 0, 0));
    }

    #[test]
    fn no_more_than_asked_is_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("debug.txt"), "é".repeat(100)).unwrap();
        let files = crash_files(dir.path(), me(), (now(), now()), 3).unwrap();
        assert_eq!(files[0].text, "é\u{fffd}");
    }

    #[test]
    fn a_missing_root_is_an_error() {
        assert!(crash_files(Path::new("/nonexistent"), me(), (now(), now()), 1).is_err());
    }
}
