//! A PostgreSQL of one test: Debian's, as its own user, on a Unix socket in a folder that goes with it.
use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};
use tempfile::TempDir;

pub struct Cluster {
    folder: TempDir,
    server: Child,
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

/// It says so itself. What it says later is read as well, so that it never waits for a reader.
fn until_ready(log: ChildStderr) {
    let mut log = BufReader::new(log);
    let mut said = String::new();
    while !said.contains("ready to accept connections") {
        let read = log.read_line(&mut said).unwrap();
        assert!(read > 0, "PostgreSQL did not start: {said}");
    }
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
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
        let mut server = as_postgres(programs().join("postgres"), folder.path())
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=1MB",
                "-c",
                "max_connections=40",
                "-k",
            ])
            .arg(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until_ready(server.stderr.take().unwrap());
        Cluster { folder, server }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its other processes end when the first is gone.
        _ = self.server.kill();
        _ = self.server.wait();
    }
}
