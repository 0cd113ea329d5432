//! The keeper dies, or fails, at each of its named points; what must hold afterwards holds.
//! `cargo test --features failpoints --test it keeper::failpoints`
use super::harness::{Bench, Link, alive, eventually, marked, send, spawn};
use zlh::keeper::{
    layout::{Progress, RunRecord},
    protocol::{Launch, LaunchStep, Order, Report},
};

/// A bench whose keeper meets `failpoint`.
pub fn bench_with(failpoint: &str) -> Bench {
    let mut bench = Bench::new();
    bench.link.send(&Order::Retire);
    bench.keeper.wait().unwrap();
    (bench.keeper, bench.link) = spawn(&bench.dir(), &[("ZLH_FAIL", failpoint)]);
    bench
}

fn send_launch(bench: &mut Bench, script: &str) {
    let order = marked_launch(bench, script);
    bench.link.send(&Order::Launch(Box::new(order)));
}

fn marked_launch(bench: &mut Bench, script: &str) -> Launch {
    let mut order = bench.shell(script);
    order.env.push(format!("MARK={}", bench.home.path().display()).into_bytes());
    order
}

/// The keeper is gone and has left `progress`; a new one tells of what ended, and works.
fn successor(bench: &mut Bench, progress: Progress) -> RunRecord {
    bench.keeper.wait().unwrap();
    // Without a terminal and without an agent that holds it, the program hears SIGHUP; nobody runs without a record.
    let mark = bench.home.path().display().to_string();
    let record = bench.console().record().unwrap_or_default();
    for pid in marked(&mark) {
        assert_eq!(record.pid, pid, "a program that no record names");
    }
    eventually("nobody is left", || marked(&mark).is_empty().then_some(()));
    (bench.keeper, bench.link) = spawn(&bench.dir(), &[]);
    let ended = record.progress != Progress::Launched;
    assert_eq!((bench.link.hello(), record.progress), (if ended { record } else { RunRecord::default() }, progress));
    let order = marked_launch(bench, "echo again");
    assert_eq!(bench.run(order).1, "again\n");
    record
}

#[test]
fn dying_before_a_launch_leaves_a_folder_that_works() {
    for point in ["keeper.after_state_alloc", "keeper.after_bind"] {
        let mut bench = bench_with(point);
        successor(&mut bench, Progress::Empty);
    }
}

#[test]
fn dying_with_a_terminal_but_no_child_leaves_nothing() {
    let mut bench = bench_with("keeper.after_pty:kill9");
    send_launch(&mut bench, "exec sleep 1000");
    successor(&mut bench, Progress::Empty);
}

#[test]
fn no_program_runs_that_no_record_names() {
    for point in ["keeper.after_fork_before_exec", "keeper.after_exec_ok"] {
        let mut bench = bench_with(point);
        send_launch(&mut bench, "exec sleep 1000");
        let record = successor(&mut bench, Progress::Launched);
        assert!(record.pid > 1 && record.start_ticks > 0 && !alive(record.pid), "{point}: {record:?}");
    }
}

#[test]
fn dying_before_the_record_of_the_end_leaves_the_run_as_launched() {
    let mut bench = bench_with("keeper.child_exited_before_record");
    send_launch(&mut bench, "exit 3");
    successor(&mut bench, Progress::Launched);
}

#[test]
fn what_was_recorded_and_not_reported_is_told_by_the_successor() {
    let mut bench = bench_with("keeper.after_record_before_report");
    send_launch(&mut bench, "exit 3");
    let record = successor(&mut bench, Progress::Exited);
    assert_eq!((record.wait_code, record.wait_status), (libc::CLD_EXITED, 3));
}

#[test]
fn errors_at_the_points_are_failed_launches() {
    for (point, step) in
        [("keeper.after_pty:errno", LaunchStep::Terminal), ("child.before_exec:errno", LaunchStep::Exec)]
    {
        let mut bench = bench_with(point);
        let order = bench.shell("true");
        assert_eq!(bench.link.launch_fails(order), (step, libc::EIO));
        assert_eq!(bench.console().record().map_or(Progress::Failed, |r| r.progress), Progress::Failed);
    }
}

#[test]
fn a_child_that_dies_before_exec_is_an_end_like_any_other() {
    let mut bench = bench_with("child.before_exec:kill9");
    let order = bench.shell("true");
    bench.link.launch(order);
    assert_eq!(bench.link.exited().wait_status, libc::SIGKILL);
}

#[test]
fn a_keeper_that_is_stopped_loses_nothing() {
    let mut bench = bench_with("keeper.after_exec_ok:stop");
    let order = bench.shell("echo written while the keeper sleeps");
    let run = order.run;
    bench.link.send(&Order::Launch(Box::new(order)));
    let keeper = bench.keeper.id() as i32;
    eventually("stopped", || super::harness::status_field(keeper, "State").filter(|state| state.starts_with('T')));
    send(keeper, libc::SIGCONT);
    bench.link.until("launched", |r| matches!(r, Report::Launched { .. }).then_some(()));
    let record = bench.link.exited();
    assert_eq!(bench.written(&record), "written while the keeper sleeps\n");
    bench.link.tree_empty(run);
    Link::connect(&bench.dir()).hello();
}
