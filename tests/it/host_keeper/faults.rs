//! Killed keepers, killed agents, damaged files, full memory.
use super::*;
use nix::sys::signal::Signal;

/// Waits until the agent holds what a new keeper would need.
async fn spare_at_hand(alive: &Alive) {
    let who = format!("/proc/{}/fdinfo", std::process::id());
    let mine = |pid: i32| {
        let entries = std::fs::read_dir(&who).unwrap().flatten();
        entries.filter_map(|e| std::fs::read_to_string(e.path()).ok()).any(|t| t.contains(&format!("Pid:\t{pid}\n")))
    };
    eventually("the spare descriptors", PATIENCE, async || mine(alive.pid).then_some(())).await;
}

#[tokio::test]
async fn a_run_survives_the_kill_of_its_keeper_again_and_again() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let alive = agent.launch(1, &bench.spec(OBEDIENT)).await.unwrap();
    agent.see(0, "ready\n").await;
    spare_at_hand(&alive).await;
    let mut keepers = vec![bench.keeper()];
    for round in 0..3 {
        end(&bench.keeper());
        match agent.event().await {
            KeeperEvent::KeeperLost { run, recovered: true, .. } => assert_eq!(run, RunId(1)),
            other => panic!("{other:?}"),
        }
        assert!(!keepers.contains(&bench.keeper()));
        keepers.push(bench.keeper());
        agent.type_line(1, &format!("say round-{round}")).await;
        agent.see(0, &format!("round-{round}\n")).await;
    }
    assert_eq!(agent.discover().await, Discovery::Alive(alive));
    agent.type_line(1, "exit 17").await;
    let exit = agent.exit(1).await;
    assert_eq!(exit.status, ExitStatus::Code(17));
    assert_eq!(text(&agent, 0).await, "ready\nround-0\nround-1\nround-2\n");
    agent.tree_empty(1).await;
    agent.launch(2, &bench.spec("exit 3")).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3));
}

#[tokio::test]
async fn a_run_whose_terminal_is_lost_ends_and_its_status_is_known() {
    let bench = Bench::new();
    // The keeper dies, and no other one can be started to take the spare terminal: it hangs up.
    let binary = bench.root.path().join("zlh");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zlh"), &binary).unwrap();
    let mut agent = bench.agent_of(Plan { binary: binary.clone(), ..bench.plan() });
    agent.launch(1, &bench.spec("exec sleep 600")).await.unwrap();
    std::fs::remove_file(&binary).unwrap();
    end(&bench.keeper());
    assert!(matches!(agent.event().await, KeeperEvent::KeeperLost { recovered: false, .. }));
    let exit = agent.exit(1).await;
    // By the hang-up, or by the SIGTERM that follows it.
    assert!(matches!(exit.status, ExitStatus::Signal { signal: 1 | 15, .. }), "{:?}", exit.status);
    agent.tree_empty(1).await;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zlh"), &binary).unwrap();
    agent.launch(2, &bench.spec("exit 3")).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3));
}

/// A shell script in the place of the program: it fails the first time a keeper is started after `armed` was made.
fn fails_once(bench: &Bench) -> (Plan, PathBuf) {
    let [text, binary, armed] = ["text", "zlh", "armed"].map(|name| bench.root.path().join(name));
    let once = format!("rmdir {} 2>/dev/null && exit 1", armed.display());
    std::fs::write(&text, format!("#!/bin/sh\n{once}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_zlh"))).unwrap();
    crate::support::install(&text, &binary);
    (Plan { binary, ..bench.plan() }, armed)
}

#[tokio::test]
async fn a_keeper_that_cannot_be_started_at_once_is_tried_again() {
    let bench = Bench::new();
    let (plan, armed) = fails_once(&bench);
    let mut agent = bench.agent_of(plan);
    let alive = agent.launch(1, &bench.spec(OBEDIENT)).await.unwrap();
    agent.see(0, "ready\n").await;
    spare_at_hand(&alive).await;
    std::fs::create_dir(&armed).unwrap();
    end(&bench.keeper());
    assert!(matches!(agent.event().await, KeeperEvent::KeeperLost { recovered: true, .. }));
    assert!(!armed.exists(), "it did fail");
    agent.type_line(1, "say still-here").await;
    agent.see(0, "still-here\n").await;
    agent.type_line(1, "exit 0").await;
    agent.exit(1).await;
}

