//! Real processes: who they are, how they end, and whom a signal may hit.
#![allow(clippy::zombie_processes, reason = "reaped through their pidfds: that is what is tested")]
use super::*;
use std::{
    collections::HashMap,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

fn sh(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).process_group(0).stdout(Stdio::piped()).spawn().unwrap()
}

fn who(child: &Child) -> Identity {
    Identity::of(child.id() as i32).unwrap().unwrap()
}

async fn end_of(fd: &PidFd) -> Ended {
    tokio::time::timeout(Duration::from_secs(60), fd.gone()).await.unwrap().unwrap();
    fd.reap().unwrap().unwrap()
}

fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within 10 s");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_child_is_waited_for_and_its_status_is_the_kernels() {
    for (script, want) in
        [("exit 7", Ended::Code(7)), ("kill -9 $$", Ended::Signal(9, false)), ("exit 0", Ended::Code(0))]
    {
        let child = sh(&format!("sleep 0.05; {script}"));
        let fd = PidFd::open(&who(&child)).unwrap().unwrap();
        assert_eq!(fd.reap().unwrap(), None, "still alive");
        assert_eq!(end_of(&fd).await, want, "{script}");
        assert_eq!(fd.reap().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert!(!fd.signal(Signal::SIGTERM).unwrap(), "nobody there to hear it");
    }
}

#[tokio::test]
async fn a_wrong_start_time_or_boot_is_another_process() {
    let child = sh("exec sleep 60");
    let me = who(&child);
    let other_start = Identity { start_ticks: me.start_ticks + 1, ..me };
    let other_boot = Identity { boot_id: BootId([9; 16]), ..me };
    for stranger in [other_start, other_boot] {
        assert!(PidFd::open(&stranger).unwrap().is_none());
        assert!(ProcessGroup::led_by(&stranger).unwrap().is_none());
        assert!(session_members(&stranger).is_empty());
    }
    let fd = PidFd::open(&me).unwrap().unwrap();
    assert!(ProcessGroup::led_by(&me).unwrap().unwrap().signal(Signal::SIGKILL).unwrap());
    assert_eq!(end_of(&fd).await, Ended::Signal(9, false));
    assert!(PidFd::open(&me).unwrap().is_none());
}

#[test]
fn pids_that_mean_more_than_one_process_are_refused() {
    let boot_id = BootId::current().unwrap();
    for pid in [0, 1, -1, -5] {
        let me = Identity { pid, start_ticks: 0, boot_id };
        assert!(PidFd::open(&me).is_err(), "pid {pid}");
        assert!(!matches!(ProcessGroup::led_by(&me), Ok(Some(_))), "pid {pid}");
    }
    let ours = Identity::of(nix::unistd::getpgrp().as_raw()).unwrap();
    if let Some(leader) = ours {
        assert_eq!(ProcessGroup::led_by(&leader).unwrap(), None, "our own group");
    }
}

#[test]
fn descendants_are_found_through_every_generation() {
    let mut child = sh("sh -c 'sleep 60 & setsid sleep 60 & wait' & wait");
    let root = who(&child);
    let tree = poll(|| Some(descendants(&root)).filter(|t| t.len() >= 3));
    for p in &tree {
        assert!(PidFd::open(p).unwrap().is_some_and(|fd| fd.signal(Signal::SIGKILL).unwrap()));
    }
    PidFd::open(&root).unwrap().unwrap().signal(Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert!(descendants(&root).is_empty());
}

#[test]
fn a_status_of_a_reaped_stranger_is_read_where_the_kernel_tells() {
    let mut child = sh("exec sleep 60");
    let fd = PidFd::open(&who(&child)).unwrap().unwrap();
    assert_eq!(fd.status_after_reap(), None, "it lives");
    fd.signal(Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    let told = fd.status_after_reap();
    assert!(told.is_none() || told == Some(Ended::Signal(9, false)), "{told:?}");
}

#[test]
fn only_a_zombie_of_two_sweeps_is_an_orphan() {
    // Only this test's own child is offered: other tests wait for theirs meanwhile.
    let offer = |child: &Child| {
        let stat = poll(|| Stat::read(child.id() as i32).unwrap().filter(Stat::is_zombie));
        HashMap::from([(stat.pid, stat.start_ticks)])
    };
    let mut reaper = OrphanReaper::default();
    let mut child = sh("exit 5");
    assert_eq!(reaper.reap_old(offer(&child)), 0);
    assert_eq!(child.wait().unwrap().code(), Some(5), "the first sweep took nothing");

    let child = sh("exit 5");
    let zombie = offer(&child);
    assert_eq!(reaper.reap_old(zombie.clone()), 0);
    assert_eq!(reaper.reap_old(zombie), 1);
    assert!(Stat::read(child.id() as i32).unwrap().is_none(), "gone for good");
}
