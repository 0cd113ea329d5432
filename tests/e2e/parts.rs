//! Where the real parts are. One that is missing fails the test with the command that makes it.
use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::OnceLock};

/// A file or folder made by `tests/real/make-games.sh`, by the name it prints: `NODE`, `SQUID`, `MC_CLIENT`, `GAMES`.
pub fn part(name: &str) -> PathBuf {
    static PARTS: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    PARTS.get_or_init(|| look("make-games.sh"))[name].clone()
}

/// The same of `make-runtimes.sh`: `NODE_22`, `GO_1_25`, `JRE_21`, `PYTHON_3_11`, `DOTNET_8_0`, `NGINX`.
pub fn runtime(name: &str) -> PathBuf {
    static PARTS: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    PARTS.get_or_init(|| look("make-runtimes.sh"))[name].clone()
}

fn look(script: &str) -> BTreeMap<String, PathBuf> {
    let script = format!("{}/tests/real/{script}", env!("CARGO_MANIFEST_DIR"));
    let answer = Command::new(script).arg("--check").output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let text = String::from_utf8(answer.stdout).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, path)| (name.to_owned(), path.into())).collect()
}

/// A runtime's archive as upstream ships it, made by `tests/real/make-runtimes.sh`: `jre-21`, `node-20`.
pub fn runtime(name: &str) -> PathBuf {
    let archive = realparts().join(format!("{name}.tar.gz"));
    assert!(archive.exists(), "{} is missing: run 'make realparts'", archive.display());
    archive
}

/// A small jar of the tests' own: `server.jar` or `forge-installer.jar`.
pub fn jar(name: &str) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = realparts().join("java-server");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/make-java-server.sh");
        let made = Command::new(script).arg(&folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    });
    folder.join(name)
}

fn realparts() -> PathBuf {
    let default = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/zlh-realparts");
    std::env::var_os("ZLH_REALPARTS").map_or_else(default, PathBuf::from)
}
