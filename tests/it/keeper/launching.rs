//! What a program finds when it starts, how its end is told, and what is said when it never ran.
use super::harness::{Bench, eventually, status_field};
use crate::support::install;
use std::os::unix::ffi::OsStrExt;
use zlh::keeper::{
    layout::Progress,
    protocol::{Identity, LaunchStep, Order, Report, Scope},
};

#[test]
fn output_and_every_kind_of_end_are_told() {
    let mut bench = Bench::new();
    assert_eq!(bench.link.hello().progress, Progress::Empty);
    let order = bench.shell("echo hello; exit 3");
    let (record, text) = bench.run(order);
    assert_eq!(text, "hello\n");
    assert_eq!((record.wait_code, record.wait_status), (libc::CLD_EXITED, 3));
    assert_eq!((record.progress, record.leftovers, record.log_start), (Progress::Exited, 0, 0));
    assert!(record.ended_boot_ns >= record.started_boot_ns && record.ended_wall_ms >= record.started_wall_ms);
    assert_eq!(bench.link.hello(), record, "a later hello tells it again");
    assert_eq!(bench.console().record(), Some(record), "and so does the state file");

    let order = bench.shell("kill -SEGV $$");
    let (record, _) = bench.run(order);
    assert_eq!((record.wait_code, record.wait_status), (libc::CLD_KILLED, libc::SIGSEGV));

    let order = bench.python("x = bytearray(80 << 20)\nfor i in range(2000000): pass");
    let (record, _) = bench.run(order);
    assert!(record.max_rss_kib > 80 << 10, "{}", record.max_rss_kib);
    assert!(record.user_us > 10_000 && record.system_us > 0, "{record:?}");
    assert_eq!((record.oom_before, record.oom_after), (u64::MAX, u64::MAX));
}

#[test]
fn oom_kills_are_counted_around_the_run() {
    let mut bench = Bench::new();
    let counter = bench.home.path().join("memory.events");
    std::fs::write(&counter, "oom 0\noom_kill 2\n").unwrap();
    let mut order = bench.shell(&format!("printf 'oom 1\\noom_kill 3\\n' > {}", counter.display()));
    order.oom_counter = Some(counter.as_os_str().as_bytes().to_vec());
    let (record, _) = bench.run(order);
    assert_eq!((record.oom_before, record.oom_after), (2, 3));
}

#[test]
fn a_kernel_oom_kill_is_in_the_record() {
    let cgroup = std::path::Path::new("/sys/fs/cgroup/memory").join(format!("zlh-oom-{}", std::process::id()));
    if std::fs::create_dir(&cgroup).is_err() {
        eprintln!("no writable memory cgroup (v1) here");
        return;
    }
    let path = |name: &str| cgroup.join(name).as_os_str().as_bytes().to_vec();
    std::fs::write(cgroup.join("memory.limit_in_bytes"), "33554432").unwrap();
    let mut bench = Bench::new();
    let mut order = bench.python("x = bytearray(200 << 20)");
    order.cgroup_procs = vec![path("cgroup.procs")];
    order.oom_counter = Some(path("memory.oom_control"));
    let (record, _) = bench.run(order);
    assert_eq!((record.wait_code, record.wait_status), (libc::CLD_KILLED, libc::SIGKILL));
    assert_eq!(record.oom_after, record.oom_before + 1);
    let order = bench.shell("echo the keeper is none the worse");
    assert_eq!(bench.run(order).0.wait_status, 0);
    drop(bench);
    eventually("an empty cgroup", || std::fs::remove_dir(&cgroup).ok());
}

#[test]
fn a_launch_that_fails_says_at_which_step_and_leaves_a_record() {
    let mut bench = Bench::new();
    let [text, plain] = ["text", "plain"].map(|name| bench.home.path().join(name));
    std::fs::write(&text, "not a program").unwrap();
    install(&text, &plain);
    let locked = bench.home.path().join("locked");
    std::fs::write(&locked, "#!/bin/sh").unwrap();
    let path = |p: &std::path::Path| p.as_os_str().as_bytes().to_vec();

    let mut missing = bench.shell("");
    missing.program = b"/nonexistent/server".to_vec();
    let mut not_executable = bench.shell("");
    not_executable.program = path(&locked);
    let mut no_format = bench.shell("");
    no_format.program = path(&plain);
    let mut no_folder = bench.shell("");
    no_folder.cwd = b"/nonexistent".to_vec();
    let mut no_cgroup = bench.shell("");
    no_cgroup.cgroup_procs = vec![b"/nonexistent/cgroup.procs".to_vec()];
    let mut nul = bench.shell("");
    nul.env = vec![b"A=\0".to_vec()];
    for (order, expected) in [
        (missing, (LaunchStep::Exec, libc::ENOENT)),
        (not_executable, (LaunchStep::Exec, libc::EACCES)),
        (no_format, (LaunchStep::Exec, libc::ENOEXEC)),
        (no_folder, (LaunchStep::Workdir, libc::ENOENT)),
        (no_cgroup, (LaunchStep::Cgroup, libc::ENOENT)),
        (nul, (LaunchStep::Exec, libc::EINVAL)),
    ] {
        let run = order.run;
        assert_eq!(bench.link.launch_fails(order), expected);
        let record = bench.console().record().unwrap();
        assert_eq!((record.run, record.progress, record.wait_status), (run, Progress::Failed, expected.1));
    }
    let order = bench.shell("echo fine");
    assert_eq!(bench.run(order).1, "fine\n", "the keeper is none the worse");
}

