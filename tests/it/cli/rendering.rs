//! What people see, word for word: fixtures in `tests/golden/cli/*.json`, pages beside them as `.txt`.
//! `UPDATE_GOLDEN=1 cargo test` writes the pages anew.
use serde::de::DeserializeOwned;
use std::{fs, path::PathBuf};
use zlh::{
    cli::{
        client::wire,
        show::{self, look::Look},
    },
    model::{
        doctor::{Finding, Health},
        time::WallTime,
    },
};

/// 2026-03-10T18:00:00Z.
const NOW: WallTime = WallTime(1_773_165_600_000);
const LOOK: Look = Look::plain(100);

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli").join(name)
}

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let file = golden(&format!("{name}.json"));
    let text = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    wire::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Compares with the golden file, or writes it.
pub fn check(file: &PathBuf, shown: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(file, shown).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert!(expected == shown, "{} differs (UPDATE_GOLDEN=1 rewrites it); now:\n{shown}", file.display());
}

fn page(name: &str, shown: &str) {
    check(&golden(&format!("{name}.txt")), shown);
}

#[test]
fn status_pages() {
    let crash: wire::Crash = fixture("crash");
    for name in ["status_running", "status_crashed", "status_installing", "status_error", "status_empty"] {
        page(name, &show::status::page(&fixture(name), Some(&crash), LOOK, NOW));
    }
}

#[test]
fn status_in_colour() {
    let look = Look { colour: true, width: 100 };
    page("status_crashed_colour", &show::status::page(&fixture("status_crashed"), None, look, NOW));
}

#[test]
fn crashes() {
    let crash: wire::Crash = fixture("crash");
    let bare: wire::Crash = fixture("crash_bare");
    page("crash", &show::crash::report(&crash, LOOK, NOW));
    page("crash_bare", &show::crash::report(&bare, LOOK, NOW));
    page("crashes", &show::crash::table(&[crash, bare], LOOK, NOW));
    page("crashes_none", &show::crash::table(&[], LOOK, NOW));
}

#[test]
fn lists() {
    let operations: Vec<wire::Operation> = fixture("operations");
    page("operations", &show::lists::operations(&operations, LOOK, NOW));
    page("ready", &show::lists::ready(&fixture("ready"), LOOK, NOW));
    page("players", &show::lists::players(&fixture("players")));
}

#[test]
fn the_doctors_report() {
    let finding =
        |name, health, found: &str, cure: &str| Finding { name, health, found: found.into(), cure: cure.into() };
    let long = "hybrid at /sys/fs/cgroup/x: memory limit works, process limit does not, kill works, oom counter works\nno pids controller";
    let findings = [
        finding("agent", Health::Ok, "v0.1.0 answers, state running", ""),
        finding("cgroup", Health::Warn, long, "It works with less: processes are killed one by one."),
        finding(
            "disk",
            Health::Fail,
            "/opt/zlh: 12 MiB of 50 GiB free",
            "Below 64 MiB no server starts: delete old backups and logs.",
        ),
    ];
    page("doctor", &show::doctor::report(&findings, LOOK));
}
