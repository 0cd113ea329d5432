//! Trees as people leave them: copied, spoilt, put back, and the same again byte for byte.
use super::{manifest::Name, *};
use crate::host::accounts;
use nix::sys::{
    stat::{UtimensatFlags, utimensat},
    time::TimeSpec,
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    sync::Mutex,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const NOW: [&str; 3] = [
    "0198c0de-7a11-7abc-8def-000000000001",
    "0198c0de-7a11-7abc-8def-000000000002",
    "0198c0de-7a11-7abc-8def-000000000003",
];

struct Place {
    folder: TempDir,
    account: Account,
    limits: settings::Backups,
    cancel: CancellationToken,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let limits = settings::Backups { min_free_bytes: 0, ..settings::Backups::default() };
        let place = Place { account: accounts::own().unwrap(), folder, limits, cancel: CancellationToken::new() };
        fs::create_dir_all(place.top()).unwrap();
        place
    }

    fn top(&self) -> PathBuf {
        self.folder.path().join("home/work")
    }

    fn shelf(&self) -> Shelf {
        Shelf::of(self.folder.path(), Kind::Dev)
    }

    fn line(&self) -> Line<'_> {
        Line { tell: &|_, _| {}, cancel: &self.cancel }
    }

    fn copy(&self, n: usize) -> Result<Backup, BackupError> {
        let id = BackupId::parse(NOW[n]).unwrap();
        self.shelf().make(Job {
            id: &id,
            kind: Kind::Dev,
            reason: Reason::Manual,
            top: &self.top(),
            source: "home/work".into(),
            account: &self.account,
            exclude: self.limits.exclude.clone(),
            reads_list: true,
            limits: &self.limits,
            line: self.line(),
        })
    }

    fn put_back(&self, of: &Backup, checkpoint: &Backup) -> Result<(), BackupError> {
        self.shelf().put_back(Restore {
            of,
            checkpoint,
            top: &self.top(),
            account: &self.account,
            operation: "op",
            limits: &self.limits,
            line: self.line(),
        })
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Everything that can be told of each name.
    fn look(&self) -> BTreeMap<Vec<u8>, String> {
        let mut seen = BTreeMap::new();
        look(&self.top(), &self.top(), &mut seen);
        seen
    }
}

fn look(top: &Path, folder: &Path, seen: &mut BTreeMap<Vec<u8>, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = path.symlink_metadata().unwrap();
        let content = match about.file_type() {
            kind if kind.is_symlink() => format!("-> {:?}", fs::read_link(&path).unwrap()),
            kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
            _ => String::new(),
        };
        let told = format!(
            "{:o} {}:{} {}.{} {} {content}",
            about.mode(),
            about.uid(),
            about.gid(),
            about.mtime(),
            about.mtime_nsec(),
            if about.is_dir() { 0 } else { about.nlink() },
        );
        seen.insert(path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec(), told);
        if about.is_dir() {
            look(top, &path, seen);
        }
    }
}

fn dated(path: &Path, seconds: i64) {
    let at = TimeSpec::new(seconds, 123_456_789);
    utimensat(nix::fcntl::AT_FDCWD, path, &at, &at, UtimensatFlags::NoFollowSymlink).unwrap();
}

/// Files, folders, links of both kinds, odd names, odd modes, odd times.
fn furnished() -> Place {
    let place = Place::new();
    let top = place.top();
    place.write("src/main.rs", "fn main() {}");
    place.write("src/deep/er/x", "");
    place.write("bin/run.sh", "#!/bin/sh\n");
    place.write("locked/secret", "s");
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"no \xff text\n")), "odd").unwrap();
    place.write(&format!("long/{}/{}", "n".repeat(200), "m".repeat(200)), "far");
    symlink("src/main.rs", top.join("link")).unwrap();
    symlink("/etc/passwd", top.join("outside")).unwrap();
    symlink("nowhere", top.join("dangling")).unwrap();
    fs::hard_link(top.join("src/main.rs"), top.join("second-name")).unwrap();
    for (path, mode) in [("bin/run.sh", 0o755), ("locked/secret", 0o400), ("src/deep/er/x", 0o666), ("locked", 0o500)] {
        fs::set_permissions(top.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, at) in [("src/main.rs", 1_000_000_000), ("outside", 5), ("empty", 1_234_567_890), ("src", 77)] {
        dated(&top.join(path), at);
    }
    place
}

