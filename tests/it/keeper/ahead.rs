//! The next run's process, made while the present run lives: when it is, what becomes of it, and that nobody is the worse for
//! it.
use super::harness::{Bench, alive, eventually, send, status_field};
use crate::support::eventually_now;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use zlh::keeper::{
    layout::Progress,
    protocol::{Identity, Launch, LaunchStep, Order, Scope},
};

const MADE_WITHIN: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 50;
/// Longer than after its end a run that is started again is taken for one restarted at once.
#[cfg(feature = "failpoints")]
const LATE: Duration = Duration::from_millis(100);

/// A cgroup v2 of this test's own; gone with it.
pub struct Group(PathBuf);

impl Group {
    /// `None` where there is no writable cgroup v2: then nothing is made ahead.
    pub fn new(name: &str) -> Option<Group> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists())?;
        // What a test that was killed has left must not pass for a group that cannot be made: pids come back.
        let folder = tempfile::Builder::new().prefix(&format!("zlh-ahead-{name}-")).tempdir_in(root).ok()?;
        Some(Group(folder.keep()))
    }

    fn order(&self, bench: &mut Bench, script: &str) -> Launch {
        let path = |name: &str| self.0.join(name).into_os_string().into_encoded_bytes();
        Launch {
            cgroup_procs: vec![path("cgroup.procs")],
            cgroup_kill: Some(path("cgroup.kill")),
            identity: Some(Identity { uid: 65534, gid: 65534, groups: vec![] }),
            ..bench.shell(script)
        }
    }

    /// Who lives in the group of this run.
    fn members(&self, run: u64) -> Vec<i32> {
        let text = std::fs::read_to_string(self.0.join(format!("run-{run}/cgroup.procs"))).unwrap_or_default();
        text.lines().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for run in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            _ = std::fs::remove_dir(run.path());
        }
        _ = std::fs::remove_dir(&self.0);
    }
}

/// Whoever waits to be this run, if it is made soon: it is where the restart was ordered in time.
fn waiting(group: &Group, run: u64) -> Option<i32> {
    eventually_now(MADE_WITHIN, || group.members(run).into_iter().find(|pid| is_waiting(*pid)))
}

/// A living run, and the process that waits to be the one after it.
pub struct Pair {
    pub bench: Bench,
    group: Group,
    pub run: u64,
    pub pid: i32,
    pub waiting: i32,
}

impl Pair {
    /// Kills the main process and orders the same again at once, until that was prompt enough to be expected again.
    pub fn new(name: &str, script: &str) -> Option<Pair> {
        Pair::on(Bench::new(), name, script)
    }

    pub fn on(mut bench: Bench, name: &str, script: &str) -> Option<Pair> {
        let Some(group) = Group::new(name) else {
            eprintln!("no writable cgroup v2 here");
            return None;
        };
        let order = group.order(&mut bench, script);
        let mut pid = bench.link.launch(order);
        for _ in 0..ATTEMPTS {
            send(pid, libc::SIGKILL);
            bench.link.exited();
            let order = group.order(&mut bench, script);
            let run = order.run;
            pid = bench.link.launch(order);
            if let Some(waiting) = waiting(&group, run + 1) {
                return Some(Pair { bench, group, run, pid, waiting });
            }
        }
        panic!("nothing was made ahead after {ATTEMPTS} restarts");
    }

    /// The main process dies, and this is ordered next; the new main process.
    fn next(&mut self, order: Launch) -> i32 {
        send(self.pid, libc::SIGKILL);
        assert_eq!(self.bench.link.exited().run, self.run);
        self.bench.link.launch(order)
    }

    pub fn same(&mut self, script: &str) -> Launch {
        self.group.order(&mut self.bench, script)
    }
}

/// Asleep at its gate, with nothing else open but its terminal.
fn is_waiting(pid: i32) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    open == 4 && status_field(pid, "State").is_some_and(|state| state.starts_with('S'))
}

#[test]
fn it_becomes_the_next_run_and_nobody_sees_a_difference() {
    const SCRIPT: &str = "read a; echo \"$$ $(id -u) $(ls /proc/self/fd | wc -l)\"; exec sleep 1000";
    // On a busy machine an order may come too late, and another process is made for it.
    for attempt in 0..ATTEMPTS {
        let Some(mut pair) = Pair::new(&format!("becomes-{attempt}"), SCRIPT) else { return };
        let parent = status_field(pair.waiting, "PPid").unwrap();
        assert_eq!(parent, pair.bench.keeper.id().to_string());
        assert!(status_field(pair.waiting, "Uid").unwrap().starts_with("0\t"), "the workload's user cannot touch it");
        let order = pair.same(SCRIPT);
        let run = order.run;
        if pair.next(order) == pair.waiting {
            return lives_and_dies_like_any_other(pair, run);
        }
    }
    panic!("it was never called in {ATTEMPTS} restarts");
}

fn lives_and_dies_like_any_other(mut pair: Pair, run: u64) {
    let pid = pair.waiting;
    pair.bench.link.input(b"\n");
    pair.bench.wait_for(&format!("{pid} 65534 4\n"));
    let record = pair.bench.console().record().unwrap();
    assert_eq!((record.run, record.pid, record.progress), (run, pid, Progress::Launched));
    assert_eq!(pair.group.members(run), [pid]);
    send(pid, libc::SIGTERM);
    let record = pair.bench.link.exited();
    assert_eq!((record.pid, record.wait_code, record.wait_status), (pid, libc::CLD_KILLED, libc::SIGTERM));
    assert_eq!(pair.bench.link.tree_empty(run), 0);
}

