//! Full disks, broken frames, wrong peers, and a small bill while nothing happens.
use super::harness::{Bench, Link, command, eventually, segments, spawn, status_field};
use nix::{
    mount::{MsFlags, mount, umount},
    unistd::{Gid, Uid},
};
use std::{
    io::Read,
    os::unix::{ffi::OsStrExt, net::UnixStream, process::CommandExt},
    path::PathBuf,
};
use zlh::keeper::{
    layout,
    protocol::{Order, Report, Scope},
};

/// A small file system of its own; gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn new(at: PathBuf, options: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(&at).unwrap();
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some(options)).ok()?;
        Some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount(&self.0);
    }
}

#[test]
fn a_full_disk_costs_log_bytes_and_nothing_else() {
    let mut bench = Bench::new();
    let Some(_disk) = SmallDisk::new(bench.home.path().join("small"), "size=200k") else {
        eprintln!("mounting is not allowed here");
        return;
    };
    let log = bench.home.path().join("small/log");
    let mut order = bench.shell("seq -f %099.0f 20000; echo still here; read a; echo more; read a");
    order.log_dir = log.as_os_str().as_bytes().to_vec();
    let console = bench.console();
    bench.link.launch(order);
    bench.wait_for("still here\n");
    let before = console.head();
    assert!(console.word(layout::AT_DROPPED) > 1_000_000, "{}", console.word(layout::AT_DROPPED));
    assert!(console.word(layout::AT_ON_DISK) < before);
    // Space again: the log goes on at the true offset, and the gap shows in the names.
    for entry in std::fs::read_dir(&log).unwrap().flatten() {
        std::fs::OpenOptions::new().write(true).truncate(true).open(entry.path()).unwrap();
    }
    mount(None::<&str>, &bench.home.path().join("small"), None::<&str>, MsFlags::MS_REMOUNT, Some("size=4m")).unwrap();
    bench.link.input(b"\n");
    bench.wait_for("more\n");
    bench.link.input(b"\n");
    let record = bench.link.exited();
    assert_eq!((record.wait_code, record.wait_status, record.log_end), (libc::CLD_EXITED, 0, before + 5));
    bench.link.tree_empty(record.run);
    bench.link.send(&Order::Retire);
    bench.keeper.wait().unwrap();
    assert_eq!(console.word(layout::AT_ON_DISK), console.head());
    let found = segments(&log);
    let (start, bytes) = found.last().unwrap();
    assert_eq!(start + bytes.len() as u64, console.head());
    assert!(bytes.ends_with(b"still here\nmore\n"));
}

#[test]
fn a_folder_without_room_for_the_state_is_said_and_not_run_into() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(home.path().join("small"), "size=100k") else {
        eprintln!("mounting is not allowed here");
        return;
    };
    let output = command(&disk.0, None).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("state file") && said.contains("No space left"), "{said}");
}

#[test]
fn a_log_folder_that_cannot_be_made_keeps_nobody_from_running() {
    let mut bench = Bench::new();
    let mut order = bench.shell("echo runs; seq -f %099.0f 5000");
    order.log_dir = b"/proc/nowhere/log".to_vec();
    let (record, text) = bench.run(order);
    assert_eq!(record.wait_status, 0);
    assert!(text.starts_with("runs") || record.log_end > layout::RING_BYTES as u64);
    assert!(bench.console().word(layout::AT_DROPPED) > 0);
    assert_eq!(bench.console().word(layout::AT_ON_DISK), 0);
}