#[test]
fn what_was_copied_comes_back_byte_for_byte() {
    let place = furnished();
    let before = place.look();
    let backup = place.copy(0).unwrap();
    assert_eq!((backup.warning_count, &backup.warnings), (0, &vec![]));
    assert_eq!(backup.entries as usize, before.len());
    let top = place.top();
    place.write("src/main.rs", "spoilt");
    place.write("new/file", "new");
    fs::remove_file(top.join("bin/run.sh")).unwrap();
    fs::remove_file(top.join("link")).unwrap();
    fs::create_dir(top.join("link")).unwrap();
    place.write("link/inside", "a folder where a link was");
    fs::remove_dir_all(top.join("long")).unwrap();
    fs::write(top.join("long"), "a file where a folder was").unwrap();
    fs::set_permissions(top.join("empty"), fs::Permissions::from_mode(0o777)).unwrap();
    let spoilt = place.look();
    let checkpoint = place.copy(1).unwrap();
    place.put_back(&backup, &checkpoint).unwrap();
    assert_eq!(place.look(), before);
    assert_eq!(came(&place.shelf(), "op").unwrap(), Some(Came::Done));
    assert_eq!(fs::read_dir(place.folder.path().join("home")).unwrap().count(), 1, "nothing lies beside the tree");
    // The checkpoint is a backup like any other.
    let again = place.copy(2).unwrap();
    place.put_back(&checkpoint, &again).unwrap();
    assert_eq!(place.look(), spoilt);
}

#[test]
fn folders_stay_the_same_folders_and_open_files_are_replaced_in_one_step() {
    let place = furnished();
    let backup = place.copy(0).unwrap();
    let node = |path: &str| fs::metadata(place.top().join(path)).unwrap().ino();
    let (src, file) = (node("src"), node("src/main.rs"));
    place.put_back(&backup, &place.copy(1).unwrap()).unwrap();
    assert_eq!(node("src"), src, "a shell that stands there sees what was restored");
    assert_ne!(node("src/main.rs"), file);
}

#[test]
fn what_is_left_out_is_left_alone() {
    let place = furnished();
    place.write("app/node_modules/x/index.js", "big");
    place.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# cargo\n");
    place.write("target/debug/app", "built");
    place.write("maven/target/Kept.java", "source in a folder of that name");
    place.write(".zlhignore", "# mine\ndata/raw/\n[bad]\n");
    place.write("data/raw/huge", "raw");
    let backup = place.copy(0).unwrap();
    assert_eq!(backup.exclude.last().map(String::as_str), Some("data/raw/"));
    assert!(backup.warning_count == 1 && backup.warnings[0].contains("[bad]"), "{:?}", backup.warnings);
    for spoilt in ["app/node_modules/x/index.js", "target/debug/app", "maven/target/Kept.java", "data/raw/huge"] {
        place.write(spoilt, "spoilt");
    }
    let checkpoint = place.copy(1).unwrap();
    place.put_back(&backup, &checkpoint).unwrap();
    let text = |path: &str| fs::read_to_string(place.top().join(path)).unwrap();
    assert_eq!(text("maven/target/Kept.java"), "source in a folder of that name");
    for left in ["app/node_modules/x/index.js", "target/debug/app", "data/raw/huge"] {
        assert_eq!(text(left), "spoilt", "{left}");
    }
}