#[test]
fn it_goes_when_something_else_is_ordered_or_nothing_or_its_keeper_dies() {
    let Some(mut pair) = Pair::new("other", "exec sleep 1000") else { return };
    let other = pair.same("exec sleep 999");
    assert_ne!(pair.next(other), pair.waiting);
    assert!(!alive(pair.waiting));
    drop(pair);

    let Some(mut pair) = Pair::new("nothing", "exec sleep 1000") else { return };
    send(pair.pid, libc::SIGKILL);
    pair.bench.link.exited();
    eventually("it goes", || (!alive(pair.waiting)).then_some(()));
    eventually("no group is left", || {
        (std::fs::read_dir(&pair.group.0).unwrap().flatten().all(|e| !e.path().is_dir())).then_some(())
    });
    pair.bench.link.send(&Order::Retire);
    assert!(pair.bench.keeper.wait().unwrap().success());
    drop(pair);

    let Some(mut pair) = Pair::new("keeper", "exec sleep 1000") else { return };
    pair.bench.kill_keeper();
    eventually("it goes with its keeper", || (!alive(pair.waiting)).then_some(()));
    send(pair.pid, libc::SIGKILL);
    eventually("all gone", || pair.group.members(pair.run).is_empty().then_some(()));
}

/// A backoff counts from the end of the run, and so its order may follow at once upon a report that comes late.
#[cfg(feature = "failpoints")]
#[test]
fn an_order_at_once_upon_a_late_report_is_no_restart_at_once() {
    let Some(group) = Group::new("late") else {
        eprintln!("no writable cgroup v2 here");
        return;
    };
    let mut bench = super::failpoints::bench_with("keeper.after_record_before_report:stop");
    let keeper = bench.keeper.id() as i32;
    let order = group.order(&mut bench, "exec sleep 1000");
    send(bench.link.launch(order), libc::SIGKILL);
    eventually("it stops", || status_field(keeper, "State").filter(|state| state.starts_with('T')));
    assert_eq!(eventually_now(LATE, || None::<()>), None);
    send(keeper, libc::SIGCONT);
    bench.link.exited();
    let order = group.order(&mut bench, "exec sleep 1000");
    let run = order.run;
    let pid = bench.link.launch(order);
    assert_eq!(waiting(&group, run + 1), None);
    // Asked to end its run, the keeper would stop once more.
    bench.kill_keeper();
    send(pid, libc::SIGKILL);
    eventually("all gone", || group.members(run).is_empty().then_some(()));
}

#[test]
fn one_that_was_killed_is_made_up_for() {
    let Some(mut pair) = Pair::new("killed", "echo up $$; exec sleep 1000") else { return };
    send(pair.waiting, libc::SIGKILL);
    let order = pair.same("echo up $$; exec sleep 1000");
    let pid = pair.next(order);
    assert_ne!(pid, pair.waiting);
    pair.bench.wait_for(&format!("up {pid}\n"));
}

#[test]
fn a_program_that_cannot_be_executed_any_more_is_a_failed_launch() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("game");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
    let script = format!("exec {} -c 'exec sleep 1000'", program.display());
    let Some(mut pair) = Pair::new("failing", &script) else { return };
    // The waiting one is replaced by one whose program is this link.
    let mut order = pair.same("exec sleep 1000");
    order.program = program.as_os_str().as_encoded_bytes().to_vec();
    let template = order.clone();
    pair.pid = pair.next(order);
    pair.run = template.run;
    let again = loop {
        let order = Launch { run: pair.same("").run, ..template.clone() };
        pair.pid = pair.next(order.clone());
        pair.run = order.run;
        if let Some(waiting) = waiting(&pair.group, pair.run + 1) {
            pair.waiting = waiting;
            break Launch { run: pair.same("").run, ..template };
        }
    };
    std::fs::remove_file(&program).unwrap();
    send(pair.pid, libc::SIGKILL);
    pair.bench.link.exited();
    assert_eq!(pair.bench.link.launch_fails(again), (LaunchStep::Exec, libc::ENOENT));
    assert_eq!(pair.bench.console().record().unwrap().progress, Progress::Failed);
    assert!(!alive(pair.waiting));
    let order = pair.same("echo well; exec sleep 1000");
    pair.bench.link.launch(order);
    pair.bench.wait_for("well\n");
}

#[test]
fn it_is_no_leftover_and_a_tree_kill_takes_it_along() {
    let script = "read a; (trap '' HUP; echo forked; exec sleep 998) & exec sleep 1000";
    let Some(mut pair) = Pair::new("leftover", script) else { return };
    pair.bench.link.input(b"\n");
    pair.bench.wait_for("forked\n");
    send(pair.pid, libc::SIGKILL);
    let record = pair.bench.link.exited();
    assert_eq!((record.run, record.leftovers), (pair.run, 1));
    assert_eq!(pair.bench.link.tree_empty(pair.run), 1);
    assert!(!alive(pair.waiting));
    drop(pair);

    let Some(mut pair) = Pair::new("tree", "exec sleep 1000") else { return };
    pair.bench.link.signal(pair.run, libc::SIGKILL, Scope::Tree);
    assert_eq!(pair.bench.link.exited().wait_status, libc::SIGKILL);
    assert_eq!(pair.bench.link.tree_empty(pair.run), 0);
    assert!(!alive(pair.waiting));
    let order = pair.same("echo again; exec sleep 1000");
    pair.bench.link.launch(order);
    pair.bench.wait_for("again\n");
}