/// Its agent was killed right after it had started the keeper, and before it could give the run to it.
#[tokio::test]
async fn a_keeper_that_was_never_given_the_run_does_not_pass_for_its_keeper() {
    let bench = Bench::new();
    let agent = bench.agent();
    let alive = agent.launch(1, &bench.spec("trap '' HUP; echo deaf; while :; do sleep 0.01; done")).await.unwrap();
    agent.see(0, "deaf\n").await;
    let who = Identity::of(alive.pid).unwrap().unwrap();
    drop(agent);
    end(&bench.keeper());
    let folder = bench.state_path().parent().unwrap().to_owned();
    let (_, mut giver) = crate::keeper::harness::spawn(&folder, &[]);
    giver.hello();
    let keeper = bench.keeper();
    let mut agent = bench.agent();
    let Discovery::Ended(exit) = agent.discover().await else { panic!("nobody would hear of its end") };
    assert_eq!(exit.run, RunId(1));
    assert!(!who.lives());
    assert!(matches!(agent.event().await, KeeperEvent::KeeperLost { recovered: false, .. }));
    agent.launch(2, &bench.spec("exit 3")).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3));
    agent.tree_empty(2).await;
    assert_eq!(bench.keeper(), keeper, "it is good for the next run");
    agent.client.retire().await;
    assert!(!keeper.lives());
}

#[tokio::test]
async fn keeper_and_agent_killed_together_leave_nothing_alive() {
    let bench = Bench::new();
    let agent = bench.agent();
    let script =
        "trap '' HUP; (trap '' HUP; setsid sleep 600 &) ; trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let alive = agent.launch(1, &bench.spec(script)).await.unwrap();
    agent.see(0, "up\n").await;
    let who = Identity::of(alive.pid).unwrap().unwrap();
    drop(agent);
    end(&bench.keeper());
    assert!(who.lives(), "it does not care for a terminal");
    let mut agent = bench.agent();
    let Discovery::Ended(exit) = agent.discover().await else { panic!() };
    assert_eq!(exit.run, RunId(1));
    assert!(!who.lives());
    assert!(bench.cgroup().pids().is_empty(), "the detached child is gone too");
    let KeeperEvent::KeeperLost { recovered: false, detail, .. } = agent.event().await else { panic!() };
    assert!(detail.contains("stopped"), "{detail}");
    agent.launch(2, &bench.spec("exit 3")).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3));
}

#[tokio::test]
async fn a_run_of_which_nothing_is_left_ended_with_unknown_status() {
    let bench = Bench::new();
    let agent = bench.agent();
    let alive = agent.launch(1, &bench.spec("exec sleep 600")).await.unwrap();
    let handle = PidFd::open(&Identity::of(alive.pid).unwrap().unwrap()).unwrap().unwrap();
    drop(agent);
    end(&bench.keeper());
    handle.gone().await.unwrap();
    handle.reap().unwrap();
    let agent = bench.agent();
    let Discovery::Ended(exit) = agent.discover().await else { panic!() };
    assert_eq!((exit.run, exit.status), (RunId(1), ExitStatus::Unknown));
    assert!(exit.ended >= exit.started);
}

#[tokio::test]
async fn another_boot_is_no_crash_and_nobody_is_signalled() {
    let bench = Bench::new();
    let agent = bench.agent();
    agent.launch(1, &bench.spec("exec sleep 600")).await.unwrap();
    drop(agent);
    end(&bench.keeper());
    // The recorded process is now somebody who lives: this test.
    let state = KeeperState::open(&bench.state_path()).unwrap().unwrap();
    let me = Identity::of(std::process::id() as i32).unwrap().unwrap();
    let record = layout::RunRecord { pid: me.pid, start_ticks: me.start_ticks, ..state.newest_record().unwrap() };
    bench.patch_state(layout::slot(1), &record.encode());
    bench.patch_state(layout::AT_BOOT_ID, &[7; 16]);
    let mut agent = bench.agent();
    assert_eq!(agent.discover().await, Discovery::LostByReboot);
    let before = agent.client.console().range().epoch;
    agent.launch(2, &bench.spec("exit 3")).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3));
    assert_ne!(agent.client.console().range().epoch, before, "offsets of another boot are not continued unmarked");
}

