//! Which room may name what: bans, edges between rooms, the environment, and process::exit.
use crate::{
    Fault,
    source::{Project, Source},
};

/// What plain data and pure decisions may not name.
const NO_IO: [&str; 24] = [
    "tokio",
    "ractor",
    "axum",
    "hyper",
    "tracing",
    "reqwest",
    "nix",
    "libc",
    "procfs",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Uuid::now_v7",
    "Uuid::new_v4",
];
const NO_ASYNC: [&str; 2] = ["async", "await"];
const NO_SHARING: [&str; 11] = [
    "rand",
    "uuid",
    "std::sync::atomic",
    "Condvar",
    "Mutex",
    "RwLock",
    "RefCell",
    "mpsc",
    "oneshot",
    "futures_util",
    "crossbeam",
];
const ACTORS: [&str; 14] = [
    "axum",
    "hyper",
    "nix",
    "procfs",
    "std::fs",
    "std::process",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::thread::sleep",
    "tokio::fs",
    "tokio::process",
    "tokio::net",
    "reqwest",
    "tar",
];
const HTTP: [&str; 8] = ["ractor", "nix", "procfs", "std::fs", "std::process", "std::thread::sleep", "Mutex", "RwLock"];
const HOST: [&str; 2] = ["ractor", "axum"];

/// Crates that the keeper may name; nothing else of Cargo.toml.
const KEEPER_CRATES: [&str; 3] = ["nix", "libc", "crc32fast"];

/// Rooms a room may name besides itself. `keeper::protocol` means that part alone.
const EDGES: [(&str, &[&str]); 9] = [
    ("main", &["cli", "keeper"]), // a keeper starts without paying for the command line
    ("lib", &[]),
    ("cli", &["actors", "config", "host", "http", "keeper", "model", "policy"]),
    ("config", &["model"]),
    ("http", &["actors", "model", "host::connection_pool", "host::wire"]), // the tunnel carries bytes itself (ADR 26)
    ("actors", &["policy", "host", "model"]),
    ("policy", &["model"]),
    ("host", &["model", "keeper::protocol", "keeper::layout"]),
    ("keeper", &["model"]),
];

/// `model` is the only room that is not in the table: it names nobody.
fn may_name(room: &str) -> &'static [&'static str] {
    EDGES.iter().find(|(from, _)| *from == room).map_or(&[], |(_, to)| to)
}

pub fn bans(project: &Project) -> Vec<Fault> {
    let crates = crate::papers::crate_names(project);
    let outside: Vec<&str> = crates.iter().map(String::as_str).filter(|c| !KEEPER_CRATES.contains(c)).collect();
    let mut faults = Vec::new();
    for source in project.sources.iter().filter(|s| s.path.starts_with("src/")) {
        let banned = match source.room() {
            "model" => [&NO_IO[..], &NO_ASYNC].concat(),
            "policy" => [&NO_IO[..], &NO_ASYNC, &NO_SHARING].concat(),
            "host" => HOST.to_vec(),
            "keeper" => [&outside[..], &NO_ASYNC].concat(),
            "actors" => ACTORS.to_vec(),
            "http" => HTTP.to_vec(),
            _ => continue,
        };
        faults.extend(
            named(source, &banned).map(|(line, what)| Fault::new("ban", source, line, format!("names {what}"))),
        );
    }
    faults
}

/// The banned names among the paths of a file: `std::fs` is named by `std::fs::read`, `Mutex` by `std::sync::Mutex`.
fn named<'a>(source: &'a Source, banned: &'a [&'a str]) -> impl Iterator<Item = (usize, &'a str)> {
    // `nix` alone is a variable, `nix::unistd` is the crate; `async` and `Mutex` are named wherever they stand.
    let hit = |path: &str| {
        banned.iter().copied().find(|ban| {
            if ban.starts_with(char::is_uppercase) || NO_ASYNC.contains(ban) {
                return format!("::{path}::").contains(&format!("::{ban}::"));
            }
            let after = path.strip_prefix(ban);
            after.is_some_and(|rest| rest.starts_with("::") || (rest.is_empty() && ban.contains("::")))
        })
    };
    source.paths().iter().filter_map(move |(path, line)| hit(path).map(|b| (*line, b)))
}

