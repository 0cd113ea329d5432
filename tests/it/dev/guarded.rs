//! What user `dev` may not do, tried as that user; and where no token may be.
use super::{SOON, config, finish, shell};
use crate::{installs::rig::Rig, support::Agent};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const TOKEN: &str = "S3CRET-token-of-the-agent-0123456789";

/// One line an attempt: its name, and `denied` or what it got. Only the last, which must work, shows that it is tried
/// rightly.
const ATTEMPTS: &str = r#"
import ctypes, os, socket, sys
root, agent, keeper, door = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, what):
    try:
        print(name, "GOT", what())
    except OSError as e:
        print(name, "denied", e.errno)

def connect():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(door)

def trace(pid):
    if libc.ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")

def at(path):
    return os.path.join(root, path)

def read(path):
    with open(path, "rb") as f:
        return f.read(64)

def append(path):
    open(path, "ab").close()

attempt("change a runtime", lambda: append(at("opt/zlh/runtimes/node/22/bin/node")))
attempt("put a program beside it", lambda: append(at("opt/zlh/runtimes/node/22/bin/npm")))
attempt("switch a runtime", lambda: os.symlink("x", at("opt/zlh/runtimes/node/other")))
attempt("remove a runtime", lambda: os.rename(at("opt/zlh/runtimes/node"), at("opt/zlh/runtimes/x")))
attempt("make a folder of zlh's", lambda: os.mkdir(at("opt/zlh/x")))
attempt("make a folder of the agent's", lambda: os.mkdir(at("opt/zlh-agent/x")))
attempt("list the state", lambda: os.listdir(at("opt/zlh-agent/state")))
attempt("read the state", lambda: read(at("opt/zlh-agent/state/dev.json")))
attempt("read a console", lambda: os.listdir(at("opt/zlh-agent/state/console/shell-main")))
attempt("read the token", lambda: read(at("etc/zlh-agent/token")))
attempt("change what shells read", lambda: append(at("etc/profile.d/zlh.sh")))
attempt("change what root's shells read", lambda: append(at("etc/environment")))
attempt("list a keeper's folder", lambda: os.listdir(os.path.dirname(door)))
attempt("speak with a keeper", connect)
for name, pid in (("agent", agent), ("keeper", keeper)):
    attempt("signal the " + name, lambda: os.kill(pid, 0))
    attempt("trace the " + name, lambda: trace(pid))
    attempt("read the environment of the " + name, lambda: read(f"/proc/{pid}/environ"))
    attempt("read the memory of the " + name, lambda: read(f"/proc/{pid}/mem"))
    attempt("list the files of the " + name, lambda: os.listdir(f"/proc/{pid}/fd"))
attempt("own workspace", lambda: append(at("home/dev/workspace/mine")))
"#;

fn token_file(rig: &Rig) -> PathBuf {
    let folder = rig.sandbox.root().join("etc/zlh-agent");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The token comes to it by both ways.
async fn guarded(rig: &Rig) -> Agent {
    let file = token_file(rig);
    let flags = rig.flags(&["--token-file", file.to_str().unwrap()]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_zlh"));
    let mut agent = Agent::spawn(program, &rig.sandbox, &flags, &[("ZLH_AGENT_TOKEN", TOKEN)]);
    assert!(agent.listens());
    agent.configure(&config("22")).await;
    agent.until_state("running", SOON).await;
    agent
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn proc_file(pid: i32, name: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

fn keeper_of(folder: &Path) -> i32 {
    let words = ["keeper", "--dir", folder.to_str().unwrap()].join("\0");
    let holds = |pid: &i32| String::from_utf8_lossy(&proc_file(*pid, "cmdline")).contains(&words);
    pids().find(holds).expect("a keeper")
}

#[tokio::test]
async fn dev_reaches_neither_runtimes_nor_agent_nor_keeper() {
    let rig = Rig::new();
    let agent = guarded(&rig).await;
    let mut console = shell(&agent, "").await;
    console.type_line("ulimit -c; ulimit -n; echo li\"\"mits").await;
    console.until("0\r\n65536\r\nlimits", SOON).await;
    let root = rig.sandbox.root();
    let folder = root.join("run/zlh/k/shell-main");
    let (agents, keepers) = (agent.pid().to_string(), keeper_of(&folder).to_string());
    let door = folder.join("sock");
    assert!(fs::symlink_metadata(&door).is_ok(), "{}", door.display());
    let out = Command::new("setpriv")
        .args(["--reuid=dev", "--regid=dev", "--init-groups", "python3", "-c", ATTEMPTS])
        .args([root.to_str().unwrap(), &agents, &keepers, door.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    let (last, all) = said.trim().rsplit_once('\n').map(|(all, last)| (last, all)).unwrap();
    assert_eq!(last, "own workspace GOT None");
    assert_eq!(all.lines().count(), 24, "{said}");
    for line in all.lines() {
        // Not allowed, or not even there for this account.
        let denied = ["denied 1", "denied 13"].iter().any(|end| line.ends_with(end));
        assert!(denied, "{line}\n{said}");
    }
    finish(&rig, agent).await;
}

#[tokio::test]
async fn no_environment_but_the_agents_own_has_the_token() {
    let rig = Rig::new();
    let agent = guarded(&rig).await;
    let mut console = shell(&agent, "").await;
    console.type_line("(sleep 1000 &) ; env | grep -c S3CRET; echo lo\"\"oked").await;
    console.until("0\r\nlooked", SOON).await;
    let holds = |pid: &i32| {
        let environ = proc_file(*pid, "environ");
        environ.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes())
    };
    let own = i32::try_from(agent.pid()).unwrap();
    assert_eq!(pids().filter(holds).collect::<Vec<_>>(), [own]);
    let argv = |pid: &i32| String::from_utf8_lossy(&proc_file(*pid, "cmdline")).contains("S3CRET");
    assert_eq!(pids().filter(argv).collect::<Vec<_>>(), Vec::<i32>::new(), "and no command line");
    finish(&rig, agent).await;
}
