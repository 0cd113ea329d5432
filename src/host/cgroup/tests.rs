//! Real groups on the machine that runs the tests, each with a random name and removed afterwards.
use super::*;
use std::{
    process::{Command, Stdio},
    time::Instant,
};

/// Removes the groups when the test ends, whatever happened.
struct Scratch(WorkloadCgroup);

impl Scratch {
    fn new(limits: Limits) -> Scratch {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        Scratch(WorkloadCgroup::prepare(&Places::of_this_process().unwrap(), &name, limits))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.0.remove() && Instant::now() < until {
            let _ = self.0.kill();
            std::thread::yield_now();
        }
    }
}

/// A shell that enters the group and then runs `script`.
fn enter(group: &WorkloadCgroup, script: &str) -> Command {
    let enter: String = group.procs_files().iter().map(|f| format!("echo 0 > {} && ", f.display())).collect();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{enter} {script}")]).stdin(Stdio::null());
    command
}

fn writable() -> bool {
    let group = Scratch::new(Limits::default());
    !group.0.procs_files().is_empty()
}

#[test]
fn what_a_machine_without_cgroups_cannot_do_is_said_and_stops_nothing() {
    let group = WorkloadCgroup::prepare(
        &Places::default(),
        "x",
        Limits { memory_bytes: Some(1), processes: Some(1), ..Limits::default() },
    );
    let codes: Vec<&str> = group.warnings().iter().map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["cgroup_memory_unavailable", "cgroup_pids_unavailable", "cgroup_kill_unavailable"]);
    assert!(group.procs_files().is_empty() && group.kill_file().is_none() && group.oom_counter().is_none());
    assert_eq!(group.figures(), Figures::default());
    assert!(group.kill().is_ok() && group.remove());
}

#[test]
fn a_folder_that_cannot_be_written_is_a_warning() {
    let place = PathBuf::from("/proc/self");
    let places = Places { unified: Some(place.clone()), memory_v1: Some(place), ..Places::default() };
    let group = WorkloadCgroup::prepare(&places, "x", Limits::default());
    assert_eq!(group.warnings().iter().filter(|w| w.code == "cgroup_unavailable").count(), 2);
    assert!(group.procs_files().is_empty());
}

#[test]
fn preparing_twice_is_the_same_group_and_an_empty_one_goes_away() {
    if !writable() {
        return eprintln!("no cgroup can be written here");
    }
    let limits = Limits { memory_bytes: Some(64 << 20), processes: Some(50), ..Limits::default() };
    let group = Scratch::new(limits);
    assert!(group.0.is_prepared_for(limits) && !group.0.is_prepared_for(Limits::default()));
    assert_eq!(group.0.figures().memory_limit_bytes, Some(64 << 20), "{:?}", group.0);
    let name = group.0.folders().next().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let places = Places::of_this_process().unwrap();
    let again = WorkloadCgroup::prepare(&places, name.strip_prefix("zlh-").unwrap(), Limits::default());
    assert_eq!(again.procs_files(), group.0.procs_files());
    assert_eq!(again.figures().memory_limit_bytes, None, "lifted again");
    assert!(group.0.remove() && group.0.remove(), "empty, and removing twice is fine");
    assert!(!group.0.is_prepared_for(limits));
}

#[test]
fn nothing_inside_survives_a_kill_also_without_cgroup_kill() {
    if !writable() {
        return eprintln!("no cgroup can be written here");
    }
    for one_by_one in [false, true] {
        let mut group = Scratch::new(Limits::default());
        let parts = group.0.clone();
        let mut child =
            enter(&group.0, "(setsid sh -c 'sleep 61 & sleep 61' &) ; sleep 61 & exec sleep 61").spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while group.0.pids().len() < 5 {
            assert!(Instant::now() < until, "{:?}", group.0.pids());
            std::thread::yield_now();
        }
        assert!(group.0.figures().processes.is_none_or(|n| n >= 5));
        if one_by_one {
            // Only v1 folders are left, where the kernel offers no kill.
            group.0.unified = None;
        }
        while !group.0.pids().is_empty() {
            group.0.kill().unwrap();
            assert!(Instant::now() < until);
        }
        child.wait().unwrap();
        group.0 = parts;
    }
}

#[test]
fn the_kernel_kills_for_memory_and_says_so() {
    let limit = 64 << 20;
    let group = Scratch::new(Limits { memory_bytes: Some(limit), ..Limits::default() });
    if group.0.oom_counter().is_none() {
        return eprintln!("no memory controller can be written here");
    }
    assert_eq!(group.0.figures().oom_kills, Some(0));
    let status = enter(&group.0, "exec python3 -c 'x = bytearray(300 << 20)'").status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    let figures = group.0.figures();
    assert_eq!(figures.oom_kills, Some(1));
    assert!(figures.memory_peak_bytes.is_some_and(|p| p > limit / 2), "{figures:?}");
    assert!(figures.cpu.is_some_and(|c| c > Duration::ZERO), "{figures:?}");
}

#[test]
fn controllers_are_handed_down_only_by_those_who_live_alone() {
    let folder = tempfile::tempdir().unwrap();
    let put = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    put("cgroup.controllers", "cpu memory pids\n");
    put("cgroup.subtree_control", "pids\n");
    hand_down_controllers(folder.path());
    assert_eq!(fs::read_to_string(folder.path().join("cgroup.subtree_control")).unwrap(), "+memory");

    put(PROCS, &format!("{}\n{}\n", std::process::id(), nix::unistd::getppid()));
    assert!(step_aside(folder.path()).is_err(), "our parent is not ours to move");
    for other in [0, 1] {
        put(PROCS, &format!("{}\n{other}\n", std::process::id()));
        assert!(step_aside(folder.path()).is_err(), "{other}: a group that is left half is no use");
    }
    assert!(!folder.path().join(place::AGENT_GROUP).exists());
}
