//! Snapshots of real folders and what differs between them.
use super::*;
use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

const LIMITS: Limits = Limits { files: 100, hash_bytes: 1 << 20 };

fn globs(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|p| p.to_string()).collect()
}

fn server() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("server.properties", "motd=a"),
        ("mods/jei.jar", "jei"),
        ("mods/old/x.jar", "x"),
        ("config/a.toml", "a"),
        ("config/deep/er/b.toml", "b"),
        ("world/level.dat", "level"),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn touch(path: &Path, seconds: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

fn paths(manifest: &Manifest) -> Vec<&str> {
    manifest.files.keys().map(String::as_str).collect()
}

#[test]
fn patterns_mean_what_they_say() {
    let dir = server();
    for (patterns, expected) in [
        (vec!["server.properties"], vec!["server.properties"]),
        (vec!["mods/*"], vec!["mods/jei.jar"]),
        (vec!["mods/**"], vec!["mods/jei.jar", "mods/old/x.jar"]),
        (vec!["config/**/b.*"], vec!["config/deep/er/b.toml"]),
        (vec!["config/**/*.toml"], vec!["config/a.toml", "config/deep/er/b.toml"]),
        (vec!["**/er/*"], vec!["config/deep/er/b.toml"]),
        (vec!["*/*.jar", "mods/*"], vec!["mods/jei.jar"]),
        (vec!["nosuch/*", "nosuch"], vec![]),
    ] {
        let manifest = snapshot(dir.path(), &globs(&patterns), LIMITS, &Manifest::default()).unwrap();
        assert_eq!(paths(&manifest), expected, "{patterns:?}");
        assert_eq!(manifest.skipped, 0);
    }
    for bad in ["/etc/passwd", "../x", "mods/../../x", ""] {
        assert!(snapshot(dir.path(), &globs(&[bad]), LIMITS, &Manifest::default()).is_err(), "{bad}");
    }
}

#[test]
fn stars_and_question_marks() {
    for (pattern, name, fit) in [
        ("*.jar", "a.jar", true),
        ("*.jar", "a.jar.off", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("?.txt", "é.txt", true),
        ("*", "", true),
        ("**x", "x", true),
    ] {
        assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
    }
    let begun = std::time::Instant::now();
    assert!(!fits(&"*a".repeat(100), &"a".repeat(99)));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn tells_what_was_added_removed_and_changed() {
    let dir = server();
    let patterns = globs(&["mods/*", "config/**", "server.properties"]);
    let before = snapshot(dir.path(), &patterns, LIMITS, &Manifest::default()).unwrap();
    fs::write(dir.path().join("mods/new.jar"), "new").unwrap();
    fs::remove_file(dir.path().join("config/a.toml")).unwrap();
    fs::write(dir.path().join("server.properties"), "motd=b").unwrap();
    // Touched, but the same content.
    touch(&dir.path().join("mods/jei.jar"), 100);
    let after = snapshot(dir.path(), &patterns, LIMITS, &before).unwrap();
    let told: Vec<_> = changes(&before, &after).into_iter().map(|c| (c.kind, c.what, c.detail)).collect();
    let expected = [
        ("removed", "config/a.toml", "1 bytes"),
        ("added", "mods/new.jar", "3 bytes"),
        ("changed", "server.properties", "6 bytes, before 6 bytes"),
    ];
    assert_eq!(told, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    assert!(changes(&after, &after).is_empty());
}

#[test]
fn a_large_file_is_hashed_only_when_it_moved_and_only_while_it_is_affordable() {
    let dir = tempfile::tempdir().unwrap();
    let jar = dir.path().join("big.jar");
    fs::write(&jar, vec![7; 100 << 10]).unwrap();
    let patterns = globs(&["*"]);
    let first = snapshot(dir.path(), &patterns, LIMITS, &Manifest::default()).unwrap();
    assert_eq!(first.files["big.jar"].sha256, None);
    assert_eq!(snapshot(dir.path(), &patterns, LIMITS, &first).unwrap(), first);
    touch(&jar, 100);
    let second = snapshot(dir.path(), &patterns, LIMITS, &first).unwrap();
    assert!(second.files["big.jar"].sha256.is_some());
    touch(&jar, 200);
    let third = snapshot(dir.path(), &patterns, LIMITS, &second).unwrap();
    assert!(changes(&second, &third).is_empty(), "only touched");
    let poor = Limits { hash_bytes: 10, ..LIMITS };
    touch(&jar, 300);
    assert_eq!(snapshot(dir.path(), &patterns, poor, &third).unwrap().files["big.jar"].sha256, None);
}

#[test]
fn too_many_files_are_counted_and_never_called_removed() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..30 {
        fs::write(dir.path().join(format!("{n:02}.jar")), "x").unwrap();
    }
    let few = Limits { files: 10, ..LIMITS };
    let cut = snapshot(dir.path(), &globs(&["*"]), few, &Manifest::default()).unwrap();
    assert_eq!((cut.files.len(), cut.skipped), (10, 20));
    let all = snapshot(dir.path(), &globs(&["*"]), LIMITS, &Manifest::default()).unwrap();
    assert!(changes(&all, &cut).is_empty() && changes(&cut, &all).is_empty());
    fs::remove_file(dir.path().join("29.jar")).unwrap();
    let tiny = Limits { files: 2, ..LIMITS };
    assert!(snapshot(dir.path(), &globs(&["*"]), tiny, &Manifest::default()).unwrap().skipped > 0);
}

#[test]
fn links_are_not_followed_and_pipes_do_not_block() {
    let (dir, outside) = (server(), server());
    symlink(outside.path().join("mods"), dir.path().join("plugins")).unwrap();
    symlink("/etc/passwd", dir.path().join("mods/passwd")).unwrap();
    symlink(".", dir.path().join("config/loop")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("mods/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let manifest =
        snapshot(dir.path(), &globs(&["plugins/*", "mods/*", "config/**"]), LIMITS, &Manifest::default()).unwrap();
    assert_eq!(paths(&manifest), ["config/a.toml", "config/deep/er/b.toml", "mods/jei.jar"]);
}

#[test]
fn survives_being_stored() {
    let dir = server();
    let manifest = snapshot(dir.path(), &globs(&["**"]), LIMITS, &Manifest::default()).unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
    assert_eq!(manifest.files.len(), 6);
}
