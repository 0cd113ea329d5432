//! A run that the keeper begins by itself, because the agent has allowed it beforehand: when it does, and when not.
use super::{
    ahead::Pair,
    harness::{Bench, Link, alive, eventually, send},
};
use zlh::keeper::{
    layout::{self, Progress},
    protocol::{Launch, Report, Scope},
};

const SLEEP: &str = "exec sleep 1000";

fn permit_of(bench: &Bench) -> u64 {
    bench.console().word(layout::AT_PERMIT)
}

/// What is said of an end: the run that ended, and the one that follows.
fn ended(link: &mut Link) -> (u64, Option<u64>) {
    link.until("exited", |report| match report {
        Report::Exited { record, next, .. } => Some((layout::RunRecord::decode(record).unwrap().run, *next)),
        _ => None,
    })
}

fn launched(link: &mut Link) -> (u64, i32) {
    link.until("launched", |report| match report {
        Report::Launched { run, pid, .. } => Some((*run, *pid)),
        _ => None,
    })
}

#[test]
fn it_follows_a_crash_unasked_and_is_told_with_it_once() {
    let Some(mut pair) = Pair::new("follows", "echo up; exec sleep 1000") else { return };
    let (run, next) = (pair.run, pair.run + 1);
    pair.bench.console().permit(next);
    send(pair.pid, libc::SIGKILL);
    assert_eq!(ended(&mut pair.bench.link), (run, Some(next)));
    assert_eq!(pair.bench.link.tree_empty(run), 0);
    assert_eq!(launched(&mut pair.bench.link), (next, pair.waiting), "the process that waited");
    assert_eq!(permit_of(&pair.bench), 0, "used up");
    let record = pair.bench.console().record().unwrap();
    assert_eq!((record.run, record.pid, record.progress), (next, pair.waiting, Progress::Launched));
    let output = || pair.bench.console().read_checked(record.log_start).1;
    eventually("its output", || (output() == b"up\n").then_some(()));
    // One permit, one run.
    send(pair.waiting, libc::SIGKILL);
    assert_eq!(ended(&mut pair.bench.link), (next, None));
    pair.bench.link.tree_empty(next);
    // The bench does not count runs that it did not order.
    let order = Launch { run: next + 1, ..pair.same(SLEEP) };
    pair.bench.link.launch(order);
}

/// What of an end makes it one that only the agent answers.
#[derive(Clone, Copy, Debug)]
enum Unlike {
    Withdrawn,
    ForAnother,
    InOrder,
    Signalled,
    NotAlone,
}

#[test]
fn whatever_is_not_a_crash_with_a_permit_for_what_follows_is_left_to_the_agent() {
    use Unlike::*;
    const SCRIPT: &str =
        "read how; case $how in exit) exit 0;; fork) (trap '' HUP; exec sleep 998) & esac; exec sleep 1000";
    for unlike in [Withdrawn, ForAnother, InOrder, Signalled, NotAlone] {
        let Some(mut pair) = Pair::new("unlike", SCRIPT) else { return };
        let console = pair.bench.console();
        console.permit(pair.run + 1);
        match unlike {
            Withdrawn => console.permit(0),
            ForAnother => console.permit(pair.run + 2),
            InOrder => _ = pair.bench.link.input(b"exit\n"),
            Signalled => pair.bench.link.signal(pair.run, libc::SIGTERM, Scope::Leader),
            NotAlone => {
                pair.bench.link.input(b"fork\n");
                let forked = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", pair.pid)).ok();
                eventually("a child", || forked().filter(|children| !children.trim().is_empty()));
            }
        }
        if matches!(unlike, Withdrawn | ForAnother | NotAlone) {
            send(pair.pid, libc::SIGKILL);
        }
        assert_eq!(ended(&mut pair.bench.link), (pair.run, None), "{unlike:?}");
        pair.bench.link.tree_empty(pair.run);
        let order = pair.same(SLEEP);
        pair.bench.link.launch(order);
    }
}

#[test]
fn it_is_worth_nothing_without_the_agent_that_gave_it() {
    let Some(pair) = Pair::new("newer", SLEEP) else { return };
    pair.bench.console().permit(pair.run + 1);
    let mut newer = Link::connect(&pair.bench.dir());
    assert_eq!(newer.hello().run, pair.run);
    assert_eq!(permit_of(&pair.bench), 0, "void before the newer agent is answered");
    pair.bench.console().permit(pair.run + 1);
    drop(newer);
    eventually("void once it hangs up", || (permit_of(&pair.bench) == 0).then_some(()));
    send(pair.pid, libc::SIGKILL);
    let ended = || pair.bench.console().record().filter(|record| record.progress == Progress::Exited);
    eventually("the end on record", ended);
    eventually("nobody waits any more", || (!alive(pair.waiting)).then_some(()));
    assert_eq!(pair.bench.console().record().unwrap().run, pair.run);
}

#[test]
fn where_nobody_waits_any_more_another_is_made_for_it() {
    let Some(mut pair) = Pair::new("another", SLEEP) else { return };
    pair.bench.console().permit(pair.run + 1);
    send(pair.waiting, libc::SIGKILL);
    send(pair.pid, libc::SIGKILL);
    assert_eq!(ended(&mut pair.bench.link), (pair.run, Some(pair.run + 1)));
    let (run, pid) = launched(&mut pair.bench.link);
    assert_eq!((run, pid != pair.waiting, alive(pid)), (pair.run + 1, true, true));
}