#[tokio::test]
async fn a_damaged_state_file_is_nothing_and_the_next_launch_works() {
    for at in [0, layout::AT_LAYOUT, layout::slot(1) + 20] {
        let bench = Bench::new();
        let agent = bench.agent();
        let alive = agent.launch(1, &bench.spec("trap '' HUP; echo deaf; while :; do sleep 0.01; done")).await.unwrap();
        agent.see(0, "deaf\n").await;
        let survivor = Identity::of(alive.pid).unwrap().unwrap();
        drop(agent);
        end(&bench.keeper());
        bench.patch_state(at, &[0xee; 8]);
        let mut agent = bench.agent();
        assert_eq!(agent.discover().await, Discovery::Nothing, "byte {at}");
        assert!(survivor.lives(), "nobody is signalled on the word of a damaged file");
        agent.launch(2, &bench.spec("echo again; exit 3")).await.unwrap();
        assert_eq!(agent.exit(2).await.status, ExitStatus::Code(3), "byte {at}");
        agent.see(0, "again\n").await;
        assert!(!survivor.lives() || bench.cgroup().kill_file().is_none(), "two runs side by side");
        end(&survivor);
    }
}

#[tokio::test]
async fn a_keeper_that_hangs_does_not_save_its_run() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let alive = agent.launch(1, &bench.spec("exec sleep 600")).await.unwrap();
    let who = Identity::of(alive.pid).unwrap().unwrap();
    spare_at_hand(&alive).await;
    let keeper = bench.keeper();
    assert!(PidFd::open(&keeper).unwrap().unwrap().signal(Signal::SIGSTOP).unwrap());
    agent.client.signal(RunId(1), 9, Scope::Tree).await.unwrap();
    assert!(!who.lives());
    assert!(matches!(agent.event().await, KeeperEvent::KeeperLost { recovered: false, .. }));
    assert_eq!(agent.exit(1).await.status, ExitStatus::Signal { signal: 9, core_dumped: false });
    agent.tree_empty(1).await;
    assert!(!keeper.lives());
}

#[tokio::test]
async fn the_kernels_word_on_a_lack_of_memory_comes_with_the_exit() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let mut spec = bench.spec("exec python3 -c 'x = bytearray(300 << 20)'");
    spec.memory_bytes = Some(64 << 20);
    agent.launch(1, &spec).await.unwrap();
    let exit = agent.exit(1).await;
    if bench.cgroup().oom_counter().is_none() {
        return eprintln!("no memory controller can be written here: {:?}", agent.client.warnings());
    }
    assert_eq!((exit.status, exit.oom_kills), (ExitStatus::Signal { signal: 9, core_dumped: false }, Some(1)));
    agent.tree_empty(1).await;
    assert_eq!(agent.client.figures().memory_limit_bytes, Some(64 << 20));
    // The counter goes on; what one run did is the difference.
    agent.launch(2, &bench.spec("exit 0")).await.unwrap();
    assert_eq!(agent.exit(2).await.oom_kills, Some(0));
    assert_eq!(agent.client.figures().memory_limit_bytes, None, "the limit went with the workload that had it");
    agent.tree_empty(2).await;
    agent.client.retire().await;
    assert!(bench.cgroup().procs_files().is_empty(), "the groups are taken away");
}

/// A file that takes no byte, put over another one until dropped.
struct Shut(PathBuf);

impl Shut {
    fn new(file: PathBuf) -> Option<Shut> {
        let (full, none) = (Some("/dev/full"), None::<&str>);
        nix::mount::mount(full, &file, none, nix::mount::MsFlags::MS_BIND, none).ok().map(|()| Shut(file))
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_cgroup_that_cannot_be_entered_is_a_warning_and_no_failure() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    agent.launch(1, &bench.spec("exit 1")).await.unwrap();
    agent.exit(1).await;
    agent.tree_empty(1).await;
    // A keeper stays in the groups it has entered once: only the next one finds the door shut.
    agent.client.retire().await;
    let mut agent = bench.agent();
    let door = bench.cgroup().procs_files().into_iter().next();
    let Some(_shut) = door.and_then(Shut::new) else { return eprintln!("no cgroup, or no right to mount here") };
    for run in 2..=3 {
        agent.launch(run, &bench.spec("exit 4")).await.unwrap();
        assert_eq!(agent.exit(run).await.status, ExitStatus::Code(4));
        agent.tree_empty(run).await;
    }
    let warnings = agent.client.warnings();
    assert_eq!(warnings.iter().filter(|w| w.code == "cgroup_unavailable").count(), 1, "{warnings:?}");
}

#[tokio::test]
async fn a_flood_fills_no_memory_and_is_read_without_a_gap() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    agent.launch(1, &bench.spec("seq 400000; exit 0")).await.unwrap();
    let exit = agent.exit(1).await;
    let seen = text(&agent, 0).await;
    assert_eq!(seen.len() as u64, exit.log_end);
    assert!(seen.lines().enumerate().all(|(i, line)| line == (i + 1).to_string()));
}
