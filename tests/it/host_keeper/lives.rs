//! Runs and agents that come and go in good order.
use super::*;

#[tokio::test]
async fn runs_follow_each_other_in_one_keeper_and_one_console() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    assert_eq!(agent.discover().await, Discovery::Nothing);
    let spec = bench.spec(OBEDIENT);
    let mut from = 0;
    let mut keepers = Vec::new();
    for run in 1..=3 {
        let alive = agent.launch(run, &spec).await.unwrap();
        assert_eq!((alive.run, alive.log_start), (RunId(run), from));
        assert!(Identity::of(alive.pid).unwrap().unwrap().lives());
        agent.see(from, "ready\n").await;
        agent.type_line(run, &format!("say hello-{run}")).await;
        agent.see(from, &format!("hello-{run}\n")).await;
        agent.type_line(run, &format!("exit {run}")).await;
        let exit = agent.exit(run).await;
        assert_eq!((exit.status, exit.log_start), (ExitStatus::Code(run as i32), from));
        assert!(exit.max_rss_bytes > 0 && exit.ended >= exit.started && exit.ended_at >= exit.started_at);
        assert_eq!(text(&agent, from).await, format!("ready\nhello-{run}\n"));
        assert_eq!(agent.tree_empty(run).await, 0);
        from = exit.log_end;
        assert_eq!(agent.client.console().range().end, from);
        keepers.push(bench.keeper().pid);
    }
    assert!(keepers.iter().all(|pid| *pid == keepers[0]), "one keeper for all: {keepers:?}");
    assert!(matches!(agent.client.input(RunId(3), Bytes::from("x")).await, Err(KeepingError::NotAlive(RunId(3)))));
    let keeper = bench.keeper();
    agent.client.retire().await;
    assert!(!keeper.lives());
}

#[tokio::test]
async fn a_new_agent_takes_up_the_run_and_misses_no_byte() {
    let bench = Bench::new();
    let script = "i=0; while :; do i=$((i+1)); echo line-$i; done";
    let first = bench.agent();
    assert_eq!(first.discover().await, Discovery::Nothing);
    let alive = first.launch(7, &bench.spec(script)).await.unwrap();
    let mut read = String::new();
    let mut from = 0;
    let mut agent = first;
    for _ in 0..4 {
        let epoch = agent.client.console().range().epoch;
        for _ in 0..20 {
            let mut news = agent.client.console().news();
            news.wait_for(|news| news.range.epoch != epoch || news.range.end > from).await.unwrap();
            let piece = agent.client.console().read(from, 32 << 10).await.unwrap();
            assert_eq!(piece.from, from, "a gap");
            from += piece.bytes.len() as u64;
            read.push_str(std::str::from_utf8(&piece.bytes).unwrap());
        }
        drop(agent);
        agent = bench.agent();
        assert_eq!(agent.discover().await, Discovery::Alive(alive.clone()));
        assert_eq!(agent.discover().await, Discovery::Alive(alive.clone()), "asked again by a reborn actor");
    }
    agent.client.signal(RunId(7), 15, Scope::Leader).await.unwrap();
    let exit = agent.exit(7).await;
    assert_eq!(exit.status, ExitStatus::Signal { signal: 15, core_dumped: false });
    read.push_str(&text(&agent, from).await);
    assert_eq!(read.len() as u64, exit.log_end);
    let whole = read.rsplit_once('\n').unwrap().0;
    for (i, line) in whole.lines().enumerate() {
        assert_eq!(line, format!("line-{}", i + 1));
    }
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_told_by_the_keeper_or_by_its_record() {
    let bench = Bench::new();
    let agent = bench.agent();
    let alive = agent.launch(1, &bench.spec("read x; exit 42")).await.unwrap();
    let who = Identity::of(alive.pid).unwrap().unwrap();
    agent.type_line(1, "").await;
    drop(agent);
    wait_until(|| !who.lives()).await;
    let agent = bench.agent();
    let Discovery::Ended(exit) = agent.discover().await else { panic!() };
    assert_eq!((exit.run, exit.status), (RunId(1), ExitStatus::Code(42)));
    drop(agent);
    // Told once, the keeper has no reason to stay; its record does.
    wait_until(|| !bench.keeper().lives()).await;
    assert_eq!(bench.agent().discover().await, Discovery::Ended(exit));
}

#[tokio::test]
async fn what_outlives_its_main_process_is_ended_and_counted_and_never_runs_beside_the_next() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let script = "(setsid sleep 600 &); sleep 600 & exit 5";
    agent.launch(1, &bench.spec(script)).await.unwrap();
    assert_eq!(agent.exit(1).await.status, ExitStatus::Code(5));
    assert_eq!(agent.tree_empty(1).await, 2);
    agent.launch(2, &bench.spec(script)).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Code(5));
    // At once, while the keeper still clears up.
    let alive = agent.launch(3, &bench.spec("exec sleep 600")).await.unwrap();
    assert_eq!(agent.tree_empty(2).await, 2);
    let inside = bench.cgroup().pids();
    assert!(inside.is_empty() || inside == [alive.pid], "{inside:?}");
}

