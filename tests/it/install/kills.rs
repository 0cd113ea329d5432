//! `kill -9` at every step of an install: afterwards there is the old tree or the new one, whole, and the next install works.
use super::{
    Place,
    archives::{Entry, file, gz, tar},
    contents, names, sha256,
};
use crate::support::web::{Web, file as serve};
use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};
use zlh::host::install::verify;

fn tree(mark: &str, files: usize, size: usize) -> Vec<u8> {
    let entries: Vec<Entry> =
        (0..files).map(|n| file(format!("top/f{n}"), format!("{mark}{n} ").repeat(size / 8))).collect();
    gz(&tar(&entries))
}

/// `zlh install` of `name` into the place's target.
fn command(place: &Place, web: &Web, name: &str, bytes: &[u8]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.args(["install", "--url", &format!("{}/{name}", web.url), "--sha256", &sha256(bytes).to_string()]);
    command.arg("--cache").arg(place.folder.path().join("cache")).arg("--into").arg(place.target());
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

const POINTS: [&str; 10] = [
    "install.staging",
    "install.fetched",
    "install.unpacked",
    "install.recorded",
    "install.synced",
    "install.exchanged",
    "install.renamed",
    "install.activated",
    "install.fetched@2",
    "none",
];

#[test]
fn a_kill_at_any_step_leaves_the_old_tree_or_the_new() {
    let (old, new) = (tree("old", 5, 1000), tree("new", 30, 50_000));
    let web = Web::of_files(&[("old.tar.gz", &old), ("new.tar.gz", &new)]);
    let [is_old, is_new] = [("old.tar.gz", &old), ("new.tar.gz", &new)].map(|(name, bytes)| {
        let place = Place::new();
        place.install(&web.url, name, Some(sha256(bytes))).unwrap();
        contents(&place.target())
    });
    for point in POINTS {
        for upgrade in [false, true] {
            let place = Place::new();
            if upgrade {
                assert!(command(&place, &web, "old.tar.gz", &old).status().unwrap().success());
            }
            let status = command(&place, &web, "new.tar.gz", &new).env("ZLH_FAIL", point).status().unwrap();
            let reached = !status.success();
            let expected = !matches!(point, "none" | "install.fetched@2") && (upgrade || point != "install.exchanged");
            assert_eq!(reached, expected, "{point}: {status}");
            if place.target().exists() {
                assert!(verify(&place.target(), &place.cancel, &|_| ()).unwrap().is_whole(), "{point}");
                let found = contents(&place.target());
                assert!(found == is_new || (upgrade && found == is_old), "{point}: {:?}", found.keys());
            } else {
                assert!(!upgrade, "{point}: the old tree is gone");
            }
            assert!(command(&place, &web, "new.tar.gz", &new).status().unwrap().success(), "{point}");
            assert_eq!(contents(&place.target()), is_new, "{point}");
            place.assert_untouched(point);
            assert_eq!(names(&place.folder.path().join("cache/partial")), [""; 0], "{point}");
        }
    }
}

#[test]
fn fifty_kills_at_random_moments_end_in_a_correct_install() {
    let bytes = tree("some", 200, 500_000);
    let served = bytes.clone();
    let web = Web::start(move |ask, out| serve(ask, out, &served, "\"v1\""));
    let place = Place::new();
    let began = Instant::now();
    assert!(command(&place, &web, "a.tar.gz", &bytes).status().unwrap().success());
    let (whole, expected) = (began.elapsed(), contents(&place.target()));
    fs::remove_dir_all(place.folder.path().join("cache")).unwrap();
    let mut killed = 0;
    for n in 0..50u32 {
        // Spread over the whole time, not in order; now and then what was kept is lost.
        let moment = whole.mul_f64(f64::from(n * 37 % 50) / 50.0);
        if n % 10 == 0 {
            _ = fs::remove_dir_all(place.folder.path().join("cache"));
        }
        let mut child = command(&place, &web, "a.tar.gz", &bytes).spawn().unwrap();
        let ended = crate::support::eventually_now(moment, || child.try_wait().unwrap());
        if ended.is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        assert!(verify(&place.target(), &place.cancel, &|_| ()).unwrap().is_whole(), "kill {n}");
    }
    assert!(killed >= 25, "only {killed} of 50 were killed in time");
    assert!(command(&place, &web, "a.tar.gz", &bytes).status().unwrap().success());
    assert_eq!(contents(&place.target()), expected);
    place.assert_untouched("after the last");
}
