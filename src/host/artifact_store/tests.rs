//! Publishers side by side, publishers that die, and archives of each kind.
use super::{archive::*, *};
use crate::model::catalog::{ArchiveEntry, EntryKind};
use std::{os::unix::fs::MetadataExt, thread};

fn store() -> (tempfile::TempDir, ArtifactStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open(folder.path().join("s")).unwrap();
    (folder, store)
}

fn incoming(store: &ArtifactStore, bytes: &[u8]) -> Incoming {
    let mut incoming = store.lock().unwrap().incoming().unwrap();
    incoming.write_all(bytes).unwrap();
    incoming
}

fn waiting(store: &ArtifactStore) -> usize {
    fs::read_dir(store.incoming_folder()).unwrap().count()
}

#[test]
fn a_file_gets_its_name_whole_and_is_never_replaced() {
    let (_folder, store) = store();
    let path: ArtifactPath = "a/b/x.tar.gz".parse().unwrap();
    let first = incoming(&store, b"one");
    assert_eq!((first.size(), first.digest()), (3, digest_of(&mut &b"one"[..]).unwrap()));
    assert_eq!(store.file(&path).unwrap().map(|(_, size)| size), None);
    store.lock().unwrap().place(first, &path).unwrap();
    assert_eq!(fs::metadata(store.root().join(&path)).unwrap().mode() & 0o777, 0o644);
    let again = incoming(&store, b"one");
    store.lock().unwrap().place(again, &path).unwrap();
    let other = incoming(&store, b"two");
    let error = store.lock().unwrap().place(other, &path).unwrap_err();
    assert!(matches!(error, ArtifactStoreError::OtherContent { .. }), "{error}");
    assert_eq!(fs::read(store.root().join(&path)).unwrap(), b"one");
    assert_eq!(waiting(&store), 0, "nothing is left behind");
}

#[test]
fn what_the_dead_left_is_removed_and_what_the_living_write_is_not() {
    let (_folder, store) = store();
    let living = incoming(&store, b"x");
    fs::write(store.incoming_folder().join("left-behind"), b"y").unwrap();
    drop(store.lock().unwrap());
    assert_eq!(waiting(&store), 1);
    store.lock().unwrap().place(living, &"x".parse().unwrap()).unwrap();
    assert_eq!(waiting(&store), 0);
}

#[test]
fn changes_under_the_lock_lose_nothing() {
    let (_folder, store) = store();
    store.lock().unwrap().replace("n", b"0").unwrap();
    let count = |store: &ArtifactStore| {
        for _ in 0..50 {
            let locked = store.lock().unwrap();
            let n: u64 = String::from_utf8(store.document("n").unwrap().unwrap()).unwrap().parse().unwrap();
            locked.replace("n", (n + 1).to_string().as_bytes()).unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count(&store));
        }
    });
    assert_eq!(store.document("n").unwrap().unwrap(), b"200");
    store.lock().unwrap().remove("n").unwrap();
    store.lock().unwrap().remove("n").unwrap();
    assert_eq!(store.document("n").unwrap(), None);
}

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("node").unwrap();
        }
        tar.append_data(&mut header, path, content).unwrap();
    };
    add("n/", tar::EntryType::Directory, 0o755, b"");
    add("n/node", tar::EntryType::Regular, 0o755, b"\x7fELF and more");
    add("n/LICENSE", tar::EntryType::Regular, 0o644, b"text");
    add("n/link", tar::EntryType::Symlink, 0o777, b"");
    tar.into_inner().unwrap()
}

fn expected() -> Vec<ArchiveEntry> {
    let entry = |path: &str, kind, head: &[u8]| ArchiveEntry { path: path.into(), kind, head: head.to_vec() };
    vec![
        entry("n/", EntryKind::Folder, b""),
        entry("n/node", EntryKind::Program, b"\x7fELF and more"),
        entry("n/LICENSE", EntryKind::File, b""),
        entry("n/link", EntryKind::Link, b""),
    ]
}

#[test]
fn archives_of_each_kind_are_listed_and_damaged_ones_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar()).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar()).unwrap();
    let table = [
        (gz.finish().unwrap(), Packing::TarGz, "tar.gz"),
        (xz.finish().unwrap(), Packing::TarXz, "tar.xz"),
        (zstd::encode_all(&tar()[..], 1).unwrap(), Packing::TarZst, "tar.zst"),
    ];
    for (bytes, packing, ending) in table {
        let path = folder.path().join("archive");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Packing::of(&mut File::open(&path).unwrap()).unwrap(), packing);
        assert_eq!(packing.ending(), ending);
        assert_eq!(entries(File::open(&path).unwrap(), packing).unwrap(), expected(), "{ending}");
        fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert!(entries(File::open(&path).unwrap(), packing).is_err(), "{ending} without its end");
    }
}

#[test]
fn a_zip_is_listed_and_what_is_no_archive_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jar");
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.add_directory("META-INF", options).unwrap();
    zip.start_file("META-INF/MANIFEST.MF", options).unwrap();
    zip.write_all(b"Main-Class: x\n").unwrap();
    zip.finish().unwrap();
    assert_eq!(Packing::of(&mut File::open(&path).unwrap()).unwrap(), Packing::Zip);
    let found = entries(File::open(&path).unwrap(), Packing::Zip).unwrap();
    assert_eq!(found.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["META-INF/", "META-INF/MANIFEST.MF"]);
    fs::write(&path, "<html>").unwrap();
    assert_eq!(Packing::of(&mut File::open(&path).unwrap()).unwrap(), Packing::Plain);
    assert!(entries(File::open(&path).unwrap(), Packing::Plain).is_err());
}
