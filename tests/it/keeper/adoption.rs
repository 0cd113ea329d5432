//! The keeper dies, the program does not: successor, state file, and what is still known.
use super::harness::{Bench, Console, Link, PATIENCE, alive, command, eventually, segments, send, spawn};
use nix::sys::prctl;
use std::os::fd::AsRawFd;
use zlh::keeper::{
    layout::{self, Progress, RunRecord},
    protocol::{Order, Report, Scope},
};

/// Asks for PTY master and pidfd.
fn fds_of(link: &mut Link) -> Vec<std::os::fd::OwnedFd> {
    link.send(&Order::GiveFds);
    link.until("descriptors", |r| matches!(r, Report::Fds { .. }).then_some(()));
    std::mem::take(&mut link.fds)
}

/// Kills the keeper under a living run and puts another in its place, which takes the run up.
fn replace_keeper(bench: &mut Bench, record: &RunRecord, fds: &[std::os::fd::OwnedFd]) {
    bench.kill_keeper();
    let left = bench.console().record().expect("the state file outlives its keeper");
    assert_eq!((left.progress, left.pid, left.start_ticks), (Progress::Launched, record.pid, record.start_ticks));
    (bench.keeper, bench.link) = spawn(&bench.dir(), &[]);
    assert_eq!(bench.link.hello(), RunRecord::default(), "the successor does not hold the run of old yet");
    let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    bench.link.send_with(&adopt(record), &raw);
    bench.link.until("adopted", |r| matches!(r, Report::Launched { .. }).then_some(()));
}

fn adopt(record: &RunRecord) -> Order {
    Order::Adopt { run: record.run, pid: record.pid, start_ticks: record.start_ticks }
}

#[test]
fn a_successor_takes_the_run_up_with_all_that_belongs_to_it() {
    // Orphans come to this process, as they come to the agent; it reaps like the agent does.
    prctl::set_child_subreaper(true).unwrap();
    let mut bench = Bench::new();
    let console = bench.console();
    let order = bench.shell("echo first; while read a; do echo got $a; [ \"$a\" = end ] && exit 9; done");
    let pid = bench.link.launch(order);
    bench.wait_for("first\n");
    let record = console.record().unwrap();
    let fds = fds_of(&mut bench.link);
    let epoch = console.word(layout::AT_EPOCH);
    replace_keeper(&mut bench, &record, &fds);
    drop(fds);
    assert!(alive(pid));
    assert_eq!(console.word(layout::AT_EPOCH), epoch);
    bench.link.input(b"more\n");
    bench.wait_for("first\ngot more\n");
    bench.link.send(&Order::Resize { columns: 99, rows: 33 });
    let run = record.run;
    bench.link.input(b"end\n");
    eventually("the child is reaped", || {
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            .is_ok_and(|s| s.pid().is_some())
            .then_some(())
    });
    let ended = bench.link.exited();
    match (ended.progress, ended.wait_code, ended.wait_status) {
        (Progress::Exited, libc::CLD_EXITED, 9) => {}
        // A kernel before 6.15 cannot tell.
        (Progress::Vanished, 0, 0) if kernel_before(6, 15) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((ended.run, ended.log_start, ended.log_end), (run, 0, console.head()));
    bench.link.tree_empty(run);
    eventually("on disk", || (segments(&bench.log_dir()).concat_all() == b"first\ngot more\ngot end\n").then_some(()));
}

trait ConcatAll {
    fn concat_all(&self) -> Vec<u8>;
}

impl ConcatAll for Vec<(u64, Vec<u8>)> {
    fn concat_all(&self) -> Vec<u8> {
        self.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

fn kernel_before(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) < (major, minor)
}

#[test]
fn an_adopted_run_hears_signals_and_its_tree_ends() {
    prctl::set_child_subreaper(true).unwrap();
    let mut bench = Bench::new();
    let order = bench.shell("trap 'echo term' TERM; sleep 1000 & echo $! up; while :; do wait; done");
    let run = order.run;
    let pid = bench.link.launch(order);
    bench.wait_for(" up\n");
    let sleeper: i32 = bench.console().text().split(' ').next().unwrap().parse().unwrap();
    let record = bench.console().record().unwrap();
    let fds = fds_of(&mut bench.link);
    replace_keeper(&mut bench, &record, &fds);
    bench.link.signal(run, libc::SIGTERM, Scope::Leader);
    bench.wait_for("term\n");
    assert!(alive(sleeper));
    let next = bench.shell("true");
    assert_eq!(bench.link.launch_fails(next).1, libc::EBUSY);
    bench.link.signal(run, 0, Scope::Tree);
    for pid in [pid, sleeper] {
        let pid = nix::unistd::Pid::from_raw(pid);
        eventually("reaped", || {
            use nix::sys::wait::{WaitPidFlag, waitpid};
            (waitpid(pid, Some(WaitPidFlag::WNOHANG)) != Ok(nix::sys::wait::WaitStatus::StillAlive)).then_some(())
        });
    }
    bench.link.exited();
    bench.link.tree_empty(run);
    assert!(!alive(sleeper));
    let next = bench.shell("echo next");
    assert_eq!(bench.run(next).1, "next\n");
}

#[test]
fn nothing_is_adopted_on_a_word() {
    prctl::set_child_subreaper(true).unwrap();
    let mut bench = Bench::new();
    let order = bench.shell("echo up; exec sleep 1000");
    let pid = bench.link.launch(order);
    bench.wait_for("up");
    let record = bench.console().record().unwrap();
    let fds = fds_of(&mut bench.link);
    let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    bench.kill_keeper();
    (bench.keeper, bench.link) = spawn(&bench.dir(), &[]);
    let next = bench.shell("true");
    assert_eq!(bench.link.launch_fails(next).1, libc::EBUSY, "the old program still lives");
    bench.link.send(&adopt(&record));
    assert!(bench.link.refused().contains("must come with"));
    bench.link.send_with(&adopt(&RunRecord { start_ticks: 1, ..record }), &raw);
    assert!(bench.link.refused().contains("pidfd"));
    bench.link.send_with(&adopt(&RunRecord { pid: std::process::id() as i32, ..record }), &raw);
    assert!(bench.link.refused().contains("pidfd"));
    bench.link.send_with(&adopt(&record), &[raw[1], raw[0]]);
    assert!(!bench.link.refused().is_empty());
    bench.link.send_with(&adopt(&record), &raw);
    bench.link.until("adopted", |r| matches!(r, Report::Launched { .. }).then_some(()));
    bench.link.signal(record.run, libc::SIGKILL, Scope::Leader);
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    bench.link.exited();
}

#[test]
fn the_end_of_a_program_without_an_agent_waits_for_the_next_one() {
    let mut bench = Bench::new();
    let order = bench.shell("echo on my own; read a; exit 4");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("own");
    // The keeper sees its agent go, and the program ends while nobody is there. A test that forks at this moment holds the
    // connection open a little longer.
    let files = format!("/proc/{}/fd", bench.keeper.id());
    let open = || std::fs::read_dir(&files).unwrap().count();
    let log = bench.log_dir();
    eventually("its log is open", || (!segments(&log).is_empty()).then_some(()));
    let before = open();
    bench.link = Link::new(std::os::unix::net::UnixStream::pair().unwrap().0);
    eventually("the keeper sees it", || (open() < before).then_some(()));
    let record = bench.console().record().unwrap();
    let pid = record.pid;
    send(pid, libc::SIGTERM);
    let console = bench.console();
    let told = eventually("recorded", || console.record().filter(|r| r.progress == Progress::Exited));
    assert!(bench.keeper.try_wait().unwrap().is_none(), "it stays to tell");
    let mut link = Link::connect(&bench.dir());
    assert_eq!(link.hello(), told);
    assert_eq!((told.run, told.wait_status), (run, libc::SIGTERM));
    drop(link);
    let deadline = std::time::Instant::now() + PATIENCE;
    while bench.keeper.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "told, and nothing left to do: it leaves");
        std::thread::yield_now();
    }
}

