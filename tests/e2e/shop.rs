//! What artifacts are served by: a publisher's store with `zlh artifacts serve`, and any folder with nginx.
use crate::{
    it::support::{Sandbox, free_port},
    parts::runtime,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A store, served by `zlh artifacts serve`.
pub struct Shop {
    pub store: PathBuf,
    serving: Child,
    pub url: String,
}

impl Shop {
    pub fn open(sandbox: &Sandbox) -> Shop {
        let store = sandbox.root().with_file_name("store");
        fs::create_dir(&store).unwrap();
        let mut serving =
            zlh(&store).args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line:?}");
        Shop { store, serving, url }
    }

    pub fn add(&self, target: &str, version: &str, file: &Path) {
        let added = zlh(&self.store).args(["add", target, version]).arg(file).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.serving.kill().unwrap();
        self.serving.wait().unwrap();
    }
}

fn zlh(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.arg("artifacts").arg("--store").arg(store);
    command
}

/// The same files by nginx; ends with the test.
pub struct Nginx {
    process: Child,
    pub url: String,
}

impl Nginx {
    pub fn serve(root: &Path) -> Nginx {
        let port = free_port();
        let prefix = root.join(".nginx");
        fs::create_dir(&prefix).unwrap();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind}; ", prefix.display()))
            .concat();
        let mut config = fs::File::create(prefix.join("nginx.conf")).unwrap();
        write!(
            config,
            "user root; daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; {paths}\n\
             server {{ listen 127.0.0.1:{port}; root {1}; }} }}\n",
            prefix.display(),
            root.display()
        )
        .unwrap();
        let process = Command::new(runtime("NGINX"))
            .arg("-p")
            .arg(&prefix)
            .arg("-c")
            .arg(prefix.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Nginx { process, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
