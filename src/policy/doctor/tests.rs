//! One fact changed at a time: what the doctor says then.
use super::*;
use crate::model::{
    doctor::{AccountFacts, ArtifactFacts, ClockFacts, ConfigurationFacts, FileFacts, WorkloadFacts},
    snapshot::Warning,
};

const GIB: u64 = 1 << 30;

fn warning(code: &str) -> Warning {
    Warning { code: code.into(), message: format!("about {code}") }
}

/// A machine on which all is well.
fn healthy() -> Facts {
    let port = |port, purpose: &str, ours| PortFacts {
        port,
        transport: "TCP".into(),
        pid: Some(7),
        name: Some("x".into()),
        ours,
        purpose: purpose.into(),
    };
    Facts {
        agent: AgentFacts::Answers { version: "v0.1.0".into(), state: "running".into(), warnings: vec![] },
        configuration: ConfigurationFacts {
            grace: Duration::from_secs(60),
            min_disk_free_bytes: 64 << 20,
            ..Default::default()
        },
        workload: Some(WorkloadFacts {
            game: "minecraft".into(),
            memory_bytes: Some(2 * GIB),
            heap_bytes: Some(GIB),
            ladder: Some(Duration::from_secs(50)),
            pid: Some(7),
        }),
        cgroup: CgroupFacts {
            kind: "v2".into(),
            place: "/sys/fs/cgroup/x".into(),
            memory: true,
            processes: true,
            kill: true,
            oom_counter: true,
            warnings: vec![],
        },
        memory_bytes: Some(4 * GIB),
        disk: Ok(DiskFacts {
            path: "/opt/zlh".into(),
            free_bytes: 50 * GIB,
            total_bytes: 100 * GIB,
            free_inodes: 1_000_000,
            total_inodes: 2_000_000,
        }),
        ports: Ok(vec![port(18888, "agent", false), port(25565, "game", true)]),
        clock: ClockFacts {
            wall_ms: EARLIEST_WALL_MS,
            boot: Duration::from_secs(3600),
            timezone: "UTC".into(),
            ahead_of_server: Some(1),
        },
        artifacts: Some(ArtifactFacts { url: "http://a".into(), catalog: Ok(12) }),
        token_file: Some(FileFacts { path: "/t".into(), about: Ok((0o600, 0)) }),
        account: AccountFacts { name: "game".into(), exists: true, root: true },
        terminal: Ok(()),
        run: Ok(()),
        kernel: KernelFacts { release: "6.18".into(), pidfd: true, openat2: true, pidfd_exit_info: true },
        open_files: Ok((1024, 1 << 20)),
        init: Some("systemd".into()),
    }
}

/// Name of the check, the change, and the verdict with a word of what was found or is to be done.
type Row = (&'static str, fn(&mut Facts), Health, &'static str);

