//! What the doctor's facts mean: one small judgement a check, worst thing first within each.
use crate::model::doctor::{
    AgentFacts, CgroupFacts, DiskFacts, Facts, Finding,
    Health::{self, Fail, Ok as Fine, Warn},
    KernelFacts, PortFacts,
};
use std::time::Duration;

/// 2025-01-01: a machine that says it is earlier has no clock.
const EARLIEST_WALL_MS: i64 = 1_735_689_600_000;
/// TLS and signed tokens begin to fail somewhere beyond this.
const CLOCK_TOLERANCE_S: i64 = 60;
/// Fewer open files than this have stopped modded Minecraft servers.
const ENOUGH_FILES: u64 = 4096;
/// The agent and the kernel's own share of a container's memory.
const AGENT_SHARE: u64 = 128 << 20;
/// Worlds grow: less free space than this is worth a word.
const COMFORTABLE_DISK: u64 = 2 << 30;
/// How `docker stop` and its kind reckon.
const CONTAINER_DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// All checks, in the order a person would ask.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        agent(facts),
        configuration(facts),
        token_file(facts),
        memory(facts),
        stop_budget(facts),
        cgroup(&facts.cgroup),
        disk(facts),
        ports(facts),
        artifacts(facts),
        clock(facts),
        account(facts),
        works("terminal", &facts.terminal, "pseudo-terminals can be opened", "Mount devpts on /dev/pts (newinstance)."),
        works("run", &facts.run, "/run is writable", "Mount a tmpfs on /run, or start as root."),
        kernel(&facts.kernel),
        open_files(facts),
        init(facts),
    ]
}

/// Does anything keep the agent from working?
pub fn is_ill(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.health == Fail)
}

fn finding(name: &'static str, health: Health, found: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { name, health, found: found.into(), cure: cure.into() }
}

fn fine(name: &'static str, found: impl Into<String>) -> Finding {
    finding(name, Fine, found, "")
}

fn works(name: &'static str, fact: &Result<(), String>, found: &str, cure: &str) -> Finding {
    match fact {
        Ok(()) => fine(name, found),
        Err(why) => finding(name, Fail, why, cure),
    }
}

fn agent(facts: &Facts) -> Finding {
    const NAME: &str = "agent";
    match &facts.agent {
        AgentFacts::Answers { version, state, warnings } if warnings.is_empty() => {
            fine(NAME, format!("{version} answers, state {state}"))
        }
        AgentFacts::Answers { version, state, warnings } => {
            let said: Vec<String> = warnings.iter().map(|w| format!("{} [{}]", w.message, w.code)).collect();
            finding(
                NAME,
                Warn,
                format!("{version} answers, state {state}; it warns:\n{}", said.join("\n")),
                "See above.",
            )
        }
        AgentFacts::Refuses(why) => finding(NAME, Warn, why, "Give the agent's token with --token-file."),
        AgentFacts::Unreachable(why) => {
            finding(NAME, Warn, why, "Start it (systemctl start zlh-agent), or say where it is with --url.")
        }
    }
}

fn configuration(facts: &Facts) -> Finding {
    const NAME: &str = "configuration";
    let c = &facts.configuration;
    match (c.faults.is_empty(), c.notes.is_empty()) {
        (false, _) => {
            finding(NAME, Fail, c.faults.join("\n"), "The agent will not start (exit code 78) until this is right.")
        }
        (true, false) => finding(NAME, Warn, c.notes.join("\n"), "`zlh config show` says where each value comes from."),
        (true, true) => fine(NAME, "no faults"),
    }
}

fn token_file(facts: &Facts) -> Finding {
    const NAME: &str = "token file";
    let Some(file) = &facts.token_file else { return fine(NAME, "none is configured") };
    let path = file.path.display();
    match &file.about {
        Err(why) => finding(NAME, Fail, format!("{path}: {why}"), "Write the token there, or correct token_file."),
        Ok((mode, owner)) if mode & 0o077 != 0 => {
            finding(NAME, Warn, format!("{path} has mode {mode:03o}, owner {owner}"), format!("chmod 600 {path}"))
        }
        Ok((mode, owner)) => fine(NAME, format!("{path} has mode {mode:03o}, owner {owner}")),
    }
}

fn memory(facts: &Facts) -> Finding {
    const NAME: &str = "memory";
    let Some(total) = facts.memory_bytes else {
        return finding(NAME, Warn, "how much memory there is cannot be read", "Is /proc mounted?");
    };
    let Some((game, wanted)) = facts.workload.as_ref().and_then(|w| Some((w, w.memory_bytes?))) else {
        return fine(NAME, format!("{} here; no workload with a limit", bytes(total)));
    };
    let heap = game.heap_bytes.map(|heap| format!(" (heap {})", bytes(heap))).unwrap_or_default();
    let found = format!("{} may use {}{heap} of {}", game.game, bytes(wanted), bytes(total));
    if wanted > total {
        let cure =
            "The kernel will kill it before it meets its own limit: lower memory_mb, or give the container more.";
        return finding(NAME, Fail, found, cure);
    }
    if game.heap_bytes.is_some_and(|heap| heap >= wanted) {
        return finding(
            NAME,
            Fail,
            found,
            "A heap as large as the limit leaves nothing for the JVM itself: raise memory_mb.",
        );
    }
    if wanted + AGENT_SHARE > total {
        let cure = format!("Leave {} for the agent and the system: lower memory_mb.", bytes(AGENT_SHARE));
        return finding(NAME, Warn, found, cure);
    }
    fine(NAME, found)
}