#[tokio::test]
async fn a_tree_kill_is_answered_whether_or_not_there_is_anything_left() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    agent.launch(1, &bench.spec("exit 0")).await.unwrap();
    agent.exit(1).await;
    agent.tree_empty(1).await;
    agent.client.signal(RunId(1), 9, Scope::Tree).await.unwrap();
    assert_eq!(agent.tree_empty(1).await, 0);
    end(&bench.keeper());
    let mut agent = bench.agent();
    assert!(matches!(agent.discover().await, Discovery::Ended(_)));
    agent.client.signal(RunId(1), 9, Scope::Tree).await.unwrap();
    assert_eq!(agent.tree_empty(1).await, 0);
}

#[tokio::test]
async fn signals_reach_whom_they_are_meant_for() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let script = "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.01; done";
    agent.launch(1, &bench.spec(script)).await.unwrap();
    agent.see(0, "up\n").await;
    assert_eq!(agent.client.signal(RunId(2), 15, Scope::Leader).await, Err(KeepingError::NotAlive(RunId(2))));
    agent.client.signal(RunId(1), 15, Scope::Leader).await.unwrap();
    let exit = agent.exit(1).await;
    assert_eq!(exit.status, ExitStatus::Code(9));
    agent.see(0, "told\n").await;
    agent.tree_empty(1).await;

    agent
        .launch(2, &bench.spec("trap '' TERM HUP INT; echo deaf; (setsid sleep 600 &); sleep 600 & wait; wait"))
        .await
        .unwrap();
    agent.see(exit.log_end, "deaf\n").await;
    agent.client.signal(RunId(2), 15, Scope::Leader).await.unwrap();
    agent.client.signal(RunId(2), 9, Scope::Tree).await.unwrap();
    assert_eq!(agent.exit(2).await.status, ExitStatus::Signal { signal: 9, core_dumped: false });
    agent.tree_empty(2).await;
    assert_eq!(bench.cgroup().pids(), Vec::<i32>::new());
}

#[tokio::test]
async fn input_that_is_not_read_is_answered_when_the_run_ends() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    agent.launch(1, &bench.spec("exec sleep 600")).await.unwrap();
    let input = agent.client.input(RunId(1), Bytes::from(vec![b'x'; 200_000]));
    agent.client.signal(RunId(1), 9, Scope::Leader).await.unwrap();
    let taken = input.await.unwrap();
    assert!(taken < 200_000, "{taken}");
    agent.exit(1).await;
    let much = agent.client.input(RunId(1), Bytes::from_static(b"x")).await;
    assert_eq!(much, Err(KeepingError::NotAlive(RunId(1))));
}

