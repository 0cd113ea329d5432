//! Versions side by side: which is active, who uses one, and how one goes away. And the first run of what was unpacked.
use super::{
    Place,
    archives::{file, tar},
    sha256,
};
use crate::support::{eventually_now, web::Web};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use zlh::{
    host::{
        accounts,
        install::{Check, CheckFailed, Checked, How, Job, Label, RemoveError, Shelf, check, stage, users_of},
        store::Durability,
    },
    model::settings::Install,
};

/// Two versions, each with a program of its own that can run.
fn shelf(place: &Place) -> Shelf {
    let program = fs::read("/bin/sleep").unwrap();
    let archive = tar(&[file("top/bin/sleep", program).mode(0o755), file("top/data", "x")]);
    let web = Web::of_files(&[("a.tar", &archive)]);
    for version in ["1.0", "2.0"] {
        place.with_job(&web.url, "a.tar", Some(sha256(&archive)), |job| {
            let target = place.things().join(version);
            let label = Label { version: version.into(), ..job.label.clone() };
            let staged = stage(&Job { target: &target, label, ..*job }).unwrap();
            staged.activate(Durability::Machine).unwrap();
        });
    }
    Shelf::at(place.things())
}

/// Ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn versions_lie_side_by_side_and_one_is_active() {
    let place = Place::new();
    let shelf = shelf(&place);
    fs::create_dir(place.things().join("3.0")).unwrap();
    let versions: Vec<String> = shelf.versions().unwrap().into_iter().map(|i| i.label.version).collect();
    assert_eq!(versions, ["1.0", "2.0"], "a folder without a manifest is no version");
    assert_eq!(shelf.active().unwrap(), None);
    for version in ["1.0", "2.0", "1.0"] {
        shelf.activate(version).unwrap();
        assert_eq!(shelf.active().unwrap().as_deref(), Some(version));
        assert_eq!(fs::read_link(place.things().join("current")).unwrap(), Path::new(version));
    }
    for bad in ["3.0", "4.0", "..", "current", "", "a/b"] {
        assert!(shelf.activate(bad).is_err(), "{bad:?}");
    }
    assert_eq!(shelf.active().unwrap().as_deref(), Some("1.0"));
    assert!(Shelf::at("/nowhere/at/all").versions().unwrap().is_empty());
}

#[test]
fn what_is_active_or_in_use_is_not_removed() {
    let place = Place::new();
    let shelf = shelf(&place);
    shelf.activate("1.0").unwrap();
    assert!(matches!(shelf.remove("1.0", true), Err(RemoveError::Active(_))));
    assert!(matches!(shelf.remove("9.9", false), Err(RemoveError::Absent(_))));
    let tree = place.things().join("2.0");
    let running = Process::start(Command::new(tree.join("bin/sleep")).arg("600"));
    let pid = running.0.id() as i32;
    eventually_now(Duration::from_secs(60), || (!shelf.users("2.0").unwrap().seen.is_empty()).then_some(())).unwrap();
    let error = shelf.remove("2.0", false).unwrap_err();
    assert!(error.to_string().contains(&format!("in use by sleep ({pid})")), "{error}");
    assert!(tree.join("data").exists());
    drop(running);
    assert_eq!(shelf.remove("2.0", false).unwrap().seen, []);
    assert!(!tree.exists());
    assert_eq!((place.trash().len(), shelf.empty_trash(|| false).unwrap(), place.trash().len()), (1, 1, 0));
}

#[test]
fn every_way_of_using_a_tree_is_seen() {
    let place = Place::new();
    shelf(&place);
    let tree = place.things().join("1.0");
    let script = "import mmap,sys; f=open('data','rb'); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ); f.close(); import os; os.chdir('/'); sys.stdin.read()";
    let mapping = Process::start(Command::new("python3").args(["-c", script]).current_dir(&tree));
    let standing = Process::start(Command::new("sleep").arg("600").current_dir(tree.join("bin")));
    let opened = fs::File::open(tree.join("data")).unwrap();
    let holding = Process(Command::new("sleep").arg("600").stdin(opened).spawn().unwrap());
    let ways = [(&mapping, How::Maps, "data"), (&standing, How::StandsIn, "bin"), (&holding, How::HoldsOpen, "data")];
    for (process, how, name) in ways {
        let pid = process.0.id() as i32;
        let seen = eventually_now(Duration::from_secs(60), || {
            let users = users_of(&tree).unwrap();
            users.seen.into_iter().find(|user| user.pid == pid && user.how == how)
        });
        assert_eq!(seen.unwrap_or_else(|| panic!("{how:?} is not seen")).path, tree.join(name));
    }
}

fn try_out(script: &str, within: Duration) -> Result<Checked, CheckFailed> {
    let env = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    let nobody = accounts::look_up("nobody").unwrap();
    let install = Install { check_within: within, ..Install::default() };
    let of = Check::new("/bin/sh", &["-c", script], Path::new("/tmp"), &install);
    check(&Check { env, account: nobody.as_ref(), ..of }, &CancellationToken::new())
}

#[test]
fn the_first_run_is_confined_and_its_last_words_are_kept() {
    let minute = Duration::from_secs(60);
    let said = try_out("echo $GREETING; id -un; id -G; pwd; env | sort | cut -d= -f1 | xargs", minute).unwrap().output;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["hello", "nobody"]);
    assert!(!lines[2].split(' ').any(|group| group == "0"), "root's groups stay: {said}");
    assert!(!lines[4].contains("CARGO"), "our own environment leaks: {said}");
    let failed = try_out("echo about to fail; echo cannot find libc.so >&2; exit 3", minute).unwrap_err();
    assert_eq!(failed.output, "about to fail\ncannot find libc.so");
    assert!(failed.to_string().contains("exit status: 3") && failed.to_string().contains("libc.so"), "{failed}");
    let flood = try_out("seq 1 200000; exit 1", minute).unwrap_err();
    assert!(flood.output.len() <= 4096 && flood.output.ends_with("200000"));
}

#[test]
fn a_first_run_that_hangs_is_ended_with_all_that_it_started() {
    let hung = try_out("sleep 601 & echo started; wait", Duration::from_millis(500)).unwrap_err();
    assert!(hung.to_string().contains("did not end within 500ms"), "{hung}");
    assert_eq!(hung.output, "started");
    let gone = eventually_now(Duration::from_secs(60), || {
        let pids = fs::read_dir("/proc").unwrap().filter_map(|e| fs::read(e.unwrap().path().join("cmdline")).ok());
        (!pids.into_iter().any(|line| line == b"sleep\x00601\x00")).then_some(())
    });
    assert!(gone.is_some(), "its child lives on");
}