fn stop_budget(facts: &Facts) -> Finding {
    const NAME: &str = "stop budget";
    let grace = facts.configuration.grace;
    let ladder = facts.workload.as_ref().and_then(|w| w.ladder);
    let found = match ladder {
        Some(ladder) => format!("stop steps {}, stop.grace {}", seconds(ladder), seconds(grace)),
        None => format!("stop.grace {}", seconds(grace)),
    };
    if ladder.is_some_and(|ladder| ladder > grace) {
        let cure = "The server is killed before it has saved: raise stop.grace or shorten the stop steps.";
        return finding(NAME, Warn, found, cure);
    }
    if is_our_init(facts) && grace > CONTAINER_DEFAULT_GRACE {
        let cure = format!(
            "Containers get {} by default: docker run --stop-timeout {}.",
            seconds(CONTAINER_DEFAULT_GRACE),
            grace.as_secs() + 5
        );
        return finding(NAME, Warn, found, cure);
    }
    fine(NAME, found)
}

fn cgroup(c: &CgroupFacts) -> Finding {
    const NAME: &str = "cgroup";
    let word = |works: bool| if works { "works" } else { "does not" };
    let found = format!(
        "{} at {}: memory limit {}, process limit {}, kill {}, oom counter {}",
        c.kind,
        if c.place.is_empty() { "no place" } else { &c.place },
        word(c.memory),
        word(c.processes),
        word(c.kill),
        word(c.oom_counter)
    );
    let said: Vec<&str> = c.warnings.iter().map(|w| w.message.as_str()).collect();
    let found = [&[found.as_str()], said.as_slice()].concat().join("\n");
    match (c.memory && c.oom_counter, c.kill && c.processes) {
        (true, true) => fine(NAME, found),
        (true, false) => finding(NAME, Warn, found, "It works with less: processes are killed one by one."),
        (false, _) => {
            let cure = "Limits and certain out-of-memory verdicts need a writable cgroup: Delegate=yes in the unit, \
                        lxc.mount.auto = cgroup:rw, or docker run --cgroupns=private with a writable /sys/fs/cgroup.";
            finding(NAME, Warn, found, cure)
        }
    }
}

fn disk(facts: &Facts) -> Finding {
    const NAME: &str = "disk";
    let disk = match &facts.disk {
        Ok(disk) => disk,
        Err(why) => return finding(NAME, Fail, why, "Is the root folder right (--root)?"),
    };
    let DiskFacts { path, free_bytes, total_bytes, free_inodes, total_inodes } = disk;
    let found =
        format!("{}: {} of {} free, {free_inodes} inodes", path.display(), bytes(*free_bytes), bytes(*total_bytes));
    let least = facts.configuration.min_disk_free_bytes;
    // File systems without a fixed number of inodes (btrfs, overlay on it) report 0 of 0.
    if *free_bytes < least || (*free_inodes == 0 && *total_inodes > 0) {
        return finding(
            NAME,
            Fail,
            found,
            format!("Below {} no server starts: delete old backups and logs.", bytes(least)),
        );
    }
    if *free_bytes < COMFORTABLE_DISK {
        return finding(NAME, Warn, found, format!("Worlds grow: make it {} or more.", bytes(COMFORTABLE_DISK)));
    }
    fine(NAME, found)
}

fn ports(facts: &Facts) -> Finding {
    const NAME: &str = "ports";
    let held = match &facts.ports {
        Ok(held) => held,
        Err(why) => return finding(NAME, Warn, format!("cannot be looked at: {why}"), "Is /proc mounted?"),
    };
    let agent_answers = !matches!(facts.agent, AgentFacts::Unreachable(_));
    let expected = |p: &&PortFacts| p.ours || (p.purpose == "agent" && agent_answers);
    let (right, wrong): (Vec<_>, Vec<_>) = held.iter().partition(expected);
    if wrong.is_empty() {
        let said: Vec<String> = right.iter().map(|p| port(p)).collect();
        return fine(NAME, if said.is_empty() { "all free".into() } else { said.join("\n") });
    }
    let said: Vec<String> = wrong.iter().map(|p| port(p)).collect();
    finding(NAME, Fail, said.join("\n"), "Stop whoever holds it, or choose another port.")
}

fn port(p: &PortFacts) -> String {
    let holder = match (&p.name, p.pid) {
        (Some(name), Some(pid)) => format!("{name} (pid {pid})"),
        (None, Some(pid)) => format!("pid {pid}"),
        _ => "a process that cannot be seen from here".into(),
    };
    format!("{} {} ({}) is held by {holder}", p.transport, p.port, p.purpose)
}