#[test]
fn a_user_that_cannot_be_taken_on_is_a_failed_launch() {
    let mut bench = Bench::new();
    let mut order = bench.shell("");
    order.identity = Some(Identity { uid: u32::MAX, gid: 0, groups: vec![0; 70_000] });
    assert_eq!(bench.link.launch_fails(order), (LaunchStep::User, libc::EINVAL));
}

#[test]
fn the_program_starts_clean() {
    let mut bench = Bench::new();
    let mut order = bench.shell(
        "umask; pwd; tty; ulimit -n; ulimit -c; id -u; id -G; echo $PATH; stty -a; ls -l /proc/self/fd; exec sleep 100",
    );
    order.identity = Some(Identity { uid: 65534, gid: 65533, groups: vec![65533, 4242] });
    order.cwd = b"/usr".to_vec();
    order.max_files = 777;
    let run = order.run;
    let pid = bench.link.launch(order);
    eventually("sleep", || status_field(pid, "Name").filter(|n| n == "sleep"));
    let text = bench.console().text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["0027", "/usr"]);
    assert!(lines[2].starts_with("/dev/pts/"), "{text}");
    assert_eq!(lines[3..8], ["777", "0", "65534", "65533 4242", "/usr/bin:/bin"]);
    for off in ["-icanon", "-echo", "-isig", "-ixon", "-onlcr", "rows 50; columns 200"] {
        assert!(text.contains(off), "{off}: {text}");
    }
    assert!(!text.contains(" 77 ->"), "a stray descriptor came along: {text}");
    for (field, value) in [
        ("SigIgn", "0000000000000000"),
        ("SigBlk", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("CapEff", "0000000000000000"),
        ("Uid", "65534\t65534\t65534\t65534"),
        ("Gid", "65533\t65533\t65533\t65533"),
    ] {
        assert_eq!(status_field(pid, field).as_deref(), Some(value), "{field}");
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid.to_string().as_str(), pid.to_string().as_str()), "group and session");
    assert_ne!(fields[4], "0", "a controlling terminal");
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "0");
    let record = bench.console().record().unwrap();
    assert_eq!((record.run, record.pid, record.start_ticks.to_string()), (run, pid, fields[19].to_string()));
    bench.link.signal(run, libc::SIGTERM, Scope::Leader);
    assert_eq!(bench.link.exited().wait_status, libc::SIGTERM, "the ignored SIGTERM was not inherited");
}

#[test]
fn a_program_of_another_user_may_open_its_terminal_by_name() {
    let mut bench = Bench::new();
    let mut order = bench.shell("echo by name > $(tty); echo to stderr > /dev/stderr");
    order.identity = Some(Identity { uid: 65534, gid: 65534, groups: vec![] });
    let (record, text) = bench.run(order);
    assert_eq!((record.wait_status, text.as_str()), (0, "by name\nto stderr\n"));
}

#[test]
fn shells_keep_the_usual_terminal_but_no_flow_control() {
    let mut bench = Bench::new();
    let mut order = bench.shell("stty -a");
    order.raw = false;
    let (_, text) = bench.run(order);
    for on in ["icanon", "echo", "isig", "onlcr"] {
        assert!(text.contains(on) && !text.contains(&format!("-{on} ")), "{on}: {text}");
    }
    assert!(text.contains("-ixon"), "{text}");
}

#[test]
fn cgroups_are_entered_before_anything_else_runs() {
    let cgroup = std::path::Path::new("/sys/fs/cgroup/pids").join(format!("zlh-test-{}", std::process::id()));
    if std::fs::create_dir(&cgroup).is_err() {
        eprintln!("no writable pids cgroup here");
        return;
    }
    let mut bench = Bench::new();
    let mut order = bench.shell("cat /proc/self/cgroup");
    order.cgroup_procs = vec![cgroup.join("cgroup.procs").as_os_str().as_bytes().to_vec()];
    order.identity = Some(Identity { uid: 65534, gid: 65534, groups: vec![] });
    let (_, text) = bench.run(order);
    drop(bench);
    let name = cgroup.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "{text}");
    eventually("an empty cgroup", || std::fs::remove_dir(&cgroup).ok());
}

#[test]
fn one_run_at_a_time() {
    let mut bench = Bench::new();
    let order = bench.shell("exec sleep 100");
    let run = order.run;
    bench.link.launch(order);
    let second = bench.shell("true");
    assert_eq!(bench.link.launch_fails(second), (LaunchStep::Busy, libc::EBUSY));
    bench.link.send(&Order::Retire);
    assert!(bench.link.refused().contains("alive"));
    bench.link.signal(run + 5, libc::SIGTERM, Scope::Leader);
    assert!(bench.link.refused().contains("not held"));
    bench.link.signal(run, libc::SIGKILL, Scope::Leader);
    assert_eq!(bench.link.exited().run, run);
    bench.link.tree_empty(run);
    bench.link.send(&Order::Retire);
    assert!(bench.keeper.wait().unwrap().success());
    assert_eq!(bench.link.next(), None::<Report>);
}