pub fn edges(project: &Project) -> Vec<Fault> {
    let rooms: Vec<&str> = EDGES.iter().map(|(room, _)| *room).chain(["model"]).collect();
    let mut faults = Vec::new();
    for source in project.sources.iter().filter(|s| s.path.starts_with("src/")) {
        let room = source.room();
        if !rooms.contains(&room) {
            faults.push(Fault::new("edge", source, 0, format!("{room} is not a room of this house")));
        }
        for (path, line) in source.paths().iter().map(|(path, line)| (path, *line)) {
            let Some(target) = path.strip_prefix("crate::") else { continue };
            let other = target.split("::").next().unwrap_or_default();
            let covered = |allowed: &&str| format!("{target}::").starts_with(&format!("{allowed}::"));
            if other != room && rooms.contains(&other) && !may_name(room).iter().any(covered) {
                faults.push(Fault::new("edge", source, line, format!("{room} may not name {target}")));
            }
        }
    }
    faults
}

/// Account lookups that go through glibc's NSS: they crash a static binary (docs/adr/0007-static-release-build.md).
const NSS: [&str; 7] = [
    "User::from_name",
    "User::from_uid",
    "Group::from_name",
    "Group::from_gid",
    "getgrouplist",
    "initgroups",
    "getpwnam_r",
];

pub fn accounts(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in project.sources.iter().filter(|s| s.path.starts_with("src/")) {
        let called = |path: &str| NSS.iter().find(|n| path == **n || path.ends_with(&format!("::{n}")));
        let hits = source.paths().iter().filter_map(|(path, line)| called(path).map(|n| (*line, n)));
        faults.extend(
            hits.map(|(line, n)| {
                Fault::new("nss", source, line, format!("calls {n}: read /etc/passwd and /etc/group"))
            }),
        );
    }
    faults
}

pub fn environment(project: &Project) -> Vec<Fault> {
    let mut faults = named_outside(project, "environment", "std::env", &["main", "config", "cli"]);
    faults.retain(|f| !f.what.ends_with("env::set_current_dir")); // that reads nothing: the keeper goes to its workload
    faults
}

pub fn process_exit(project: &Project) -> Vec<Fault> {
    named_outside(project, "exit", "std::process::exit", &["main"])
}