#[test]
fn what_cannot_be_copied_is_told_and_stays() {
    let place = furnished();
    let _socket = UnixListener::bind(place.top().join("run.sock")).unwrap();
    nix::unistd::mkfifo(&place.top().join("src/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let backup = place.copy(0).unwrap();
    let warnings = backup.warnings.join("\n");
    assert!(warnings.contains("run.sock is a socket") && warnings.contains("src/pipe is a named pipe"), "{warnings}");
    place.put_back(&backup, &place.copy(1).unwrap()).unwrap();
    assert!(place.top().join("run.sock").exists() && place.top().join("src/pipe").exists());
}

#[test]
fn a_link_in_place_of_the_tree_is_not_followed() {
    let place = furnished();
    let away = place.folder.path().join("home/away");
    fs::rename(place.top(), &away).unwrap();
    symlink(&away, place.top()).unwrap();
    let refused = place.copy(0).unwrap_err().to_string();
    assert!(refused.contains("symbolic link"), "{refused}");
    assert_eq!(place.shelf().list().unwrap(), []);
}

/// Only root can take another's rights.
#[test]
fn what_its_owner_may_not_read_is_not_copied() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut place = furnished();
    place.account = Account { name: "65534".into(), uid: 65_534, gid: 65_534, groups: vec![65_534] };
    let everything = [place.top(), place.top().join("src")];
    for path in everything {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let backup = place.copy(0).unwrap();
    let warnings = backup.warnings.join("\n");
    assert!(
        warnings.contains("locked could not be listed") || warnings.contains("locked may not be read"),
        "{warnings}"
    );
}

#[test]
fn a_flipped_byte_is_found_and_never_restored() {
    let place = furnished();
    place.write("bulk", &"all work and no play\n".repeat(20_000));
    let backup = place.copy(0).unwrap();
    let sound = place.shelf().verify(&backup, &place.limits, place.line()).unwrap();
    assert_eq!(sound.verified.map(|v| (v.sound, v.fault)), Some((true, None)));
    let archive = place.shelf().place(&backup.id).join(ARCHIVE);
    let bytes = fs::read(&archive).unwrap();
    let checkpoint = place.copy(1).unwrap();
    let before = place.look();
    for at in [5, bytes.len() / 3, bytes.len() / 2, bytes.len() - 3] {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        fs::write(&archive, spoilt).unwrap();
        let found = place.shelf().verify(&backup, &place.limits, place.line()).unwrap();
        let verified = found.verified.unwrap();
        assert!(!verified.sound && verified.fault.is_some(), "byte {at}");
        assert_eq!(place.shelf().list().unwrap()[1].verified.as_ref().map(|v| v.sound), Some(false));
        place.put_back(&backup, &checkpoint).unwrap_err();
        assert_eq!(place.look(), before, "byte {at}");
    }
    fs::write(&archive, &bytes[..bytes.len() - 1]).unwrap();
    assert!(place.put_back(&backup, &checkpoint).unwrap_err().to_string().contains("damaged"));
}

/// An archive and a manifest that agree with each other, made by hand.
fn by_hand(place: &Place, entries: &[(manifest::Entry, tar::EntryType)]) -> Backup {
    let backup = place.copy(0).unwrap();
    let folder = place.shelf().place(&backup.id);
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap());
    let mut written = manifest::Writer::new(File::create(folder.join(MANIFEST)).unwrap()).unwrap();
    for (entry, kind) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        let name = &mut header.as_old_mut().name;
        name[..entry.path.0.len()].copy_from_slice(&entry.path.0);
        if let manifest::What::Symlink { target, .. } | manifest::What::Hardlink { to: target } = &entry.what {
            header.as_old_mut().linkname[..target.0.len()].copy_from_slice(&target.0);
        }
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
        written.add(entry).unwrap();
    }
    written.finish().unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    fs::write(folder.join(ARCHIVE), &bytes).unwrap();
    use sha2::Digest as _;
    let sha256 = crate::model::catalog::Digest(sha2::Sha256::digest(&bytes).into());
    Backup { archive_bytes: bytes.len() as u64, sha256, ..backup }
}

