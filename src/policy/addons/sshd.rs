//! The SSH server of a dev container: OpenSSH's, with a configuration of our own beside the system's.
//!
//! ```text
//!  keeper ── sshd -D (listener) ─┬─ session of alice ── shell      Each session is a process of its own, made by the
//!                                └─ session of bob ──── scp        listener and not needing it: it outlives its end.
//! ```
//! So what is left when the listener ends is let live (`docs/adr/0021`), and only `kill` ends them all.
use crate::{
    model::{
        dev::{Ssh, USER},
        settings::Settings,
        workload::{Readiness, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::game_server::command::Resolved,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where its files lie beneath the root. Everybody may read both; the system's own `sshd_config` is not touched.
pub const CONFIG: &str = "etc/ssh/zlh-sshd_config";
pub const KEYS: &str = "etc/ssh/zlh-authorized_keys";
/// Where the host key lies, beneath the root; nobody but root may pass.
pub const SECRETS: &str = "opt/zlh-agent/state/sshd/keys";
/// Debian's.
pub const PROGRAM: &str = "/usr/sbin/sshd";
/// How every SSH server begins (RFC 4253 §4.2).
const BANNER: &str = "SSH-2.0-";
const SIGTERM: i32 = 15;
/// A listener has nothing to do before it ends.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What of a configuration needs another listener; keys do not.
pub fn body(ssh: &Ssh) -> Value {
    json!({ "port": ssh.port })
}

pub fn port(body: &Value) -> u16 {
    body.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or_default()
}

/// The agent's own port, and the editor's, are taken.
pub fn check_port(port: u16, settings: &Settings) -> Result<(), String> {
    let (agent, editor) = (settings.listen.port(), settings.codeserver.port);
    match port {
        0 => Err("0 is not a port; allowed: 1 to 65535".into()),
        _ if port == agent => Err(format!("{port} is the agent's own port; choose another, e.g. 22 or 2222")),
        _ if port == editor => Err(format!("{port} is the editor's port; choose another, e.g. 22 or 2222")),
        _ => Ok(()),
    }
}

pub fn resolved(body: Value, root: &Path, settings: &Settings) -> Resolved {
    let port = port(&body);
    let config = root.join(CONFIG).display().to_string();
    let argv = [PROGRAM, "-D", "-e", "-f", &config].map(str::to_owned).into();
    let env = [("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())].into();
    let probe = ReadyProbe::Banner { port, begins: BANNER.into() };
    let spec = WorkloadSpec {
        max_processes: Some(settings.dev.max_processes),
        ports: vec![port],
        stop: vec![StopStep::Signal { signal: SIGTERM, wait: ENDS_WITHIN }],
        ready: Readiness { probe, within: settings.sshd.ready_within },
        signatures: vec!["common".into()],
        ..WorkloadSpec::plain("sshd", argv, PathBuf::from("/"), env)
    };
    Resolved { spec: Arc::new(spec), shown: body.clone(), body, warnings: Vec::new() }
}

/// sshd_config(5). `env`: what every session finds, as other ways in do.
pub fn config(port: u16, root: &Path, env: &BTreeMap<String, String>) -> String {
    let at = |path: &str| quoted(&root.join(path).display().to_string());
    let mut text = format!(
        "# Made by zlh; what is changed here is overwritten. The system's own sshd_config is another file.\n\
         Port {port}\n\
         HostKey {}\n\
         AuthorizedKeysFile {}\n",
        at(&format!("{SECRETS}/{HOST_KEY}")),
        at(KEYS)
    );
    text.push_str(RULES);
    // It looks at every folder above the keys. Those above another root than `/` are its owner's business.
    let strict = if root == Path::new("/") { "yes" } else { "no" };
    _ = writeln!(text, "StrictModes {strict}");
    _ = writeln!(text, "AllowUsers {USER}");
    let set: String = env.iter().map(|(name, value)| format!(" {}", quoted(&format!("{name}={value}")))).collect();
    if !set.is_empty() {
        // Only the first such line counts.
        _ = writeln!(text, "SetEnv{set}");
    }
    text
}

/// The name of the host key's file. Every client of the last ten years knows this kind.
pub const HOST_KEY: &str = "ssh_host_ed25519_key";

/// PAM is left out: in containers its modules fail for reasons of their own (pam_loginuid), and what it would give,
/// the environment, comes from here.
const RULES: &str = "\
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
PermitEmptyPasswords no
PermitRootLogin no
PermitUserEnvironment no
UsePAM no
X11Forwarding no
PermitTunnel no
GatewayPorts no
MaxAuthTries 4
LoginGraceTime 30
MaxStartups 10:30:60
MaxSessions 20
ClientAliveInterval 60
ClientAliveCountMax 10
UseDNS no
PrintMotd no
PrintLastLog no
PidFile none
Subsystem sftp internal-sftp
LogLevel VERBOSE
";

/// As argv_split() of OpenSSH reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The file of those who may come in.
pub fn keys(ssh: &Ssh) -> String {
    let lines = ssh.authorized_keys.iter().map(|line| format!("{}\n", line.trim()));
    std::iter::once("# Made by zlh from /config; what is changed here is overwritten.\n".to_owned())
        .chain(lines)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn the_listener_stays_in_front_and_reads_our_file() {
        let resolved = resolved(json!({"port": 2222}), Path::new("/"), &Settings::default());
        let spec = &resolved.spec;
        assert_eq!(spec.argv.join(" "), "/usr/sbin/sshd -D -e -f /etc/ssh/zlh-sshd_config");
        assert_eq!((spec.user.as_deref(), &spec.ports), (None, &vec![2222]), "root: it becomes who logs in");
        assert_eq!(spec.ready.probe, ReadyProbe::Banner { port: 2222, begins: "SSH-2.0-".into() });
    }

    #[test]
    fn only_keys_open_it_and_only_for_dev() {
        let env = BTreeMap::from([("PATH".to_owned(), "/a b:/usr/bin".to_owned()), ("X".into(), "q\"\\".into())]);
        let text = config(22, Path::new("/"), &env);
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "Port 22",
            "HostKey \"/opt/zlh-agent/state/sshd/keys/ssh_host_ed25519_key\"",
            "AuthorizedKeysFile \"/etc/ssh/zlh-authorized_keys\"",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin no",
            "AllowUsers dev",
            "AuthenticationMethods publickey",
            "StrictModes yes",
            "SetEnv \"PATH=/a b:/usr/bin\" \"X=q\\\"\\\\\"",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert!(!config(22, Path::new("/"), &BTreeMap::new()).contains("SetEnv"));
    }

    #[test]
    fn ports_of_others_are_refused() {
        let settings = Settings { listen: SocketAddr::from(([0, 0, 0, 0], 18888)), ..Settings::default() };
        for (port, word) in [(0, "not a port"), (18888, "agent's"), (8080, "editor's")] {
            assert!(check_port(port, &settings).unwrap_err().contains(word), "{port}");
        }
        assert_eq!((check_port(22, &settings), check_port(2222, &settings)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_key_is_a_line() {
        let ssh = Ssh { port: 22, authorized_keys: vec!["ssh-ed25519 A a ".into(), "ssh-rsa B".into()] };
        assert_eq!(keys(&ssh).lines().skip(1).collect::<Vec<_>>(), ["ssh-ed25519 A a", "ssh-rsa B"]);
        assert_eq!(body(&ssh), json!({"port": 22}));
    }
}
