//! Real folders, hostile links, a read-only mount and accounts of this machine.
use super::*;
use crate::model::{
    settings::Settings,
    workload::{ConsoleInput, Readiness, ReadyProbe},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

struct Place {
    folder: tempfile::TempDir,
    game: Game,
}

impl Place {
    /// A root that every account can pass.
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Place { folder, game: Settings::default().game }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn spec(&self, cwd: &str, user: Option<&str>) -> WorkloadSpec {
        WorkloadSpec {
            game: "custom".into(),
            variant: String::new(),
            argv: vec!["sh".into()],
            cwd: self.root().join(cwd),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            user: user.map(str::to_owned),
            memory_bytes: None,
            max_processes: None,
            ports: vec![],
            requires: vec![],
            stop: vec![],
            ready: Readiness { probe: ReadyProbe::None, within: Duration::from_secs(1) },
            signatures: vec![],
            console: ConsoleInput::Pty,
            stop_commands: vec![],
            watched_files: vec![],
            dump_signal: None,
        }
    }

    fn prepare(&self, spec: &WorkloadSpec) -> Result<Prepared, PrepareError> {
        prepare(self.root(), spec, &self.game)
    }
}

fn as_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("partly skipped: needs root");
    }
    root
}

/// The account for unprivileged launches in these tests: `nobody` when root, else our own.
fn player() -> Option<&'static str> {
    geteuid().is_root().then_some("nobody")
}

#[test]
fn folders_are_made_with_the_right_owner_and_mode_and_kept_afterwards() {
    let place = Place::new();
    let spec = place.spec("opt/zlh/minecraft/paper/world", player());
    let prepared = place.prepare(&spec).unwrap();
    assert_eq!(prepared.program, Path::new("/usr/bin/sh"));
    assert!(prepared.disk_free_bytes > 0);
    let about = fs::metadata(&spec.cwd).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (prepared.account.uid, prepared.account.gid, 0o750));
    let above = fs::metadata(spec.cwd.parent().unwrap()).unwrap();
    assert_eq!((above.uid(), above.mode() & 0o7777), (geteuid().as_raw(), 0o755));
    fs::write(spec.cwd.join("level.dat"), "x").unwrap();
    fs::set_permissions(&spec.cwd, fs::Permissions::from_mode(0o770)).unwrap();
    place.prepare(&spec).unwrap();
    assert_eq!(fs::read(spec.cwd.join("level.dat")).unwrap(), b"x");
    assert_eq!(fs::metadata(&spec.cwd).unwrap().mode() & 0o7777, 0o770, "an owner's own mode is kept");
}

#[test]
fn a_link_anywhere_on_the_way_is_refused_and_nothing_is_made_behind_it() {
    for at in ["opt", "opt/zlh", "opt/zlh/custom/w"] {
        let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
        let link = place.root().join(at);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path(), &link).unwrap();
        let before = fs::metadata(outside.path()).unwrap();
        let refused = place.prepare(&place.spec("opt/zlh/custom/w", player()));
        assert!(matches!(&refused, Err(PrepareError::SymbolicLink(path)) if *path == link), "{at}: {refused:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{at}");
        let after = fs::metadata(outside.path()).unwrap();
        assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()), "{at}");
    }
}

#[test]
fn a_dangling_link_a_file_and_a_path_outside_are_refused() {
    let place = Place::new();
    symlink("/no/such/place", place.root().join("dangling")).unwrap();
    let refused = place.prepare(&place.spec("dangling/x", player()));
    assert!(matches!(refused, Err(PrepareError::SymbolicLink(_))), "{refused:?}");
    fs::write(place.root().join("file"), "").unwrap();
    for below in ["file", "file/x"] {
        let refused = place.prepare(&place.spec(below, player()));
        assert!(matches!(refused, Err(PrepareError::NotAFolder(_))), "{below}: {refused:?}");
    }
    for outside in ["../x", "a/../../x", ""] {
        let refused = place.prepare(&place.spec(outside, player()));
        assert!(refused.is_err_and(|e| e.to_string().contains("does not lie beneath")), "{outside:?}");
    }
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let place = Place::new();
    let mut spec = place.spec("s", player());
    spec.requires = vec!["server.jar".into(), "libraries/*/args.txt".into(), "there".into(), "mods/*.jar".into()];
    fs::create_dir_all(spec.cwd.join("mods")).unwrap();
    fs::write(spec.cwd.join("mods/a.jar"), "").unwrap();
    fs::write(spec.cwd.join("there"), "").unwrap();
    let told = place.prepare(&spec).unwrap_err().to_string();
    assert!(told.contains("server.jar, libraries/*/args.txt;") && !told.contains("there"), "{told}");
}