fn artifacts(facts: &Facts) -> Finding {
    const NAME: &str = "artifacts";
    let Some(server) = &facts.artifacts else {
        return finding(
            NAME,
            Warn,
            "no artifact server is configured",
            "Set artifacts_url if runtimes or games are to be installed.",
        );
    };
    match &server.catalog {
        Ok(ms) => fine(NAME, format!("{} answers in {ms} ms", server.url)),
        Err(why) => finding(
            NAME,
            Fail,
            format!("{}: {why}", server.url),
            "Check artifacts_url, DNS, routes and the server itself.",
        ),
    }
}

fn clock(facts: &Facts) -> Finding {
    const NAME: &str = "clock";
    let c = &facts.clock;
    let boot = format!("up {}, time zone {}", seconds(c.boot), c.timezone);
    if c.wall_ms < EARLIEST_WALL_MS {
        return finding(
            NAME,
            Fail,
            format!("the wall clock stands before 2025; {boot}"),
            "Set the date (timedatectl set-ntp true).",
        );
    }
    if c.boot.is_zero() {
        return finding(
            NAME,
            Fail,
            "the boot clock stands still",
            "CLOCK_BOOTTIME is needed: a Linux newer than 2.6.39.",
        );
    }
    match c.ahead_of_server {
        Some(off) if off.abs() > CLOCK_TOLERANCE_S => {
            let word = if off > 0 { "ahead of" } else { "behind" };
            let found = format!("{} s {word} the artifact server; {boot}", off.abs());
            finding(
                NAME,
                Warn,
                found,
                "TLS and tokens fail with a wrong clock: timedatectl set-ntp true, here or there.",
            )
        }
        Some(off) => fine(NAME, format!("{} s off the artifact server; {boot}", off.abs())),
        None => fine(NAME, boot),
    }
}

fn account(facts: &Facts) -> Finding {
    const NAME: &str = "account";
    let a = &facts.account;
    match (a.root, a.exists) {
        (false, _) => finding(
            NAME,
            Warn,
            "not root: servers run as this user",
            "Run the agent as root to separate servers from it.",
        ),
        (true, true) => fine(NAME, format!("servers run as {}", a.name)),
        (true, false) => fine(NAME, format!("{} does not exist yet and is created at the first start", a.name)),
    }
}

fn kernel(k: &KernelFacts) -> Finding {
    const NAME: &str = "kernel";
    let word = |works: bool| if works { "yes" } else { "no" };
    let found = format!(
        "Linux {}: pidfd {}, openat2 {}, exit status by pidfd {}",
        k.release,
        word(k.pidfd),
        word(k.openat2),
        word(k.pidfd_exit_info)
    );
    match (k.pidfd, k.openat2, k.pidfd_exit_info) {
        (false, ..) => {
            finding(NAME, Fail, found, "Safe signals need pidfd_open: Linux 5.3, and a seccomp profile that allows it.")
        }
        (_, false, _) => finding(
            NAME,
            Warn,
            found,
            "Safe file access needs openat2: Linux 5.6, and a seccomp profile that allows it.",
        ),
        (true, true, false) => fine(NAME, found + " (an exit while both agent and keeper are dead stays unknown)"),
        (true, true, true) => fine(NAME, found),
    }
}

fn open_files(facts: &Facts) -> Finding {
    const NAME: &str = "open files";
    match &facts.open_files {
        Err(why) => finding(NAME, Warn, why, ""),
        Ok((soft, hard)) if *hard < ENOUGH_FILES => {
            let cure =
                format!("Servers with many mods need {ENOUGH_FILES}: LimitNOFILE= in the unit, or --ulimit nofile.");
            finding(NAME, Warn, format!("at most {hard} (now {soft})"), cure)
        }
        Ok((soft, hard)) => fine(NAME, format!("at most {hard} (now {soft})")),
    }
}

fn init(facts: &Facts) -> Finding {
    const NAME: &str = "init";
    const REAPERS: [&str; 7] = ["systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan"];
    match facts.init.as_deref() {
        None => finding(NAME, Warn, "process 1 cannot be seen", "Is /proc mounted?"),
        Some(_) if is_our_init(facts) => fine(NAME, "process 1 is zlh, which reaps orphans"),
        Some(name) if REAPERS.contains(&name) => fine(NAME, format!("process 1 is {name}, which reaps orphans")),
        Some(name) => {
            let cure = "If zombies pile up: start the container with `zlh agent` itself, or docker run --init.";
            finding(NAME, Warn, format!("process 1 is {name}, which may not reap orphans"), cure)
        }
    }
}

fn is_our_init(facts: &Facts) -> bool {
    facts.init.as_deref() == Some("zlh")
}

fn seconds(d: Duration) -> String {
    humantime::format_duration(Duration::from_secs(d.as_secs())).to_string()
}

fn bytes(n: u64) -> String {
    match n >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

#[cfg(test)]
mod tests;