#[test]
fn a_second_keeper_refuses() {
    let mut bench = Bench::new();
    bench.link.hello();
    let console = bench.console();
    let keeper = console.word(layout::AT_KEEPER_PID);
    assert_eq!(command(&bench.dir(), None).status().unwrap().code(), Some(75));
    assert_eq!(console.word(layout::AT_KEEPER_PID), keeper);
}

#[test]
fn a_page_of_another_boot_or_a_damaged_one_means_nothing() {
    use std::os::unix::fs::FileExt;
    for at in [0, layout::AT_BOOT_ID, layout::AT_RING_SIZE] {
        let mut bench = Bench::new();
        let order = bench.shell("echo before");
        bench.run(order);
        eventually("on disk", || (segments(&bench.log_dir()).len() == 1).then_some(()));
        bench.link.send(&Order::Retire);
        assert!(bench.keeper.wait().unwrap().success());
        let epoch = bench.console().word(layout::AT_EPOCH);
        let state = bench.dir().join(layout::STATE_FILE);
        let file = std::fs::OpenOptions::new().write(true).open(&state).unwrap();
        file.write_all_at(b"?", at as u64).unwrap();
        (bench.keeper, bench.link) = spawn(&bench.dir(), &[]);
        assert_eq!(bench.link.hello(), RunRecord::default(), "byte {at}");
        let order = bench.shell("echo after");
        let (record, text) = bench.run(order);
        let console = Console::open(&bench.dir());
        assert_ne!(console.word(layout::AT_EPOCH), epoch);
        assert_eq!((record.log_start, text.as_str()), (7, "after\n"), "offsets go on where the disk ends");
        assert_eq!(console.word(layout::AT_RING_START), 7);
    }
}

#[test]
fn what_a_dead_keeper_had_not_written_its_successor_writes() {
    let mut bench = Bench::new();
    let order = bench.shell("printf 'in the ring'; exec sleep 1000");
    let pid = bench.link.launch(order);
    bench.wait_for("in the ring");
    bench.kill_keeper();
    send(pid, libc::SIGKILL);
    // Whatever had reached the disk by then is taken back: the page says none of it had.
    let written = bench.log_dir().join(format!("{:020}.log", 0));
    let _ = std::fs::remove_file(&written);
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(bench.dir().join(layout::STATE_FILE)).unwrap();
    file.write_all_at(&0u64.to_le_bytes(), layout::AT_ON_DISK as u64).unwrap();
    (bench.keeper, bench.link) = spawn(&bench.dir(), &[]);
    eventually("on disk", || std::fs::read(&written).ok().filter(|b| b == b"in the ring"));
}
