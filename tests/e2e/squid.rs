//! flying-squid, a Minecraft server in Node.js: players, worlds, crashes, and agents that come and go.
mod crashes;
mod life;
mod memory;
mod takeover;

use crate::{
    it::support::{Sandbox, install},
    parts::part,
    play::{config, free_port, server_file},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A server root with flying-squid in it, and what `/config` needs to run it.
struct Squid {
    sandbox: Sandbox,
    port: u16,
}

impl Squid {
    fn install() -> Squid {
        let squid = Squid { sandbox: Sandbox::new(), port: free_port() };
        squid.set("");
        let unpacked = Command::new("tar")
            .args(["--strip-components=1", "--no-same-owner", "-xzf"])
            .arg(part("SQUID"))
            .arg("-C")
            .arg(squid.folder())
            .status();
        assert!(unpacked.unwrap().success(), "{} could not be unpacked", part("SQUID").display());
        squid.lend_node();
        squid
    }

    /// A Node.js that lies where only root may look is copied to where the agent keeps its own.
    fn lend_node(&self) {
        let node = part("NODE");
        if !node.starts_with("/usr") {
            let bin = self.sandbox.root().join("opt/zlh/runtimes/node/22/bin");
            fs::create_dir_all(&bin).unwrap();
            install(&node, &bin.join("node"));
        }
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.root().join("opt/zlh/flying-squid/default/world")
    }

    /// Writes server.properties with these lines at the end.
    fn set(&self, lines: &str) {
        let text = format!("server-ip=127.0.0.1\nserver-port={}\neverybody-op=true\n{lines}\n", self.port);
        server_file(&self.sandbox, "flying-squid", "server.properties", &text);
    }

    /// Only these plugins, of those that come along.
    fn plug(&self, names: &[&str]) {
        let plugins = self.folder().join("plugins");
        let _absent = fs::remove_dir_all(&plugins);
        for name in names {
            let file = self.folder().join("plugins-available").join(name);
            let text = fs::read_to_string(file).unwrap();
            server_file(&self.sandbox, "flying-squid", &Path::new("plugins").join(name).to_string_lossy(), &text);
        }
    }

    fn config(&self) -> Value {
        config("flying-squid", self.port)
    }

    /// With these options for Node.js.
    fn config_with(&self, memory_mb: u64, node_options: &str) -> Value {
        let mut body = self.config();
        body["memory_mb"] = json!(memory_mb);
        body["env"] = json!({"NODE_OPTIONS": node_options});
        body
    }
}