#[test]
fn a_hostile_archive_is_refused_whole() {
    use manifest::{Entry, What};
    use sha2::Digest as _;
    use tar::EntryType as T;
    let name = |text: &str| Name(text.as_bytes().to_vec());
    let nothing = crate::model::catalog::Digest(sha2::Sha256::digest(b"").into());
    let file = |path: &str| {
        let what = What::File { mode: 0o644, mtime: (0, 0), size: 0, sha256: nothing };
        (Entry { path: name(path), what }, T::Regular)
    };
    let link = |path: &str, to: &str| {
        (Entry { path: name(path), what: What::Symlink { target: name(to), mtime: (0, 0) } }, T::Symlink)
    };
    let second = |path: &str, to: &str| (Entry { path: name(path), what: What::Hardlink { to: name(to) } }, T::Link);
    let folder =
        |path: &str| (Entry { path: name(path), what: What::Folder { mode: 0o755, mtime: (0, 0) } }, T::Directory);
    let place = furnished();
    let outside = place.folder.path().join("home/outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    let checkpoint = place.copy(1).unwrap();
    let before = place.look();
    let hostile: Vec<Vec<(Entry, T)>> = vec![
        vec![file("../outside/canary")],
        vec![file("/etc/evil")],
        vec![file("a/../../outside/canary")],
        vec![link("way", "../outside"), file("way/canary")],
        vec![link("way", outside.to_str().unwrap()), folder("way/sub")],
        vec![link("way", "/etc"), second("mine", "way/passwd")],
        vec![second("mine", "../outside/canary")],
        vec![second("mine", "not-there")],
        vec![file("twice"), file("twice")],
        vec![file("x"), file("x/y")],
        vec![(file("dev").0, T::Char)],
        vec![(file("pipe").0, T::Fifo)],
        vec![(file("other").0, T::Directory)],
        vec![(folder("no").0, T::Symlink)],
    ];
    for entries in hostile {
        let what = format!("{:?}", entries.iter().map(|(entry, _)| &entry.what).collect::<Vec<_>>());
        let backup = by_hand(&place, &entries);
        let refused = place.put_back(&backup, &checkpoint).unwrap_err();
        assert!(matches!(refused, BackupError::Refused { .. }), "{what}: {refused}");
        assert_eq!(place.look(), before, "{what}");
        assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "alive");
        assert_eq!(fs::read_dir(place.folder.path().join("home")).unwrap().count(), 2, "{what}: something is left");
        place.shelf().delete(&backup.id).unwrap();
    }
    // A link may say what it likes: its owner could have made it. It is never followed here.
    let fine = by_hand(&place, &[folder("d"), link("d/etc", "/etc"), file("d/x"), second("d/y", "d/x")]);
    note(&place.shelf().place(&fine.id), &fine).unwrap();
    place.put_back(&fine, &checkpoint).unwrap();
    assert_eq!(place.look().len(), 4);
}

