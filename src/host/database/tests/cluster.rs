//! A PostgreSQL of one test: Debian's, as its own user, on a Unix socket in a folder that goes with it.
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Seconds that a busy machine may take to start or stop one.
const WITHIN: &str = "120";

pub struct Cluster {
    folder: TempDir,
}

/// Debian keeps the programs of each version apart; `make realparts` installs one.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: run 'make realparts'");
    let found =
        versions.flatten().map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    found.max().expect("PostgreSQL is missing: run 'make realparts'")
}

fn account() -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with("postgres:")).expect("no account postgres");
    let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    (ids[0], ids[1])
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: PathBuf, folder: &Path) -> Command {
    let (uid, gid) = account();
    let mut command = Command::new(program);
    command.uid(uid).gid(gid).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

impl Cluster {
    pub fn start() -> Cluster {
        let folder = tempfile::Builder::new().prefix("zlh-pg-").tempdir().unwrap();
        let (uid, gid) = account();
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let data = folder.path().join("data");
        let made = as_postgres(programs().join("initdb"), folder.path())
            .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        let cluster = Cluster { folder };
        let options = "-c listen_addresses= -c fsync=off -c shared_buffers=1MB -c max_connections=40";
        cluster.control(&["start", "-o", &format!("{options} -k {}", cluster.folder.path().display())]);
        cluster
    }

    /// Comes back when it is done: a server that was started answers.
    fn control(&self, words: &[&str]) {
        let log = self.folder.path().join("log");
        let mut command = as_postgres(programs().join("pg_ctl"), self.folder.path());
        let done = command
            .args(["-s", "-w", "-t", WITHIN, "-D"])
            .arg(self.folder.path().join("data"))
            .arg("-l")
            .arg(&log)
            .args(words)
            .status();
        assert!(done.unwrap().success(), "{words:?}: {}", fs::read_to_string(&log).unwrap_or_default());
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control(&["stop", "-m", "immediate"]);
    }
}
