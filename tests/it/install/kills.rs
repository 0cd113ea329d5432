//! `kill -9` at every step of an install: afterwards there is the old tree or the new one, whole, and the next install works.
use super::{
    Place,
    archives::{Entry, file, gz, tar},
    contents, names, sha256,
};
use crate::support::web::{Web, file as serve};
use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
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
    let (mut whole, expected) = (began.elapsed(), contents(&place.target()));
    fs::remove_dir_all(place.folder.path().join("cache")).unwrap();
    for n in 0..50u32 {
        // Spread over the whole time, not in order; now and then what was kept is lost.
        let part = f64::from(n * 37 % 50) / 50.0;
        if n % 10 == 0 {
            _ = fs::remove_dir_all(place.folder.path().join("cache"));
        }
        loop {
            let mut child = command(&place, &web, "a.tar.gz", &bytes).spawn().unwrap();
            crate::support::eventually_now(whole.mul_f64(part), || child.try_wait().unwrap());
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            assert!(verify(&place.target(), &place.cancel, &|_| ()).unwrap().is_whole(), "kill {n}");
            if ended.signal() == Some(libc::SIGKILL) {
                break;
            }
            assert!(ended.success(), "kill {n}: {ended}");
            whole = whole.mul_f64(0.9); // done before its kill: installs are quicker now than the first was
        }
    }
    assert!(command(&place, &web, "a.tar.gz", &bytes).status().unwrap().success());
    assert_eq!(contents(&place.target()), expected);
    place.assert_untouched("after the last");
}

/// renameat2(2) of a file system that knows no flags: EINVAL for every call with one.
fn without_rename_flags(command: &mut Command) {
    const NR: u32 = 0; // offsets in struct seccomp_data
    const FLAGS: u32 = 16 + 4 * 8;
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: u32| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0);
    let equal = |k: u32, jt: u8, jf: u8| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let answer = |k: u32| step(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    let program = [
        load(NR),
        equal(libc::SYS_renameat2 as u32, 0, 3),
        load(FLAGS),
        equal(0, 1, 0),
        answer(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = move || {
        let list = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: plain system calls of the child between fork and exec; the program lives in this closure.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const list) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure calls nothing but prctl(2).
    unsafe { command.pre_exec(filter) };
}

/// There the old tree is moved aside before the new one comes: for a moment there is none, and the next start puts it back.
#[test]
fn where_names_cannot_be_exchanged_a_kill_between_two_renames_is_made_up_for() {
    let (old, new) = (tree("old", 5, 1000), tree("new", 30, 50_000));
    let web = Web::of_files(&[("old.tar.gz", &old), ("new.tar.gz", &new)]);
    let place = Place::new();
    let run = |name: &str, bytes: &[u8], fail: &str| {
        let mut command = command(&place, &web, name, bytes);
        without_rename_flags(&mut command);
        command.env("ZLH_FAIL", fail).status().unwrap()
    };
    assert!(run("old.tar.gz", &old, "").success());
    let is_old = contents(&place.target());
    assert!(!run("new.tar.gz", &new, "install.moved_aside").success(), "it is killed there");
    assert!(!place.target().exists(), "the moment between");
    assert_eq!(zlh::host::install::sweep(&place.things()).unwrap().restored, 1);
    assert_eq!(contents(&place.target()), is_old);
    assert!(verify(&place.target(), &place.cancel, &|_| ()).unwrap().is_whole());

    assert!(!run("new.tar.gz", &new, "install.moved_aside").success());
    assert!(run("new.tar.gz", &new, "").success(), "the next install sweeps by itself");
    assert!(contents(&place.target()).contains_key("f29"), "{:?}", contents(&place.target()).keys());
    place.assert_untouched("after the last");
}