#[test]
fn a_restore_that_fails_half_way_is_taken_back() {
    let place = furnished();
    let backup = place.copy(0).unwrap();
    for n in 0..50 {
        place.write(&format!("src/new-{n}"), "n");
        place.write(&format!("fresh/new-{n}"), "n");
    }
    place.write("src/main.rs", "spoilt");
    let before = place.look();
    let checkpoint = place.copy(1).unwrap();
    // A manifest that ends too early makes the last step, modes and times, fail.
    let manifest = place.shelf().place(&backup.id).join(MANIFEST);
    let whole = fs::read(&manifest).unwrap();
    let account = place.account.clone();
    let around = place.folder.path().join("home/.zlh-restore-work");
    let job = |cancel: &CancellationToken| {
        place.shelf().put_back(Restore {
            of: &backup,
            checkpoint: &checkpoint,
            top: &place.top(),
            account: &account,
            operation: "op",
            limits: &place.limits,
            line: Line {
                tell: &|what, _| {
                    // Names begin to be exchanged: now the exchange loses what it needs.
                    if what.starts_with("putting") {
                        fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
                    }
                },
                cancel,
            },
        })
    };
    let failure = job(&place.cancel).unwrap_err();
    assert!(matches!(failure, BackupError::Half { .. }), "{failure}");
    assert!(around.exists(), "what was there is kept");
    assert_eq!(came(&place.shelf(), "op").unwrap(), Some(Came::Half));
    // With a manifest the next start takes it back.
    fs::write(&manifest, &whole).unwrap();
    recover(&place.shelf()).unwrap();
    assert_eq!(came(&place.shelf(), "op").unwrap(), Some(Came::ToNothing));
    let kept = |seen: BTreeMap<Vec<u8>, String>| {
        seen.into_iter().filter(|(_, told)| !told.starts_with("4")).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(kept(place.look()), kept(before), "files; the times of their folders have moved");
    place.shelf().sweep().unwrap();
    assert!(!around.exists());
}

#[test]
fn a_cancelled_copy_leaves_nothing() {
    let place = furnished();
    place.cancel.cancel();
    assert!(matches!(place.copy(0), Err(BackupError::Cancelled)));
    assert_eq!(fs::read_dir(&place.shelf().folder).unwrap().count(), 0);
}

#[test]
fn the_limits_hold_and_are_named() {
    let mut place = furnished();
    place.limits.max_entries = 3;
    assert!(place.copy(0).err().unwrap().to_string().contains("backups.max_entries"));
    place.limits = settings::Backups { max_bytes: 10, ..place.limits };
    place.limits.max_entries = 1000;
    assert!(place.copy(0).err().unwrap().to_string().contains("backups.max_bytes"));
    place.limits = settings::Backups { max_bytes: 1 << 40, min_free_bytes: u64::MAX / 2, ..place.limits };
    assert!(matches!(place.copy(0), Err(BackupError::Full { .. })));
    assert_eq!(place.shelf().list().unwrap(), []);
}

#[test]
fn half_a_backup_is_swept_and_a_deleted_one_is_gone() {
    let place = furnished();
    let backup = place.copy(0).unwrap();
    fs::create_dir(place.shelf().folder.join(format!("{}{PARTIAL}", NOW[1]))).unwrap();
    fs::create_dir(place.shelf().folder.join("not-a-backup")).unwrap();
    assert_eq!(place.shelf().list().unwrap(), std::slice::from_ref(&backup));
    place.shelf().sweep().unwrap();
    assert!(!place.shelf().folder.join(format!("{}{PARTIAL}", NOW[1])).exists());
    place.shelf().delete(&backup.id).unwrap();
    assert_eq!(place.shelf().list().unwrap(), []);
    assert_eq!(fs::metadata(&place.shelf().folder).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_is_copied_as_it_was_announced() {
    let place = Place::new();
    place.write("log", &"x".repeat(1 << 20));
    let spoil = Mutex::new(Some(place.top().join("log")));
    // The first walk has measured it: it is cut before the second one opens it, and written to while it is read.
    let id = BackupId::parse(NOW[0]).unwrap();
    let top = place.top();
    let backup = place.shelf().make(Job {
        id: &id,
        kind: Kind::Dev,
        reason: Reason::Manual,
        top: &top,
        source: String::new(),
        account: &place.account,
        exclude: Vec::new(),
        reads_list: false,
        limits: &place.limits,
        line: Line {
            tell: &|_, _| {
                if let Some(path) = spoil.lock().unwrap().take() {
                    OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
                }
            },
            cancel: &place.cancel,
        },
    });
    let backup = backup.unwrap();
    assert_eq!(backup.bytes, 1000);
    let sound = place.shelf().verify(&backup, &place.limits, place.line()).unwrap();
    assert!(sound.verified.unwrap().sound);
}
