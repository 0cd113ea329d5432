//! Server roots of every history: fresh, damaged, edited, upgraded, somebody else's, and hostile.
use super::*;
use crate::{
    host::{accounts, install::Label},
    model::time::WallTime,
};
use std::{fs, io::Write};
use tempfile::TempDir;

struct Case {
    tree: TempDir,
    root: TempDir,
    placed: Placed,
    file: Option<&'static str>,
}

impl Case {
    fn new() -> Case {
        let (tree, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Case { tree, root, placed: Placed::default(), file: None }
    }

    /// What the tree holds from now on.
    fn ships(&mut self, files: &[(&str, &str)]) -> &mut Case {
        self.tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = self.tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self
    }

    fn manifest(&self) -> Manifest {
        let mut entries = BTreeMap::new();
        collect(self.tree.path(), "", &mut entries);
        let installed = crate::host::install::Installed {
            format: 0,
            label: Label { id: "game".into(), version: "1".into() },
            source: "http://artifacts/game.tar.gz".into(),
            sha256: Digest([7; 32]),
            verified: true,
            archive_bytes: 1,
            stripped: 0,
            top: String::new(),
            files: 0,
            bytes: 0,
            installed_at: WallTime(0),
        };
        Manifest::new(installed, entries)
    }

    fn place(&mut self) -> Changes {
        let root = Beneath::open(self.root.path(), &accounts::own().unwrap()).unwrap();
        let owners = [Glob::parse("server.properties").unwrap()];
        let manifest = self.manifest();
        let source = Source { tree: self.tree.path(), manifest: &manifest, file: self.file, owners: &owners };
        let (placed, changes) = place(&root, &source, &self.placed, &|_| {}).unwrap();
        self.placed = placed;
        changes
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).unwrap();
    }
}

fn collect(folder: &Path, path: &str, out: &mut BTreeMap<String, Record>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            out.insert(path.clone(), Record::Folder { mode: 0o755 });
            collect(&entry.path(), &path, out);
        } else {
            let sha256 = digest(File::open(entry.path()).unwrap()).unwrap();
            out.insert(path, Record::File { sha256, mode: 0o644, size: entry.metadata().unwrap().len() });
        }
    }
}

#[test]
fn the_first_time_all_is_placed_and_the_second_time_nothing() {
    let mut case = Case::new();
    case.ships(&[("server.js", "1"), ("lib/a.js", "2"), ("server.properties", "port=1")]);
    assert_eq!(case.place().placed, ["lib/a.js", "server.js", "server.properties"]);
    assert_eq!(case.read("lib/a.js"), "2");
    assert_eq!(case.place(), Changes::default());
}

#[test]
fn a_damaged_file_is_repaired_and_an_owners_file_is_kept() {
    let mut case = Case::new();
    case.ships(&[("server.js", "1"), ("server.properties", "port=1")]).place();
    case.write("server.js", "hacked");
    case.write("server.properties", "port=2");
    let changes = case.place();
    assert_eq!((changes.repaired, changes.kept), (vec!["server.js".to_owned()], vec!["server.properties".to_owned()]));
    assert_eq!((case.read("server.js"), case.read("server.properties")), ("1".into(), "port=2".into()));
    fs::remove_file(case.root.path().join("server.js")).unwrap();
    assert_eq!(case.place().placed, ["server.js"]);
}

#[test]
fn the_next_version_replaces_what_is_ours_and_drops_what_is_gone() {
    let mut case = Case::new();
    case.ships(&[("server.js", "1"), ("old.js", "x"), ("touched.js", "x"), ("server.properties", "a")]).place();
    case.write("touched.js", "mine");
    fs::create_dir(case.root.path().join("world")).unwrap();
    case.write("world/level.dat", "precious");
    let changes = case.ships(&[("server.js", "2"), ("server.properties", "b")]).place();
    assert_eq!(
        (changes.placed, changes.removed),
        (vec!["server.js".to_owned(), "server.properties".to_owned()], vec!["old.js".to_owned()])
    );
    assert_eq!((case.read("touched.js"), case.read("world/level.dat")), ("mine".into(), "precious".into()));
    assert_eq!(case.read("server.properties"), "b", "nobody had edited it");
}

#[test]
fn what_somebody_put_there_before_is_set_aside() {
    let mut case = Case::new();
    case.write("server.jar", "by hand");
    case.ships(&[("paper-1.21.4-100.jar", "ours")]).file = Some("server.jar");
    assert_eq!(case.place().set_aside, ["server.jar"]);
    assert_eq!((case.read("server.jar"), case.read("server.jar.before-install")), ("ours".into(), "by hand".into()));
    assert_eq!(case.place(), Changes::default());
}

#[test]
fn an_extra_is_placed_once_and_never_again() {
    let mut case = Case::new();
    case.ships(&[("fabric-api.jar", "api")]);
    let root = Beneath::open(case.root.path(), &accounts::own().unwrap()).unwrap();
    let manifest = case.manifest();
    let once =
        |placed: &mut Placed| place_once(&root, case.tree.path(), &manifest, "mods/fabric-api.jar", placed).unwrap();
    let mut placed = Placed::default();
    assert!(once(&mut placed));
    assert_eq!(fs::read_to_string(case.root.path().join("mods/fabric-api.jar")).unwrap(), "api");
    fs::remove_file(case.root.path().join("mods/fabric-api.jar")).unwrap();
    assert!(!once(&mut placed), "its owner took it out");
    assert!(!case.root.path().join("mods/fabric-api.jar").exists());
}

#[test]
fn a_link_in_the_way_is_no_way_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::File::create(outside.path().join("server.js")).unwrap().write_all(b"theirs").unwrap();
    let mut case = Case::new();
    std::os::unix::fs::symlink(outside.path(), case.root.path().join("lib")).unwrap();
    case.ships(&[("lib/server.js", "1")]);
    let root = Beneath::open(case.root.path(), &accounts::own().unwrap()).unwrap();
    let manifest = case.manifest();
    let source = Source { tree: case.tree.path(), manifest: &manifest, file: None, owners: &[] };
    assert!(place(&root, &source, &Placed::default(), &|_| {}).is_err());
    assert_eq!(fs::read_to_string(outside.path().join("server.js")).unwrap(), "theirs");
}
