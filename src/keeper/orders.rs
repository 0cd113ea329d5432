//! What the keeper does about each order, one function an order.
use super::{
    ahead::Next,
    between::Between,
    client::Client,
    failpoint,
    input::Taken,
    launch::{self, Failure},
    layout::{Progress, RunRecord},
    notes::Notes,
    protocol::{Launch, LaunchStep, Order, Report, Scope, VERSION},
    run::{OomCounter, Run, kind_of},
    segments::Segments,
    serve::Keeper,
    signals::Leader,
    sys,
    terminal::Terminal,
};
use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Why an order is not carried out, for a person.
type Refusal = String;

pub fn obey(keeper: &mut Keeper, order: Order) {
    let kind = kind_of(&order);
    let done = match order {
        Order::Hello { .. } => introduce(keeper),
        Order::Launch(order) => {
            start(keeper, &order);
            Ok(())
        }
        Order::Input { seq, bytes } => take_input(keeper, seq, bytes),
        Order::Resize { columns, rows } => resize(keeper, columns, rows),
        Order::Signal { run, signal, scope } => signal_run(keeper, run, signal, scope),
        Order::GiveFds => give_fds(keeper),
        Order::Adopt { run, pid, start_ticks } => adopt(keeper, run, pid, start_ticks),
        Order::Retire => retire(keeper),
        Order::Bell => hang_bell(keeper),
    };
    if let Err(reason) = done {
        keeper.report(&Report::Refused { kind, reason });
    }
}

/// A run that lives is only told of by who holds it: nobody would hear of its end from anyone else.
fn introduce(keeper: &mut Keeper) -> Result<(), Refusal> {
    let ended = keeper.last.filter(|last| last.progress != Progress::Launched);
    let record = keeper.run.as_ref().map(|run| run.record).or(ended).unwrap_or_default();
    keeper.report(&Report::Hello {
        version: VERSION,
        build: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id() as i32,
        record: record.encode().to_vec(),
    });
    keeper.reported = true;
    Ok(())
}

/// Begins a run and queues the answer.
pub fn start(keeper: &mut Keeper, order: &Launch) {
    let report = match begin_run(keeper, order) {
        Ok(record) => launched(&record),
        Err(Failure { step, errno }) => Report::LaunchFailed { run: order.run, step: step as u8, errno },
    };
    keeper.report(&report);
}

fn launched(r: &RunRecord) -> Report {
    Report::Launched {
        run: r.run,
        pid: r.pid,
        start_ticks: r.start_ticks,
        boot_ns: r.started_boot_ns,
        wall_ms: r.started_wall_ms,
    }
}

fn begin_run(keeper: &mut Keeper, order: &Launch) -> Result<RunRecord, Failure> {
    if keeper.run.is_some() || keeper.orphan_lives() {
        return Err(Failure { step: LaunchStep::Busy, errno: libc::EBUSY });
    }
    let (terminal, ahead) = match keeper.next.take_for(order) {
        Some((terminal, child)) => (terminal, Some(child)),
        None => {
            let spare = keeper.between.as_mut().and_then(Between::take_terminal);
            (launch::open_terminal(order, spare)?, None)
        }
    };
    let notes = Notes::from(order);
    take_up_log(keeper, &notes);
    notes.save(keeper.state);
    let counter = order.oom_counter.as_deref();
    let open = keeper.between.as_mut().and_then(|between| between.take_counter(counter));
    let oom = open.unwrap_or_else(|| OomCounter::open(counter));
    let mut record = RunRecord {
        run: order.run,
        progress: Progress::Launched,
        started_boot_ns: sys::boot_time().as_nanos() as u64,
        started_wall_ms: sys::wall_ms(),
        oom_before: oom.read(),
        oom_after: u64::MAX,
        log_start: keeper.state.head(),
        ..Default::default()
    };
    let called = ahead.and_then(|child| child.call(keeper.state, &mut record));
    let launched = called.unwrap_or_else(|| {
        let way = keeper.groups.entrance(order)?;
        launch::launch(order, &way, &terminal, keeper.state, &mut record)
    });
    if let Err(failure) = &launched {
        record.progress = Progress::Failed;
        (record.wait_code, record.wait_status) = (i32::from(failure.step as u8), failure.errno);
        record.log_end = record.log_start;
        keeper.state.write_record(&record);
    }
    keeper.last = Some(record);
    keeper.reported = true;
    let leader = launched?;
    // Nothing to do about an errno here: the program runs.
    let _ = failpoint::reach(c"keeper.after_exec_ok");
    keeper.run = Some(Run::launched(record, leader, terminal, notes, oom));
    if keeper.between.as_ref().is_some_and(Between::is_right_after_crash) {
        keeper.next = Next::expect(order);
    }
    Ok(record)
}

/// Opens the disk log, unless it is the one already open.
pub fn take_up_log(keeper: &mut Keeper, notes: &Notes) {
    let dir = Path::new(OsStr::from_bytes(&notes.log_dir));
    if keeper.log.as_ref().is_some_and(|l| l.dir() == dir && l.cap() == notes.log_bytes) {
        return;
    }
    if let Some(old) = &mut keeper.log {
        old.flush_now(keeper.state);
    }
    keeper.log = (notes.log_bytes > 0 && dir.is_absolute()).then(|| Segments::open(keeper.state, dir, notes.log_bytes));
}