#[test]
fn the_folder_that_blocks_the_account_is_named() {
    if !as_root() {
        return;
    }
    let place = Place::new();
    let spec = place.spec("opt/zlh/custom/w", Some("nobody"));
    place.prepare(&spec).unwrap();
    let blocking = place.root().join("opt/zlh");
    fs::set_permissions(&blocking, fs::Permissions::from_mode(0o750)).unwrap();
    let told = place.prepare(&spec).unwrap_err();
    assert!(matches!(&told, PrepareError::Unreachable { at, mode: 0o750, .. } if *at == blocking), "{told:?}");
    fs::set_permissions(&blocking, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&spec.cwd, fs::Permissions::from_mode(0o550)).unwrap();
    assert!(matches!(place.prepare(&spec), Err(PrepareError::NotWritable { .. })));
}

#[test]
fn a_program_that_cannot_be_run_is_told_before_the_launch() {
    let place = Place::new();
    let mut spec = place.spec("s", player());
    let plain = place.root().join("plain");
    fs::write(&plain, "").unwrap();
    let rows = [
        ("/no/such/program".to_owned(), "no such file"),
        ("no-such-program".to_owned(), "in no folder of PATH"),
        (plain.display().to_string(), "may not be executed"),
        ("/usr".to_owned(), "may not be executed"),
        (String::new(), "no program is named"),
    ];
    for (program, expected) in rows {
        spec.argv = vec![program];
        let told = place.prepare(&spec).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_missing_account_is_made_only_if_it_is_the_configured_one() {
    let mut place = Place::new();
    let name = format!("zlhtest-{}", std::process::id());
    let refused = place.prepare(&place.spec("s", Some(&name)));
    assert!(matches!(&refused, Err(PrepareError::NoSuchUser(user)) if *user == name), "{refused:?}");
    assert!(!place.root().join("s").exists(), "refused before anything was made");
    if !as_root() {
        return;
    }
    place.game.user = name.clone();
    let first = place.prepare(&place.spec("s", Some(&name)));
    let second = place.prepare(&place.spec("s", Some(&name)));
    let entry = fs::read_to_string("/etc/passwd").unwrap().lines().find(|l| l.starts_with(&name)).map(str::to_owned);
    assert!(Command::new("userdel").arg(&name).status().unwrap().success());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.account, second.account);
    assert!(first.account.uid > 0 && first.account.name == name, "{first:?}");
    assert!(entry.as_deref().is_some_and(|e| e.ends_with("/nologin")), "{entry:?}");
}

#[test]
fn too_little_space_is_told_with_numbers() {
    let mut place = Place::new();
    place.game.min_disk_free_bytes = u64::MAX;
    let told = place.prepare(&place.spec("s", player())).unwrap_err();
    assert!(matches!(told, PrepareError::DiskFull { needed: u64::MAX, .. }), "{told:?}");
}

/// Mounts live in a namespace of the thread that makes them.
fn in_own_mounts<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        work()
    })
    .join()
    .unwrap()
}

#[test]
fn a_read_only_file_system_is_called_by_its_name() {
    if !as_root() {
        return;
    }
    let place = Place::new();
    let existing = place.spec("there", Some("nobody"));
    place.prepare(&existing).unwrap();
    let (there, new) = in_own_mounts(move || {
        let bind = |flags| mount(Some(place.root()), place.root(), None::<&str>, flags, None::<&str>).unwrap();
        bind(MsFlags::MS_BIND);
        bind(MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
        (place.prepare(&existing), place.prepare(&place.spec("new", Some("nobody"))))
    });
    for refused in [there, new] {
        assert!(matches!(refused, Err(PrepareError::ReadOnly(_))), "{refused:?}");
    }
}

#[test]
fn a_full_file_system_is_told() {
    if !as_root() {
        return;
    }
    let place = Place::new();
    let refused = in_own_mounts(move || {
        mount(Some("none"), place.root(), Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=755")).unwrap();
        place.prepare(&place.spec("s", Some("nobody")))
    });
    assert!(matches!(refused, Err(PrepareError::DiskFull { free, .. }) if free <= 64 << 10), "{refused:?}");
}

#[test]
fn what_nobody_will_install_later_is_foreseen() {
    let place = Place::new();
    let runs = |program: &str, user: Option<&str>| {
        let spec = WorkloadSpec { argv: vec![program.into()], ..place.spec("opt/zlh/custom/x", user) };
        foresee(place.root(), &spec, &place.game)
    };
    for (program, user) in [("sh", Some("game")), ("/bin/sh", None), ("not-yet-in-path", Some("root"))] {
        assert!(runs(program, user).is_ok(), "{program} {user:?}");
    }
    let later = place.root().join("opt/zlh/custom/x/server");
    assert!(runs(later.to_str().unwrap(), None).is_ok(), "it may be uploaded");
    assert!(matches!(runs("/nonexistent/server", None), Err(PrepareError::NoProgram(_))));
    assert!(matches!(runs("sh", Some("nobody-at-all")), Err(PrepareError::NoSuchUser(_))));
}