#[test]
fn broken_frames_cost_the_connection_and_not_the_run() {
    let mut bench = Bench::new();
    let order = bench.shell("echo up; exec sleep 1000");
    let run = order.run;
    bench.link.launch(order);
    let too_long: Vec<u8> = [&[1u8, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
    let cut_field = vec![3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 9];
    let missing_field = vec![4, 0, 0, 0, 0, 0, 0, 0];
    let mut bad_scope = Order::Signal { run, signal: 0, scope: Scope::Leader }.encode();
    let last_int = bad_scope.len() - 8;
    bad_scope[last_int] = 99;
    for bytes in [too_long, cut_field, missing_field, bad_scope] {
        bench.link.send_raw(&bytes);
        assert_eq!(bench.link.next_but_launch(), None, "{bytes:?}");
        bench.link = Link::connect(&bench.dir());
        assert_eq!(bench.link.hello().run, run);
    }
    bench.link.send_raw(&[200, 0, 0, 0, 0, 0, 0, 0]);
    assert!(bench.link.refused().contains("does not know"), "a later version's order is no reason to part");
    let mut noise = std::fs::File::open("/dev/urandom").unwrap();
    for _ in 0..50 {
        let mut bytes = vec![0u8; 4096];
        noise.read_exact(&mut bytes).unwrap();
        // The length is kept plausible, so that whole frames of noise arrive.
        let kind = bytes[0] % 9;
        bytes[..8].copy_from_slice(&[kind, 0, 0, 0, 0xf8, 0x0f, 0, 0]);
        let _ = std::io::Write::write_all(&mut Link::connect(&bench.dir()).into_socket(), &bytes);
    }
    bench.link = Link::connect(&bench.dir());
    bench.link.hello();
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    bench.link.exited();
}

#[test]
fn strangers_are_not_served() {
    let bench = Bench::new();
    eventually("the socket", || bench.dir().join("sock").exists().then_some(()));
    // The folder's own rights would do; this is the second lock.
    for path in [bench.home.path().to_path_buf(), bench.dir()] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let sock = bench.dir().join("sock");
    std::fs::set_permissions(&sock, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\ns.connect('{}')\nprint(s.recv(1))",
        sock.display()
    );
    let mut stranger = std::process::Command::new("python3");
    stranger.arg("-c").arg(script);
    stranger.uid(Uid::from_raw(65534).as_raw()).gid(Gid::from_raw(65534).as_raw());
    let output = stranger.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b''\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(UnixStream::connect(&sock).map(|_| ()).map_err(|e| e.kind()), Ok(()), "while we are");
}

#[test]
fn a_deep_folder_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    let (mut keeper, mut link) = spawn(&deep, &[]);
    link.hello();
    let mut last = Link::connect(&deep);
    last.hello();
    last.send(&Order::Retire);
    assert!(keeper.wait().unwrap().success());
    assert!(!deep.join("sock").exists());
}

#[test]
fn signals_meant_for_others_do_not_end_it() {
    let mut bench = Bench::new();
    bench.link.hello();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE, libc::SIGUSR1] {
        unsafe { libc::kill(bench.keeper.id() as i32, signal) };
        bench.link.hello();
    }
}

#[test]
fn idle_it_sleeps_and_is_small() {
    let mut bench = Bench::new();
    let order = bench.shell("seq 200000; echo done; exec sleep 1000");
    let run = order.run;
    bench.link.launch(order);
    bench.wait_for("done\n");
    let keeper = bench.keeper.id() as i32;
    let switches = || -> u64 { status_field(keeper, "voluntary_ctxt_switches").unwrap().parse().unwrap() };
    // After the one trim the number must stand still.
    let mut last = (switches(), std::time::Instant::now());
    eventually("asleep", || {
        if switches() != last.0 {
            last = (switches(), std::time::Instant::now());
        }
        (last.1.elapsed() > std::time::Duration::from_millis(2500)).then_some(())
    });
    assert_eq!(status_field(keeper, "Threads").as_deref(), Some("1"));
    let kib = |field: &str| -> u64 { status_field(keeper, field).unwrap().split(' ').next().unwrap().parse().unwrap() };
    eprintln!(
        "idle: RSS {} KiB (anon {}, file {}, shmem {})",
        kib("VmRSS"),
        kib("RssAnon"),
        kib("RssFile"),
        kib("RssShmem")
    );
    assert!(kib("RssAnon") <= 384, "{} KiB", kib("RssAnon"));
    assert_eq!(status_field(keeper, "Name").as_deref(), Some("zlh-keeper"));
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    bench.link.exited();
}

#[test]
fn an_idle_keeper_leaves_with_its_agent_and_stays_with_its_run() {
    let mut bench = Bench::new();
    bench.link.hello();
    let (spare, _) = UnixStream::pair().unwrap();
    bench.link = Link::new(spare);
    assert!(bench.keeper.wait().unwrap().success());
    assert!(bench.console().record().is_none());
    let (again, mut link) = spawn(&bench.dir(), &[]);
    (bench.keeper, _) = (again, ());
    link.hello();
    let order = bench.shell("echo up; exec sleep 1000");
    link.launch(order);
    drop(link);
    bench.wait_for("up");
    let mut link = Link::connect(&bench.dir());
    link.hello();
    link.send(&Order::GiveFds);
    link.until("fds", |r| matches!(r, Report::Fds { .. }).then_some(()));
    bench.link = link;
}