const ROWS: &[Row] = &[
    ("agent", |f| f.agent = AgentFacts::Unreachable("refused".into()), Warn, "systemctl start"),
    ("agent", |f| f.agent = AgentFacts::Refuses("401".into()), Warn, "--token-file"),
    ("agent", warned_agent, Warn, "about cgroup_kill [cgroup_kill]"),
    ("configuration", |f| f.configuration.faults = vec!["a".into(), "b".into()], Fail, "a\nb"),
    ("configuration", |f| f.configuration.notes = vec!["n".into()], Warn, "n"),
    ("token file", |f| f.token_file = None, Fine, "none"),
    ("token file", |f| token_mode(f, Ok((0o644, 0))), Warn, "chmod 600 /t"),
    ("token file", |f| token_mode(f, Err("gone".into())), Fail, "gone"),
    ("memory", |f| f.memory_bytes = Some(GIB), Fail, "minecraft may use 2048 MiB (heap 1024 MiB) of 1024 MiB"),
    ("memory", |f| f.memory_bytes = Some(2 * GIB), Warn, "128 MiB for the agent"),
    ("memory", |f| f.workload.as_mut().unwrap().heap_bytes = Some(2 * GIB), Fail, "raise memory_mb"),
    ("memory", |f| f.workload = None, Fine, "no workload"),
    ("memory", |f| f.memory_bytes = None, Warn, "/proc"),
    ("stop budget", |f| f.configuration.grace = Duration::from_secs(30), Warn, "stop steps 50s, stop.grace 30s"),
    ("stop budget", |f| f.init = Some("zlh".into()), Warn, "--stop-timeout 65"),
    ("cgroup", |f| f.cgroup.memory = false, Warn, "Delegate=yes"),
    ("cgroup", |f| f.cgroup.kill = false, Warn, "one by one"),
    ("cgroup", |f| f.cgroup.warnings = vec![warning("x")], Fine, "about x"),
    ("disk", |f| disk_free(f, 1 << 20), Fail, "Below 64 MiB"),
    ("disk", |f| disk_free(f, GIB), Warn, "1024 MiB of 100 GiB"),
    ("disk", |f| f.disk.as_mut().unwrap().free_inodes = 0, Fail, "0 inodes"),
    ("disk", btrfs, Fine, "50 GiB"),
    ("disk", |f| f.disk = Err("gone".into()), Fail, "gone"),
    ("ports", |f| f.ports.as_mut().unwrap()[1].ours = false, Fail, "TCP 25565 (game) is held by x (pid 7)"),
    ("ports", |f| f.agent = AgentFacts::Unreachable(String::new()), Fail, "TCP 18888 (agent)"),
    ("ports", |f| f.ports = Ok(vec![]), Fine, "all free"),
    ("ports", |f| f.ports = Err("no /proc".into()), Warn, "no /proc"),
    ("artifacts", |f| f.artifacts = None, Warn, "artifacts_url"),
    ("artifacts", |f| f.artifacts.as_mut().unwrap().catalog = Err("refused".into()), Fail, "http://a: refused"),
    ("clock", |f| f.clock.wall_ms = 0, Fail, "before 2025"),
    ("clock", |f| f.clock.boot = Duration::ZERO, Fail, "stands still"),
    ("clock", |f| f.clock.ahead_of_server = Some(-300), Warn, "300 s behind"),
    ("clock", |f| f.clock.ahead_of_server = None, Fine, "up 1h"),
    ("account", |f| f.account.root = false, Warn, "not root"),
    ("account", |f| f.account.exists = false, Fine, "created at the first start"),
    ("terminal", |f| f.terminal = Err("no ptmx".into()), Fail, "no ptmx"),
    ("run", |f| f.run = Err("read-only".into()), Fail, "tmpfs on /run"),
    ("kernel", |f| f.kernel.pidfd = false, Fail, "Linux 5.3"),
    ("kernel", |f| f.kernel.openat2 = false, Warn, "Linux 5.6"),
    ("kernel", |f| f.kernel.pidfd_exit_info = false, Fine, "stays unknown"),
    ("open files", |f| f.open_files = Ok((1024, 1024)), Warn, "LimitNOFILE"),
    ("init", |f| f.init = Some("zlh".into()), Fine, "zlh"),
    ("init", |f| f.init = Some("bash".into()), Warn, "docker run --init"),
    ("init", |f| f.init = None, Warn, "cannot be seen"),
];

fn warned_agent(f: &mut Facts) {
    f.agent = AgentFacts::Answers { version: "v".into(), state: "idle".into(), warnings: vec![warning("cgroup_kill")] };
}

fn token_mode(f: &mut Facts, about: Result<(u32, u32), String>) {
    f.token_file = Some(FileFacts { path: "/t".into(), about });
}

fn disk_free(f: &mut Facts, free: u64) {
    f.disk.as_mut().unwrap().free_bytes = free;
}

fn btrfs(f: &mut Facts) {
    let disk = f.disk.as_mut().unwrap();
    (disk.free_inodes, disk.total_inodes) = (0, 0);
}

#[test]
fn a_healthy_machine_is_fine() {
    let findings = judge(&healthy());
    let odd: Vec<_> = findings.iter().filter(|f| f.health != Fine || !f.cure.is_empty()).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(!is_ill(&findings));
}

#[test]
fn each_fact_tells() {
    for (name, change, health, word) in ROWS {
        let mut facts = healthy();
        change(&mut facts);
        let findings = judge(&facts);
        let found = findings.iter().find(|f| f.name == *name).unwrap();
        assert_eq!(found.health, *health, "{found:?}");
        assert!(format!("{} {}", found.found, found.cure).contains(word), "{word:?} is missing in {found:?}");
        assert_eq!(is_ill(&findings), findings.iter().any(|f| f.health == Fail));
    }
}

#[test]
fn whatever_is_wrong_has_a_cure() {
    for (name, change, health, _) in ROWS {
        let mut facts = healthy();
        change(&mut facts);
        let findings = judge(&facts);
        let found = findings.iter().find(|f| f.name == *name).unwrap();
        assert!(*health == Fine || !found.cure.is_empty(), "{found:?}");
    }
}
