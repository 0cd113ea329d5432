//! Each definition of `catalog/games/` against the real server, where one is installed: configure, prepare, launch,
//! become ready by the definition's own probe, and end in order by the first rung of its own ladder.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use regex::Regex;
use serde_json::json;
use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, ExitStatus},
    sync::mpsc::{Receiver, TryRecvError, channel},
    time::{Duration, Instant},
};
use zlh::{
    host::{
        machine::look,
        server_root::{PrepareError, Prepared, prepare},
    },
    model::{
        game::Games,
        settings::Settings,
        workload::{ConsoleInput, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::launch,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A server under test. Whatever happens, it does not outlive this.
struct Server {
    spec: WorkloadSpec,
    pid: Pid,
    terminal: File,
    output: Receiver<Vec<u8>>,
    ended: Receiver<ExitStatus>,
    text: String,
    /// Kept: teeworlds writes to it while it shuts down.
    econ: Option<TcpStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Empty: nobody has reaped it yet, so the pid is still its own.
        if self.ended.try_recv() == Err(TryRecvError::Empty) {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

impl Server {
    fn launch(spec: WorkloadSpec, prepared: &Prepared) -> Server {
        let pty = openpty(None, None).unwrap();
        let (slave, terminal) = (File::from(pty.slave), File::from(pty.master));
        let mut command = Command::new(&prepared.program);
        command.args(&spec.argv[1..]).current_dir(&spec.cwd).env_clear().envs(&spec.env);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        if geteuid().is_root() {
            command.uid(prepared.account.uid).gid(prepared.account.gid);
        }
        let mut child = command.spawn().unwrap();
        drop(command); // it holds the terminal's other end
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (say, output) = channel();
        let (tell, ended) = channel();
        let mut reading = terminal.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if say.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        std::thread::spawn(move || tell.send(child.wait().unwrap()));
        Server { spec, pid, terminal, output, ended, text: String::new(), econ: None }
    }

    /// Takes what was printed, waiting a moment for it: this is also the pause between two probes.
    fn listen(&mut self) {
        if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(20)) {
            self.text += &String::from_utf8_lossy(&bytes);
        }
    }

    fn await_ready(&mut self) {
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < DEADLINE, "{}: not ready\n{}", self.spec.game, self.text);
            self.listen();
        }
    }

    fn answers(&self) -> bool {
        match &self.spec.ready.probe {
            ReadyProbe::Log { pattern } => Regex::new(pattern).unwrap().is_match(&self.text),
            ReadyProbe::Tcp { port } => TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok(),
            ReadyProbe::Udp { port, send, expect } => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                socket.connect((Ipv4Addr::LOCALHOST, *port)).unwrap();
                let mut answer = [0; 1500];
                socket.send(&bytes(send)).is_ok()
                    && socket.recv(&mut answer).is_ok_and(|count| answer[..count].starts_with(&bytes(expect)))
            }
            other => panic!("no server of this test is proven by {}", other.source()),
        }
    }

    fn stop(&mut self) -> ExitStatus {
        match self.spec.stop[0].clone() {
            StopStep::Stdin { line, .. } => self.type_line(&line),
            StopStep::Signal { signal, .. } => kill(self.pid, Signal::try_from(signal).unwrap()).unwrap(),
            StopStep::GroupSignal { .. } => panic!("the first rung asks, it does not shout"),
        }
        let wait = self.spec.stop[0].wait();
        self.ended.recv_timeout(wait).unwrap_or_else(|_| panic!("{}: still there\n{}", self.spec.game, self.text))
    }

    fn type_line(&mut self, line: &str) {
        let ConsoleInput::Econ { port, password } = &self.spec.console else {
            return self.terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
        };
        let mut econ = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).unwrap();
        econ.set_read_timeout(Some(DEADLINE)).unwrap();
        econ.write_all(format!("{password}\n").as_bytes()).unwrap();
        let mut seen = String::new();
        while !seen.contains("Authentication successful") {
            let mut buffer = [0; 512];
            let count = econ.read(&mut buffer).unwrap();
            assert!(count > 0, "econ hung up: {seen}");
            seen += &String::from_utf8_lossy(&buffer[..count]);
        }
        econ.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.econ = Some(econ);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Two neighbouring ports nobody listens on, as far as TCP can tell.
fn free_port() -> u16 {
    (0..100)
        .find_map(|_| {
            let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let port = one.local_addr().ok()?.port();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok().map(|_| port)
        })
        .unwrap()
}

/// From a body to a living server; `None` if its program is not on this machine.
fn start(root: &Path, game: &str) -> Option<Server> {
    let mut settings = Settings { root: root.to_owned(), ..Settings::default() };
    settings.game.user = "nobody".into();
    let games = Games::embedded().unwrap();
    let body = json!({"vmid": 1, "game": game, "ports": [free_port()]});
    let body = launch::read(&body, &games, &settings).unwrap();
    let machine = look(root, &launch::questions(&body, &games, &settings).unwrap()).unwrap();
    let resolved = launch::resolve(&body, &games, &machine, &settings).unwrap();
    match prepare(root, &resolved.spec, &settings.game) {
        Ok(prepared) => Some(Server::launch(resolved.spec, &prepared)),
        Err(PrepareError::Program { program, reason, .. }) => {
            eprintln!("skipped: {program}: {reason}");
            None
        }
        Err(other) => panic!("{game}: {other}"),
    }
}

fn lives_as_defined(game: &str) {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(mut server) = start(root.path(), game) else { return };
    server.await_ready();
    if let ConsoleInput::Fifo { path } = &server.spec.console {
        let kind = std::fs::metadata(server.spec.cwd.join(path)).unwrap().file_type();
        assert!(kind.is_fifo(), "{path} is where the definition says");
    }
    let status = server.stop();
    assert_eq!(status.code(), Some(0), "{game}: {status}\n{}", server.text);
}

#[test]
fn minetest_lives_as_defined() {
    lives_as_defined("minetest");
}

#[test]
fn ddnet_lives_as_defined() {
    lives_as_defined("ddnet");
}

#[test]
fn teeworlds_lives_as_defined() {
    lives_as_defined("teeworlds");
}

#[test]
fn openttd_lives_as_defined() {
    lives_as_defined("openttd");
}

#[test]
fn freeciv_lives_as_defined() {
    lives_as_defined("freeciv");
}
