//! `zlh artifacts` as people and programs use it: real processes over one folder.
mod imports;
mod publishing;
mod serving;

use crate::support::Sandbox;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// A sandbox with a store in it.
struct Shop {
    sandbox: Sandbox,
}

impl Shop {
    fn new() -> Shop {
        Shop { sandbox: Sandbox::new() }
    }

    fn store(&self) -> PathBuf {
        self.sandbox.root().join("store")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.args(["artifacts", "--store"]).arg(self.store()).args(words);
        command.env("ZLH_TEST_ID", self.sandbox.marker()).env_remove("ZLH_ARTIFACTS_KEY").stdin(Stdio::null());
        command
    }

    fn try_run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output of what must succeed.
    fn run(&self, words: &[&str]) -> String {
        let done = self.try_run(words);
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Standard error of what must fail with this code.
    fn refused(&self, code: i32, words: &[&str]) -> String {
        let done = self.try_run(words);
        assert_eq!(done.status.code(), Some(code), "{words:?}: {done:?}");
        String::from_utf8(done.stderr).unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.sandbox.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// An archive with the layout of a node release; `content` makes it different from others.
    fn node(&self, name: &str, content: &[u8]) -> String {
        self.archive(
            name,
            &[("node-v22/bin/node", 0o755, b"#!/bin/sh\necho v22\n"), ("node-v22/LICENSE", 0o644, content)],
        )
    }

    fn archive(&self, name: &str, entries: &[(&str, u32, &[u8])]) -> String {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (path, mode, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, *content).unwrap();
        }
        self.file(name, &tar.into_inner().unwrap().finish().unwrap())
    }

    fn catalog(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.store().join("devcontainer/_catalog.json")).unwrap()).unwrap()
    }

    /// Serves `folder` until the server is dropped.
    fn serve(&self, folder: &Path) -> Server {
        self.serve_with(folder, &[])
    }

    fn serve_with(&self, folder: &Path, more: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.args(["artifacts", "serve", "--listen", "127.0.0.1:0", "--store"]).arg(folder).args(more);
        command.env("ZLH_TEST_ID", self.sandbox.marker()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let url = line.trim().strip_prefix("listening artifacts ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Server { child, url }
    }
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
