//! What good archives become: names, modes, links, the manifest, what verify finds and repair mends.
use super::{
    Place,
    archives::{Entry, file, folder, gz, hardlink, long, pax, symlink, tar, xz, zip, zipped, zst},
    contents, sha256,
};
use crate::support::web::Web;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink as make_link},
};
use zlh::host::install::{Manifest, Record, Strip, empty_trash, repair, verify};

/// As upstreams pack it: one top folder, links inside, all the ways of long names.
fn tree() -> Vec<Entry> {
    let far = format!("node-1/{}/leaf", "long".repeat(40));
    vec![
        folder("node-1/"),
        file("node-1/bin/node", "#!/bin/sh\necho v1.0\n").mode(0o755),
        symlink("node-1/bin/npm", "../lib/npm/cli.js"),
        file("node-1/lib/npm/cli.js", "cli").mode(0o644),
        hardlink("node-1/bin/node-too", "node-1/bin/node"),
        long(b'L', &far),
        file("cut", "far away"),
        pax(b'g', &[("comment", "made by a test")]),
        pax(b'x', &[("path", "node-1/päth with\tno\ttabs".replace('\t', " ").as_str()), ("mtime", "-1.5")]),
        file("cut", "pax"),
        file("node-1/empty", ""),
        file("node-1/Case", "upper"),
        file("node-1/case", "lower"),
        file("node-1/twice", "first"),
        file("node-1/twice", "second"),
        file("node-1/setuid", "x").mode(0o6777),
        folder("node-1/sticky").mode(0o1777),
        file("node-1/unreadable", "x").mode(0o000),
        symlink("node-1/nowhere", "not/there"),
        file("./node-1/./big", vec![b'b'; 700_000]),
    ]
}

fn expected() -> Vec<(String, String)> {
    let pairs = [
        ("bin", "755/"),
        ("bin/node", "755 #!/bin/sh\necho v1.0\n"),
        ("bin/npm", "-> ../lib/npm/cli.js"),
        ("lib", "755/"),
        ("lib/npm", "755/"),
        ("lib/npm/cli.js", "644 cli"),
        ("bin/node-too", "755 #!/bin/sh\necho v1.0\n"),
        ("päth with no tabs", "644 pax"),
        ("empty", "644 "),
        ("Case", "644 upper"),
        ("case", "644 lower"),
        ("twice", "644 second"),
        ("setuid", "755 x"),
        ("sticky", "755/"),
        ("unreadable", "400 x"),
        ("nowhere", "-> not/there"),
    ];
    let mut all: Vec<(String, String)> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    all.push(("big".into(), format!("644 {}", "b".repeat(700_000))));
    all.push(("long".repeat(40), "755/".into()));
    all.push((format!("{}/leaf", "long".repeat(40)), "644 far away".into()));
    all.sort();
    all
}