/// Files outside these rooms that name `path`, also by its last two segments (`process::exit` after `use std::process`).
fn named_outside(project: &Project, rule: &'static str, path: &str, rooms: &[&str]) -> Vec<Fault> {
    let short = path.trim_start_matches("std::");
    let mut faults = Vec::new();
    for source in project.sources.iter().filter(|s| s.path.starts_with("src/") && !rooms.contains(&s.room())) {
        let hits = source.paths().iter().filter(|(p, _)| {
            let p = format!("{p}::");
            p.starts_with(&format!("{path}::")) || (short.contains("::") && p.starts_with(&format!("{short}::")))
        });
        faults.extend(hits.map(|(p, line)| Fault::new(rule, source, *line, format!("names {p}"))));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rule: crate::Rule, path: &str, text: &str) -> usize {
        let mut project = Project::of(&[(path, text)]);
        project.cargo_toml = "[dependencies]\nserde = \"1\"\nserde_json = \"1\"\nnix = \"0\"\ntokio = \"1\"\n".into();
        rule(&project).len()
    }

    #[test]
    fn each_room_refuses_what_it_may_not_name() {
        let bad = [
            ("src/model/a.rs", "use tokio::sync::watch;"),
            ("src/model/a.rs", "pub async fn f() {}"),
            ("src/model/a.rs", "fn f() { std::fs::read(x) }"),
            ("src/policy/a.rs", "use std::{collections::BTreeMap, sync::{Arc, atomic::AtomicBool}};"),
            ("src/policy/a.rs", "fn f() { let t = Instant::now(); }"),
            ("src/policy/a.rs", "use std::{time::{Duration, Instant}};"),
            ("src/policy/a.rs", "struct A { m: parking_lot::Mutex<u8> }"),
            ("src/host/a.rs", "impl ractor::Actor for A {}"),
            ("src/keeper/a.rs", "use serde_json::Value;"),
            ("src/keeper/a.rs", "#[derive(serde::Serialize)] struct A;"),
            ("src/actors/a.rs", "use tokio::{fs, sync::mpsc};"),
            ("src/actors/a.rs", "use std::process::Command;"),
            ("src/http/a.rs", "use std::sync::Mutex;"),
        ];
        for (path, text) in bad {
            assert_eq!(faults(bans, path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn each_room_may_name_its_own() {
        let good = [
            ("src/model/a.rs", "use std::{net::SocketAddr, time::Duration}; // tokio"),
            ("src/policy/a.rs", "use regex::Regex; use std::sync::Arc; const T: &str = \"tokio::fs\";"),
            ("src/host/a.rs", "use tokio::{fs, process}; use nix::unistd;"),
            ("src/keeper/a.rs", "use nix::poll; use std::fs;"),
            ("src/actors/a.rs", "use ractor::Actor; use tokio::sync::mpsc;"),
            ("src/actors/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
            ("src/http/a.rs", "use axum::Json; async fn f() {}"),
        ];
        for (path, text) in good {
            assert_eq!(faults(bans, path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn rooms_name_only_their_neighbours() {
        let bad = [
            ("src/model/a.rs", "use crate::policy::restart;"),
            ("src/policy/a.rs", "use crate::host::clock;"),
            ("src/http/a.rs", "use crate::{actors::status, policy::restart};"),
            ("src/http.rs", "fn f() { crate::host::clock::now() }"),
            ("src/http/a.rs", "use super::super::host::x;"),
            ("src/host/a.rs", "use crate::keeper::serve;"),
            ("src/actors/a.rs", "use crate::http::agent;"),
            ("src/keeper/a.rs", "use crate::host::x;"),
            ("src/main.rs", "fn main() { zlh::http::serve() }"),
            ("src/helpers.rs", ""),
        ];
        for (path, text) in bad {
            assert_eq!(faults(edges, path, text), 1, "{path}: {text}");
        }
        let good = [
            ("src/main.rs", "fn main() { zlh::cli::run() }"),
            ("src/cli/agent.rs", "use crate::{actors, http, policy, host, keeper, config, model};"),
            ("src/host/a.rs", "use crate::keeper::{layout, protocol::Scope};"),
            ("src/http/agent.rs", "use super::wire; use crate::actors::status;"),
            ("src/lib.rs", "pub mod model;"),
        ];
        for (path, text) in good {
            assert_eq!(faults(edges, path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn accounts_are_not_looked_up_by_the_c_library() {
        assert_eq!(
            faults(accounts, "src/host/a.rs", "use nix::unistd::{User, getgrouplist}; fn f() { User::from_name(n) }"),
            2
        );
        assert_eq!(faults(accounts, "src/host/a.rs", "use nix::unistd::Uid; fn from_name() {}"), 0);
    }

    #[test]
    fn only_config_and_cli_read_the_environment_and_only_main_exits() {
        assert_eq!(faults(environment, "src/host/a.rs", "fn f() { std::env::var(x) }"), 1);
        assert_eq!(faults(environment, "src/host/a.rs", "use std::{env, fs};"), 1);
        assert_eq!(faults(environment, "src/host/a.rs", "const V: &str = env!(\"CARGO_PKG_VERSION\");"), 0);
        assert_eq!(faults(environment, "src/keeper.rs", "fn f() { std::env::set_current_dir(x) }"), 0);
        assert_eq!(faults(environment, "src/config/env.rs", "fn f() { std::env::var(x) }"), 0);
        assert_eq!(faults(process_exit, "src/cli/agent.rs", "fn f() { std::process::exit(1) }"), 1);
        assert_eq!(faults(process_exit, "src/cli/agent.rs", "use std::process; fn f() { process::exit(1) }"), 1);
        assert_eq!(faults(process_exit, "src/main.rs", "fn main() { std::process::exit(1) }"), 0);
    }
}
