//! Signals to the right ones, and nothing of a run left behind.
use super::harness::{Bench, alive, eventually, marked, status_field};
use std::os::unix::ffi::OsStrExt;
use zlh::keeper::protocol::{Identity, Scope};

/// A child, a session of its own, a double fork, and all of them deaf to what can be ignored.
const FAMILY: &str = "trap '' TERM HUP INT\n\
    sleep 1000 &\n\
    setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' &\n\
    sh -c '(setsid sleep 1000 &) ; (sleep 1000 &)'\n\
    echo family";

fn with_mark(bench: &mut Bench, script: &str, mark: &str) -> zlh::keeper::protocol::Launch {
    let mut order = bench.shell(script);
    order.env.push(format!("MARK={mark}").into_bytes());
    order
}

fn named(pid: i32, name: &str) -> bool {
    status_field(pid, "Name").as_deref() == Some(name)
}

#[test]
fn a_tree_kill_finds_whoever_hid() {
    let mut bench = Bench::new();
    let order = with_mark(&mut bench, &format!("{FAMILY}; wait; sleep 1000"), "tree-kill-family");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("family");
    eventually("all up", || (marked("tree-kill-family").len() >= 7).then_some(()));
    bench.link.signal(run, 0, Scope::Tree);
    let record = bench.link.exited();
    assert_eq!((record.wait_code, record.wait_status), (libc::CLD_KILLED, libc::SIGKILL));
    assert!(bench.link.tree_empty(run) <= 6);
    assert_eq!(marked("tree-kill-family"), Vec::<i32>::new());
    bench.link.signal(run, 0, Scope::Tree);
    assert_eq!(bench.link.tree_empty(run), 0, "again is fine");
}

#[test]
fn what_outlives_the_main_process_is_counted_and_ended() {
    let mut bench = Bench::new();
    let order = with_mark(&mut bench, &format!("{FAMILY}; read a; exit 7"), "outliving-family");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("family");
    // The main process, five that sleep, and the shell of two of them that waits.
    let sleepers = || marked("outliving-family").iter().filter(|p| named(**p, "sleep")).count();
    eventually("all settled", || (sleepers() == 5 && marked("outliving-family").len() == 7).then_some(()));
    bench.link.input(b"\n");
    let record = bench.link.exited();
    assert_eq!((record.wait_code, record.wait_status, record.leftovers), (libc::CLD_EXITED, 7, 6));
    // A shell may reap its sleeper before its own end.
    assert!((5..=6).contains(&bench.link.tree_empty(run)));
    assert_eq!(marked("outliving-family"), Vec::<i32>::new());
}

#[test]
fn a_cgroup_kill_file_is_used() {
    let cgroup = std::path::Path::new("/sys/fs/cgroup/unified").join(format!("zlh-kill-{}", std::process::id()));
    if std::fs::create_dir(&cgroup).is_err() {
        eprintln!("no writable cgroup v2 here");
        return;
    }
    let path = |name: &str| cgroup.join(name).as_os_str().as_bytes().to_vec();
    let mut bench = Bench::new();
    // One process enters by itself and is nobody's descendant: only the file can reach it.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(cgroup.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    let mut order = bench.shell(&format!("{FAMILY}; exit 0"));
    order.cgroup_procs = vec![path("cgroup.procs")];
    order.cgroup_kill = Some(path("cgroup.kill"));
    let run = order.run;
    bench.link.launch(order);
    bench.link.exited();
    bench.link.tree_empty(run);
    stranger.wait().unwrap();
    eventually("an empty cgroup", || std::fs::remove_dir(&cgroup).ok());
}

#[test]
fn a_fork_bomb_ends() {
    let mut bench = Bench::new();
    // RLIMIT_NPROC counts all processes of a user, so the bomb gets a user of its own.
    let bomb = "import os, resource\nresource.setrlimit(resource.RLIMIT_NPROC, (150, 150))\nprint('lit', flush=True)\n\
                while True:\n try: os.fork()\n except OSError: pass";
    let mut order = bench.python(bomb);
    order.env.push(b"MARK=fork-bomb-here".to_vec());
    order.identity = Some(Identity { uid: 54321, gid: 54321, groups: vec![] });
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("lit");
    eventually("it has exploded", || (marked("fork-bomb-here").len() > 100).then_some(()));
    let lit = std::time::Instant::now();
    bench.link.signal(run, 0, Scope::Tree);
    bench.link.exited();
    bench.link.tree_empty(run);
    eprintln!("fork bomb ended in {:?}", lit.elapsed());
    assert_eq!(marked("fork-bomb-here"), Vec::<i32>::new());
}

#[test]
fn a_stopped_program_hears_sigterm() {
    let mut bench = Bench::new();
    let order = bench.shell("trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let run = order.run;
    let pid = bench.link.launch(order);
    bench.wait_for("ready");
    bench.link.signal(run, libc::SIGSTOP, Scope::Leader);
    eventually("stopped", || status_field(pid, "State").filter(|s| s.starts_with('T')));
    bench.link.signal(run, libc::SIGTERM, Scope::Leader);
    let record = bench.link.exited();
    assert_eq!(record.wait_status, 5);
    assert_eq!(bench.written(&record), "ready\nheard\n");
}

#[test]
fn a_group_signal_reaches_the_group_and_a_leader_signal_the_leader() {
    let mut bench = Bench::new();
    let order = bench.shell("trap 'echo heard' USR1; sleep 1000 & echo $! ready; while :; do wait; done");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("ready");
    let child: i32 = bench.console().text().split(' ').next().unwrap().parse().unwrap();
    bench.link.signal(run, libc::SIGUSR1, Scope::Leader);
    bench.wait_for("heard");
    assert!(alive(child), "the leader alone was meant");
    bench.link.signal(run, libc::SIGTERM, Scope::Group);
    bench.link.exited();
    bench.link.tree_empty(run);
    assert!(!alive(child));
}

#[test]
fn a_thousand_orphans_leave_no_zombie() {
    let mut bench = Bench::new();
    let script = "import os, signal\nfor i in range(1000):\n if os.fork() == 0:\n  if os.fork() == 0: os._exit(0)\n  os._exit(0)\n os.wait()\nprint('done', flush=True)\nsignal.pause()";
    let order = bench.python(script);
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("done");
    let keeper = bench.keeper.id().to_string();
    let children_of_keeper = || {
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| status_field(*pid, "PPid").is_some_and(|p| p == keeper))
            .count()
    };
    eventually("only the main process is left", || (children_of_keeper() == 1).then_some(()));
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    let record = bench.link.exited();
    assert_eq!(record.leftovers, 0);
}

#[test]
fn whoever_holds_the_terminal_does_not_delay_the_report() {
    let mut bench = Bench::new();
    let order = bench.shell("trap '' HUP TERM; (trap '' HUP TERM; exec setsid sleep 1000) & echo bye; exit 0");
    // What still holds it would do so for longer than any report is waited for.
    let (record, text) = bench.run(order);
    assert_eq!((record.wait_status, text.as_str()), (0, "bye\n"));
}