fn take_input(keeper: &mut Keeper, seq: u64, bytes: Vec<u8>) -> Result<(), Refusal> {
    let client = keeper.client.as_ref().map_or(0, |c| c.number);
    let Some(run) = keeper.run.as_mut().filter(|r| r.alive()) else {
        acknowledge(&mut keeper.client, Taken { client, seq, accepted: 0 });
        return Ok(());
    };
    if !run.input.offer(client, seq, bytes) {
        return Err(format!("input {seq}: the program does not read, and too much waits already"));
    }
    keeper.write_input();
    Ok(())
}

/// Tells whoever gave the input, unless another agent has taken over since.
pub fn acknowledge(client: &mut Option<Client>, taken: Taken) {
    if let Some(client) = client.as_mut().filter(|c| c.number == taken.client) {
        client.send(&Report::InputTaken { seq: taken.seq, accepted: taken.accepted });
    }
}

fn resize(keeper: &Keeper, columns: u16, rows: u16) -> Result<(), Refusal> {
    let Some(terminal) = keeper.run.as_ref().and_then(|r| r.terminal.as_ref()) else {
        return Err("no run, so no terminal to resize".into());
    };
    terminal.resize(columns, rows).map_err(|e| format!("the terminal was not resized: {e}"))
}

fn signal_run(keeper: &mut Keeper, number: u64, signal: i32, scope: Scope) -> Result<(), Refusal> {
    let Some(run) = keeper.run.as_mut().filter(|r| r.record.run == number) else {
        // Killing what is gone already is a success.
        if scope == Scope::Tree && keeper.last.is_some_and(|r| r.run == number) && !keeper.orphan_lives() {
            let killed = keeper.end_rest();
            keeper.report(&Report::TreeEmpty { run: number, killed });
            return Ok(());
        }
        return Err(format!("run {number} is not held here"));
    };
    run.signalled = true;
    let sent = match scope {
        Scope::Tree => {
            keeper.forget_next();
            keeper.run.iter_mut().for_each(Run::clear);
            keeper.reap();
            keeper.adopted_tree_done();
            return Ok(());
        }
        _ if !run.alive() => return Err(format!("run {number} has ended")),
        Scope::Leader => run.leader.signal(signal),
        Scope::Group => run.leader.signal_group(signal),
    };
    sent.map_err(|e| format!("signal {signal} was not sent to run {number}: {e}"))
}

fn give_fds(keeper: &mut Keeper) -> Result<(), Refusal> {
    let Some(run) = keeper.run.as_ref().filter(|r| r.alive()) else { return Err("no run is alive".into()) };
    let Some(terminal) = &run.terminal else { return Err("the terminal is closed".into()) };
    let number = run.record.run;
    let fds: Result<Vec<OwnedFd>, _> =
        [terminal.master(), run.leader.pidfd()].iter().map(|fd| fd.try_clone_to_owned()).collect();
    let fds = fds.map_err(|e| format!("the descriptors could not be duplicated: {e}"))?;
    if let Some(client) = &mut keeper.client {
        client.send_with(&Report::Fds { run: number }, fds);
    }
    Ok(())
}

fn adopt(keeper: &mut Keeper, number: u64, pid: i32, start_ticks: u64) -> Result<(), Refusal> {
    let mut fds = keeper.client.as_mut().map(Client::take_fds).unwrap_or_default().into_iter();
    let (Some(master), Some(pidfd)) = (fds.next(), fds.next()) else {
        return Err("PTY master and pidfd must come with the order".into());
    };
    if keeper.run.is_some() {
        return Err("another run is held already".into());
    }
    match sys::pid_of(pidfd.as_fd()) {
        // Gone already is no obstacle: the pidfd tells how.
        Some(-1) => {}
        Some(same) if same == pid && sys::start_ticks(pid) == Some(start_ticks) => {}
        _ => return Err(format!("the pidfd is not that of process {pid} which run {number} began")),
    }
    let terminal = Terminal::from_master(master).map_err(|e| format!("that is no PTY master: {e}"))?;
    let leader = Leader::new(pid, pidfd).ok_or_else(|| format!("{pid} is no process of a workload"))?;
    let known = keeper.last.filter(|r| r.run == number && r.pid == pid && r.start_ticks == start_ticks);
    let unknown = RunRecord { run: number, pid, start_ticks, oom_before: u64::MAX, ..Default::default() };
    let record = RunRecord { progress: Progress::Launched, ..known.unwrap_or(unknown) };
    keeper.state.write_record(&record);
    keeper.last = Some(record);
    let notes = Notes::load(keeper.state).unwrap_or_default();
    keeper.run = Some(Run::adopted(record, leader, terminal, notes));
    keeper.report(&launched(&record));
    Ok(())
}

fn hang_bell(keeper: &mut Keeper) -> Result<(), Refusal> {
    let Some(client) = &mut keeper.client else { return Ok(()) };
    let bell = client.take_fds().pop().ok_or("an eventfd must come with the order")?;
    client.hang_bell(bell).map_err(|e| format!("that cannot be rung: {e}"))
}

fn retire(keeper: &mut Keeper) -> Result<(), Refusal> {
    if keeper.run.is_some() {
        return Err("a run is alive, or what it left behind is".into());
    }
    keeper.leaving = true;
    Ok(())
}