#[test]
fn every_format_becomes_the_same_tree() {
    let plain = tar(&tree());
    let cases =
        [("a.tar", plain.clone()), ("a.tar.gz", gz(&plain)), ("a.tar.xz", xz(&plain)), ("a.tar.zst", zst(&plain))];
    for (name, bytes) in cases {
        let place = Place::new();
        let web = Web::of_files(&[(name, &bytes)]);
        let placed = place.install(&web.url, name, Some(sha256(&bytes))).unwrap();
        let found: Vec<(String, String)> = contents(&place.target()).into_iter().collect();
        assert_eq!(found, expected(), "{name}");
        assert_eq!((placed.root.clone(), placed.from_cache), (place.target(), false));
        let same = |path: &str| placed.root.join(path).metadata().unwrap().ino();
        assert_eq!(same("bin/node"), same("bin/node-too"));
        assert_eq!(placed.root.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        place.assert_untouched(name);
    }
}

#[test]
fn a_name_may_lie_about_how_the_tar_is_packed() {
    let place = Place::new();
    let bytes = xz(&tar(&[file("top/f", "x")]));
    let web = Web::of_files(&[("a.tar.gz", &bytes)]);
    place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap();
    assert_eq!(fs::read_to_string(place.target().join("f")).unwrap(), "x");
}

#[test]
fn zips_and_single_files_are_trees_too() {
    let zip = zip(
        &[
            zipped("jdk/", "", 0o40755),
            zipped("jdk/bin/java", "java", 0o104755),
            zipped("jdk/link", "bin/java", 0o120777),
            zipped("jdk/plain", "p", 0),
        ],
        b"a comment",
    );
    let (place, web) =
        (Place::new(), Web::of_files(&[("jdk.zip", &zip), ("tool", b"\x7fELF..."), ("server.jar", &zip)]));
    place.install(&web.url, "jdk.zip", Some(sha256(&zip))).unwrap();
    let found = contents(&place.target());
    let pairs: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(pairs, [("bin", "755/"), ("bin/java", "755 java"), ("link", "-> bin/java"), ("plain", "644 p")]);
    for (name, mode) in [("tool", "755"), ("server.jar", "644")] {
        let place = Place::new();
        place.install(&web.url, name, None).unwrap();
        let found = contents(&place.target());
        assert!(found[name].starts_with(mode) && found.len() == 1, "{found:?}");
        assert!(!Manifest::read(&place.target()).unwrap().unwrap().installed.verified);
    }
}

#[test]
fn the_top_folder_goes_away_only_if_it_is_one() {
    let wrapped = [file("top/a", ""), file("top/b/c", "")];
    let two = [file("one/a", ""), file("two/b", "")];
    let own = [file("bin/tool", "")];
    let cases: [(&[Entry], Strip, &[&str]); 6] = [
        (&wrapped, Strip::Auto, &["a", "b", "b/c"]),
        (&wrapped, Strip::Levels(0), &["top", "top/a", "top/b", "top/b/c"]),
        (&wrapped[1..], Strip::Levels(2), &["c"]),
        (&two, Strip::Auto, &["one", "one/a", "two", "two/b"]),
        (&two, Strip::Levels(1), &["a", "b"]),
        (&own, Strip::Auto, &["bin", "bin/tool"]),
    ];
    for (entries, strip, names) in cases {
        let (mut place, bytes) = (Place::new(), tar(entries));
        place.strip = strip;
        place.install(&Web::of_files(&[("a.tar", &bytes)]).url, "a.tar", None).unwrap();
        assert_eq!(contents(&place.target()).into_keys().collect::<Vec<_>>(), names, "{strip:?}");
    }
    let (mut place, bytes) = (Place::new(), tar(&[file("shallow", "")]));
    place.strip = Strip::Levels(1);
    let error = place.install(&Web::of_files(&[("a.tar", &bytes)]).url, "a.tar", None).unwrap_err();
    assert!(error.to_string().contains("\"shallow\" has no name left"), "{error}");
}

#[test]
fn the_manifest_tells_every_file() {
    let (place, bytes) = (Place::new(), tar(&tree()));
    let web = Web::of_files(&[("a.tar", &bytes)]);
    place.install(&web.url, "a.tar", Some(sha256(&bytes))).unwrap();
    let manifest = Manifest::read(&place.target()).unwrap().unwrap();
    let about = &manifest.installed;
    assert_eq!((about.label.id.as_str(), about.label.version.as_str()), ("thing", "1.0"));
    assert_eq!(
        (about.source.clone(), about.sha256, about.verified),
        (format!("{}/a.tar", web.url), sha256(&bytes), true)
    );
    assert_eq!((about.archive_bytes, about.top.as_str()), (bytes.len() as u64, "node-1"));
    assert_eq!(manifest.entries.keys().collect::<Vec<_>>(), contents(&place.target()).keys().collect::<Vec<_>>());
    let second = Record::File { sha256: sha256(b"second"), mode: 0o644, size: 6 };
    assert_eq!(manifest.entries["twice"], second);
    assert_eq!(manifest.entries["bin/npm"], Record::Link { target: "../lib/npm/cli.js".into() });
    assert_eq!(manifest.entries["bin/node-too"], manifest.entries["bin/node"]);
    assert_eq!(about.files as usize, manifest.entries.values().filter(|r| matches!(r, Record::File { .. })).count());
}

/// One sort of damage.
type Damage = (&'static str, fn(&std::path::Path), &'static str);

const DAMAGES: [Damage; 8] = [
    ("bin/node", |path| fs::write(path, "#!/bin/sh\necho v6.6\n").unwrap(), "other content"),
    ("big", |path| fs::write(path, "short").unwrap(), "5 bytes, was 700000"),
    ("lib/npm/cli.js", |path| fs::remove_file(path).unwrap(), "missing"),
    ("Case", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap(), "mode 666, was 644"),
    (
        "bin/npm",
        |path| fs::remove_file(path).and_then(|()| make_link("/etc/passwd", path)).unwrap(),
        "leads to \"/etc/passwd\"",
    ),
    ("empty", |path| fs::remove_file(path).and_then(|()| fs::create_dir(path)).unwrap(), "is no file any more"),
    ("sticky", |path| fs::remove_dir(path).and_then(|()| fs::write(path, "")).unwrap(), "is no folder any more"),
    ("bin/node-too", |path| fs::remove_file(path).unwrap(), "missing"),
];

#[test]
fn damage_is_found_and_mended_from_the_cache_and_from_the_server() {
    let bytes = gz(&tar(&tree()));
    for cached in [true, false] {
        for damages in DAMAGES.iter().map(std::slice::from_ref).chain([&DAMAGES[..]]) {
            let (place, web) = (Place::new(), Web::of_files(&[("a.tar.gz", &bytes)]));
            place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap();
            let whole = contents(&place.target());
            for (path, damage, _) in damages {
                damage(&place.target().join(path));
            }
            fs::write(place.target().join("mine"), "made later").unwrap();
            let found = verify(&place.target(), &place.cancel, &|_| ()).unwrap();
            let told: Vec<(&str, &str)> = found.damaged.iter().map(|d| (d.path.as_str(), d.what.as_str())).collect();
            for (path, _, what) in damages {
                assert!(told.contains(&(path, what)), "{path}: {told:?}");
            }
            assert_eq!(found.extra, ["mine"]);
            if !cached {
                place.cache().trim(0).unwrap();
            }
            let repaired = place.with_job(&web.url, "a.tar.gz", None, repair).unwrap();
            assert_eq!((repaired.mended, repaired.from_cache), (found.damaged, cached));
            assert!(verify(&place.target(), &place.cancel, &|_| ()).unwrap().is_whole());
            let mut now = contents(&place.target());
            assert_eq!(now.remove("mine"), Some("644 made later".into()));
            assert_eq!(now, whole);
            assert_eq!(place.staging(), [""; 0]);
        }
    }
}

#[test]
fn a_repair_takes_only_the_same_archive() {
    let (old, new) = (tar(&[file("top/f", "old")]), tar(&[file("top/f", "new")]));
    let place = Place::new();
    place.install(&Web::of_files(&[("a.tar", &old)]).url, "a.tar", Some(sha256(&old))).unwrap();
    fs::write(place.target().join("f"), "bad").unwrap();
    place.cache().trim(0).unwrap();
    let web = Web::of_files(&[("a.tar", &new)]);
    let error = place.with_job(&web.url, "a.tar", None, repair).unwrap_err().to_string();
    assert!(error.contains("SHA-256 is") && error.contains(&sha256(&old).to_string()), "{error}");
    assert_eq!(fs::read_to_string(place.target().join("f")).unwrap(), "bad");
}

#[test]
fn what_was_not_installed_is_not_replaced() {
    let (place, bytes) = (Place::new(), tar(&[file("top/f", "x")]));
    let web = Web::of_files(&[("a.tar", &bytes)]);
    fs::create_dir(place.target()).unwrap();
    fs::write(place.target().join("world"), "years of work").unwrap();
    let error = place.install(&web.url, "a.tar", None).unwrap_err().to_string();
    assert!(error.contains("is in the way") && error.contains("move it away"), "{error}");
    assert_eq!(
        (fs::read_to_string(place.target().join("world")).unwrap().as_str(), web.asked().len()),
        ("years of work", 0)
    );
    fs::remove_file(place.target().join("world")).unwrap();
    place.install(&web.url, "a.tar", None).unwrap();
}

#[test]
fn a_new_tree_takes_the_place_of_the_old_at_once() {
    let (old, new) = (tar(&[file("top/old", "1")]), tar(&[file("top/new", "2")]));
    let (place, web) = (Place::new(), Web::of_files(&[("old.tar", &old), ("new.tar", &new)]));
    place.install(&web.url, "old.tar", None).unwrap();
    let staged = place.stage(&web.url, "new.tar", None).unwrap();
    assert_eq!(fs::read_to_string(staged.root().join("new")).unwrap(), "2");
    assert!(place.target().join("old").exists(), "nothing changes before it is activated");
    drop(staged);
    assert!(place.target().join("old").exists());
    place.assert_untouched("a staged tree that was dropped");
    place.install(&web.url, "new.tar", None).unwrap();
    assert_eq!(contents(&place.target()).into_keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(place.trash().len(), 1, "the old tree is deleted late");
    assert_eq!(empty_trash(&place.things(), || false).unwrap(), 1);
    place.assert_untouched("an upgrade");
}
