//! Output by absolute offsets, the doorbell, the disk log, and what goes in.
use super::harness::{Bench, Link, eventually, segments};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::{io::Read, os::fd::AsRawFd};
use zlh::keeper::{
    layout,
    protocol::{Order, Report, Scope},
};

/// 50 MB whose every byte tells its offset: 20-digit line numbers.
const FLOOD_LINES: u64 = 2_500_000;
const FLOOD: &str = "import sys\nw = sys.stdout.buffer.write\nfor i in range(0, 2500000, 1000):\n w(b''.join(b'%019d\\n' % n for n in range(i, i + 1000)))";

fn line_at(offset: u64) -> [u8; 20] {
    let mut line = [b'\n'; 20];
    line[..19].copy_from_slice(format!("{:019}", offset / 20).as_bytes());
    line
}

/// Every byte must be what its offset says.
fn assert_flood(from: u64, bytes: &[u8]) {
    let mut expected = line_at(from);
    for (i, byte) in bytes.iter().enumerate() {
        let offset = from + i as u64;
        if i == 0 || offset.is_multiple_of(20) {
            expected = line_at(offset);
        }
        assert_eq!(*byte, expected[(offset % 20) as usize], "offset {offset}");
    }
}

#[test]
fn a_flood_arrives_whole_by_offset_and_the_disk_keeps_its_end() {
    let mut bench = Bench::new();
    let console = bench.console();
    let mut order = bench.python(FLOOD);
    order.log_bytes = 4 << 20;
    let run = order.run;
    bench.link.launch(order);
    let total = FLOOD_LINES * 20;
    let (mut at, mut seen, mut record) = (0, 0, None);
    while at < total {
        console.ring_doorbell();
        let (start, bytes) = console.read_checked(at);
        assert!(start >= at, "never backwards");
        assert_flood(start, &bytes);
        seen += bytes.len() as u64;
        at = start + bytes.len() as u64;
        if bytes.is_empty() {
            // Woken by the bell and never by the clock.
            match bench.link.next().unwrap() {
                Report::Exited { record: r, .. } => record = layout::RunRecord::decode(&r),
                Report::Head | Report::TreeEmpty { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let record = record.unwrap_or_else(|| bench.link.exited());
    assert_eq!((record.log_start, record.log_end, console.head()), (0, total, total));
    assert!(seen > 0);
    bench.link.signal(run, 9, Scope::Tree);
    bench.link.tree_empty(run);

    eventually("all on disk", || (console.word(layout::AT_ON_DISK) == total).then_some(()));
    assert_eq!(console.word(layout::AT_DROPPED), 0);
    let found = segments(&bench.log_dir());
    let held: u64 = found.iter().map(|(_, b)| b.len() as u64).sum();
    assert!(held <= 4 << 20 && held > (4 << 20) * 7 / 8 - (64 << 10), "{held}");
    let mut next = total - held;
    for (start, bytes) in &found {
        assert_eq!(*start, next, "no gap");
        assert!(bytes.len() <= (4 << 20) / 8);
        assert_flood(*start, bytes);
        next += bytes.len() as u64;
    }
    assert_eq!(next, total);
}

#[test]
fn the_bell_rings_once_for_each_time_it_was_set() {
    let mut bench = Bench::new();
    let console = bench.console();
    let order = bench.shell("read a; echo one; read a; echo two; read a");
    bench.link.launch(order);
    console.ring_doorbell();
    bench.link.input(b"\n");
    bench.link.until("head", |r| matches!(r, Report::Head).then_some(()));
    bench.wait_for("one");
    bench.link.input(b"\n");
    bench.wait_for("two");
    bench.link.input(b"\n");
    loop {
        match bench.link.next().unwrap() {
            Report::Head => panic!("nobody had asked"),
            Report::Exited { .. } => break,
            _ => {}
        }
    }
}

#[test]
fn who_hung_up_a_bell_hears_that_instead_of_reports() {
    let mut bench = Bench::new();
    let console = bench.console();
    bench.link.send(&Order::Bell);
    assert!(bench.link.refused().contains("eventfd"), "an order without its descriptor");
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
    bench.link.send_with(&Order::Bell, &[bell.as_raw_fd()]);
    let order = bench.shell("read a; echo one; read a; echo two; read a; exit 3");
    bench.link.launch(order);
    console.ring_doorbell();
    bench.link.input(b"\n");
    assert_eq!(eventually("a ring", || bell.read().ok()), 1);
    bench.wait_for("one");
    bench.link.input(b"\n");
    bench.wait_for("two");
    console.ring_doorbell();
    bench.link.input(b"\n");
    loop {
        match bench.link.next().unwrap() {
            Report::Head => panic!("the bell was to be rung"),
            Report::Exited { .. } => break,
            _ => {}
        }
    }
    let flags = nix::fcntl::fcntl(&bell, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert!(flags & libc::O_NONBLOCK != 0, "nobody can make the keeper wait");
    assert_eq!(bell.read(), Err(nix::errno::Errno::EAGAIN), "not rung where nobody had asked, or nothing came");
}

#[test]
fn a_long_line_arrives_whole_and_control_bytes_are_only_bytes() {
    let mut bench = Bench::new();
    let script = "import os\nprint('ready', flush=True)\ngot = b''\nwhile len(got) < 6004: got += os.read(0, 65536)\nprint(len(got), got[:3].hex(), got[3:].count(b'x'), flush=True)";
    let order = bench.python(script);
    bench.link.launch(order);
    bench.wait_for("ready");
    let mut bytes = vec![0x03, 0x13, 0x1a];
    bytes.extend(vec![b'x'; 6000]);
    bytes.push(b'\n');
    assert_eq!(bench.link.input(&bytes), 6004);
    let record = bench.link.exited();
    assert_eq!(bench.written(&record), "ready\n6004 03131a 6000\n", "and no echo");
}

#[test]
fn input_is_bounded_and_answered_at_the_end() {
    let mut bench = Bench::new();
    let order = bench.shell("exec sleep 100");
    let run = order.run;
    bench.link.launch(order);
    for seq in 0..2 {
        bench.link.send(&Order::Input { seq, bytes: vec![b'x'; 600_000] });
    }
    assert!(bench.link.refused().contains("does not read"));
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    let accepted = bench.link.until("the first is answered", |r| match r {
        Report::InputTaken { seq: 0, accepted } => Some(*accepted),
        _ => None,
    });
    assert!(accepted > 0 && accepted < 600_000, "{accepted}");
    bench.link.exited();
    assert_eq!(bench.link.input(b"too late"), 0);
}

#[test]
fn a_resize_reaches_the_program() {
    let mut bench = Bench::new();
    let script = "import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\nprint('ready', flush=True)\n\
                  signal.sigwait([signal.SIGWINCH])\nprint(os.get_terminal_size(0), flush=True)";
    let order = bench.python(script);
    bench.link.launch(order);
    bench.wait_for("ready");
    bench.link.send(&Order::Resize { columns: 123, rows: 45 });
    let record = bench.link.exited();
    assert!(bench.written(&record).contains("columns=123, lines=45"));
}

#[test]
fn offsets_go_on_over_agents_and_runs() {
    let mut bench = Bench::new();
    let order = bench.shell("echo one; read a; echo two; read a");
    bench.link.launch(order);
    bench.wait_for("one\n");
    // A second agent takes the first one's place.
    let mut second = Link::connect(&bench.dir());
    let record = second.hello();
    assert_eq!((record.progress, record.log_start), (layout::Progress::Launched, 0));
    assert_eq!(bench.link.next(), None, "the first was let go");
    second.input(b"\n");
    bench.wait_for("one\ntwo\n");
    drop(second);
    let mut third = Link::connect(&bench.dir());
    third.hello();
    third.input(b"\n");
    assert_eq!(third.exited().log_end, 8);
    bench.link = third;
    bench.link.tree_empty(1);
    bench.shell("");
    let order = bench.shell("echo three");
    let (record, text) = bench.run(order);
    assert_eq!((record.log_start, text.as_str()), (8, "three\n"));
}

#[test]
fn a_program_that_closes_its_output_still_runs() {
    let mut bench = Bench::new();
    let order = bench.shell("echo last words; exec >/dev/null 2>&1 </dev/null; sleep 100");
    let run = order.run;
    let pid = bench.link.launch(order);
    bench.wait_for("last words");
    eventually("closed", || {
        std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|l| l.ends_with("null")).then_some(())
    });
    assert_eq!(bench.link.hello().progress, layout::Progress::Launched);
    bench.link.signal(run, libc::SIGTERM, Scope::Group);
    assert_eq!(bench.link.exited().wait_status, libc::SIGTERM);
}

#[test]
fn whoever_hangs_up_on_everybody_does_not_spin_the_keeper() {
    let mut bench = Bench::new();
    let done = bench.home.path().join("done");
    let script = format!(
        "import ctypes, os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nprint('ready', flush=True)\n\
         os.read(0, 1)\nctypes.CDLL(None).vhangup()\nopen('{}', 'w')\nwhile True: signal.pause()",
        done.display()
    );
    let order = bench.python(&script);
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("ready");
    bench.link.input(b"\n");
    eventually("everybody is hung up on", || done.exists().then_some(()));
    let ticks = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> =
            stat[stat.rfind(')').unwrap() + 4..].split(' ').map(|f| f.parse().unwrap_or(0)).collect();
        fields[10] + fields[11]
    };
    // Two round trips around a second of the program's own idleness.
    bench.link.hello();
    let before = ticks(bench.keeper.id());
    let until = std::time::Instant::now() + std::time::Duration::from_millis(600);
    eventually("time passes", || (std::time::Instant::now() > until).then_some(()));
    assert!(ticks(bench.keeper.id()) - before < 20, "busy while nothing happens");
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    bench.link.exited();
}

#[test]
fn the_disk_log_is_private_and_lags_little() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::new();
    let order = bench.shell("printf 'to be kept'; exec sleep 100");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("to be kept");
    // Nothing else happens, so only the keeper's own deadline can bring it there.
    eventually("on disk", || (segments_if_any(&bench) == [(0, b"to be kept".to_vec())]).then_some(()));
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.log_dir()), 0o700);
    assert_eq!(mode(&bench.log_dir().join(format!("{:020}.log", 0))), 0o600);
    assert_eq!(mode(&bench.dir().join("state")), 0o600);
    assert_eq!(mode(&bench.dir().join("sock")) & 0o077, 0);
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    bench.link.exited();
    let mut all = Vec::new();
    std::fs::File::open(bench.log_dir().join(format!("{:020}.log", 0))).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all, b"to be kept");
}

fn segments_if_any(bench: &Bench) -> Vec<(u64, Vec<u8>)> {
    if bench.log_dir().exists() { segments(&bench.log_dir()) } else { Vec::new() }
}