#[tokio::test]
async fn a_program_that_cannot_run_is_an_error_a_person_understands() {
    let bench = Bench::new();
    let agent = bench.agent();
    let mut spec = bench.spec("exit 0");
    spec.argv[0] = "no-such-program".into();
    let error = agent.launch(1, &spec).await.unwrap_err();
    assert!(matches!(&error, KeepingError::Launch { step: LaunchStep::Exec, errno: libc::ENOENT, .. }), "{error}");
    assert!(error.to_string().contains("no-such-program"), "{error}");

    let mut spec = bench.spec("exit 0");
    spec.cwd = bench.root.path().join("absent");
    let error = agent.launch(2, &spec).await.unwrap_err();
    assert!(matches!(&error, KeepingError::Launch { step: LaunchStep::Workdir, errno: libc::ENOENT, .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");

    let mut spec = bench.spec("exit 0");
    spec.user = Some("nobody-by-this-name".into());
    if nix::unistd::geteuid().is_root() {
        assert_eq!(agent.launch(3, &spec).await, Err(KeepingError::NoSuchUser("nobody-by-this-name".into())));
    }
    let mut plan = bench.plan();
    plan.binary = "/nowhere/zlh".into();
    let lost = bench.agent_of(plan);
    drop(agent);
    wait_until(|| !bench.keeper().lives()).await;
    let error = lost.launch(4, &bench.spec("exit 0")).await.unwrap_err();
    assert!(matches!(&error, KeepingError::Spawn(why) if why.contains("/nowhere/zlh")), "{error}");
}

#[tokio::test]
async fn an_idle_keeper_of_another_build_makes_way_and_a_busy_one_stays() {
    let bench = Bench::new();
    let agent = bench.agent();
    let alive = agent.launch(1, &bench.spec(OBEDIENT)).await.unwrap();
    let old = bench.keeper();
    drop(agent);
    let mut plan = bench.plan();
    plan.build = "another".into();
    let mut agent = bench.agent_of(plan);
    assert_eq!(agent.discover().await, Discovery::Alive(alive));
    assert!(old.lives());
    agent.type_line(1, "exit 0").await;
    agent.exit(1).await;
    agent.tree_empty(1).await;
    agent.launch(2, &bench.spec(OBEDIENT)).await.unwrap();
    assert!(!old.lives() && bench.keeper() != old);
    agent.type_line(2, "say still-here").await;
    agent.see(0, "still-here\n").await;
}

#[tokio::test]
async fn the_terminal_has_the_size_that_was_set_last() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    agent.client.resize(123, 45);
    agent.launch(1, &bench.spec("stty size; read x; stty size")).await.unwrap();
    let seen = agent.see(0, "45 123\n").await;
    agent.client.resize(100, 30);
    agent.type_line(1, "").await;
    agent.see(seen, "30 100\n").await;
    assert_eq!(agent.exit(1).await.status, ExitStatus::Code(0));
}

/// The word in the keeper's state file.
fn permit(bench: &Bench) -> u64 {
    let plan = bench.plan();
    let path = zlh::host::keeper_client::keeper_dir(&plan.root, &plan.name).join(layout::STATE_FILE);
    let bytes = std::fs::read(path).unwrap();
    u64::from_ne_bytes(bytes[layout::AT_PERMIT..][..8].try_into().unwrap())
}

#[tokio::test]
async fn only_the_last_launch_over_again_is_permitted_and_not_for_longer_than_it_would_be_the_same() {
    let bench = Bench::new();
    let mut agent = bench.agent();
    let (spec, another) = (bench.spec("exec sleep 1000"), bench.spec("exec sleep 999"));
    agent.launch(1, &spec).await.unwrap();
    let may = |run, spec| {
        agent.client.permit(Some((RunId(run), spec)));
        permit(&bench)
    };
    assert_eq!([may(2, &another), may(3, &spec), may(2, &spec)], [0, 0, 2]);
    agent.client.permit(None);
    assert_eq!(permit(&bench), 0);
    assert_eq!(may(2, &spec), 2);
    agent.client.resize(99, 33);
    assert_eq!((permit(&bench), may(2, &spec)), (0, 0), "a terminal of that size was not made");
    agent.client.signal(RunId(1), 9, Scope::Tree).await.unwrap();
    agent.exit(1).await;
    agent.launch(2, &spec).await.unwrap();
    let may = |run, spec| {
        agent.client.permit(Some((RunId(run), spec)));
        permit(&bench)
    };
    assert_eq!(may(3, &spec), 3);
    // An actor that is reborn asks what there is, and has permitted nothing.
    assert!(matches!(agent.client.discover(Arc::new(|_| ())).await, Ok(Discovery::Alive(_))));
    assert_eq!(permit(&bench), 0);
    agent.client.signal(RunId(2), 9, Scope::Tree).await.unwrap();
}

#[tokio::test]
async fn a_game_runs_as_its_own_user_with_its_own_environment() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root can change users");
    }
    let bench = Bench::new();
    let folder = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bench.root.path(), folder).unwrap();
    let mut agent = bench.agent_of(Plan { max_files: 1000, ..bench.plan() });
    let mut spec = bench.spec("id -un; umask; ulimit -n; env | sort");
    spec.user = Some("nobody".into());
    spec.env.insert("GREETING".into(), "hi there".into());
    agent.launch(1, &spec).await.unwrap();
    agent.exit(1).await;
    let seen = text(&agent, 0).await;
    let mut lines = seen.lines();
    assert_eq!([lines.next(), lines.next(), lines.next()], [Some("nobody"), Some("0027"), Some("1000")], "{seen}");
    assert!(seen.contains("GREETING=hi there\n") && !seen.contains("CARGO"), "{seen}");
}
