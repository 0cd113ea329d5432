//! `zlh console` on a real terminal: raw mode comes and goes, keys and sizes arrive, the agent may be replaced.
use super::{PATIENCE, Script, TOKEN, Terminal, out, zlh};
use crate::support::{eventually, patiently};
use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};
use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio},
};
use tokio::io::AsyncWriteExt;

fn attach(agent: &Script, words: &[&str]) -> Terminal {
    Terminal::start(console(agent, words))
}

fn console(agent: &Script, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.env_clear().env("ZLH_URL", agent.url()).env("ZLH_AGENT_TOKEN", TOKEN).env("TERM", "xterm");
    command.arg("console").args(words);
    command
}

async fn game() -> Script {
    let agent = Script::start().await;
    agent.set(|f| (f.epoch, f.replay) = (7, 1 << 20));
    agent.print("earlier\n");
    agent
}

async fn shell() -> Script {
    let agent = game().await;
    agent.set(|f| f.status["containerType"] = "dev".into());
    agent
}

/// All text that viewers have typed.
fn typed(agent: &Script) -> String {
    agent.seen(|f| f.frames.iter().filter(|n| n["type"] == "input").filter_map(|n| n["data"].as_str()).collect())
}

async fn until_typed(agent: &Script, text: &str) {
    eventually(&format!("{text:?} at the agent"), PATIENCE, async || (typed(agent) == text).then_some(())).await;
}

async fn until_size(agent: &Script, terminal: &Terminal, columns: u16, rows: u16) {
    let size = json!({"type": "resize", "columns": columns, "rows": rows});
    let told = patiently(PATIENCE, async || agent.seen(|f| f.frames.contains(&size).then_some(()))).await;
    let frames = agent.seen(|f| f.frames.clone());
    assert!(told.is_some(), "{size} never came, only {frames:?}; {terminal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_gets_every_key_and_the_window_size() {
    let agent = shell().await;
    let mut terminal = attach(&agent, &["--session", "build & test"]);
    terminal.until("earlier");
    assert!(terminal.is_raw());
    assert_eq!(agent.seen(|f| f.viewers.clone()), ["session=build%20%26%20test"]);
    until_size(&agent, &terminal, 80, 24).await;
    terminal.press("ls\x03\x1b[Aé\t");
    until_typed(&agent, "ls\x03\x1b[Aé\t").await;
    terminal.resize(132, 50);
    until_size(&agent, &terminal, 132, 50).await;
    agent.print("\x1b[2Jvi\n");
    terminal.until("\x1b[2Jvi");
    terminal.press("\x1d");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_the_parent_has_blocked_are_heard() {
    let agent = shell().await;
    let mut command = console(&agent, &[]);
    // SAFETY: one system call, which touches nothing of the parent.
    unsafe { command.pre_exec(|| Ok(SigSet::all().thread_block()?)) };
    let mut terminal = Terminal::start(command);
    until_size(&agent, &terminal, 80, 24).await;
    terminal.resize(132, 50);
    until_size(&agent, &terminal, 132, 50).await;
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.ended().code(), Some(128 + Signal::SIGTERM as i32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_game_gets_whole_lines_and_cannot_drive_the_terminal() {
    let agent = game().await;
    let mut terminal = attach(&agent, &[]);
    terminal.until("earlier");
    terminal.until_raw();
    terminal.press("say hx\x7fi");
    terminal.until("> say hi");
    agent.print("\x1b[32mjoined\x1b[0m\x1b]52;c;ZXZpbA==\x07\n");
    terminal.until("\x1b[32mjoined\x1b[0m");
    assert!(!terminal.shown().contains("]52;"), "{:?}", terminal.shown());
    assert_eq!(typed(&agent), "", "nothing is sent before Enter");
    terminal.press("\r");
    until_typed(&agent, "say hi\n").await;
    terminal.press("\x1b[A\r");
    until_typed(&agent, "say hi\nsay hi\n").await;
    terminal.press("\x04");
    assert_eq!(terminal.ended().code(), Some(0));
    assert!(agent.seen(|f| f.frames.iter().all(|n| n["type"] == "input")), "a game's terminal keeps its size");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_detach_key_can_be_chosen_and_raw_forced() {
    let agent = game().await;
    let mut terminal = attach(&agent, &["--raw", "--detach-key", "^q"]);
    terminal.until("Ctrl-Q leaves the console");
    terminal.until("earlier\r\n");
    terminal.press("a\x1d");
    until_typed(&agent, "a\x1d").await;
    terminal.press("b\x11c");
    assert_eq!(terminal.ended().code(), Some(0));
    until_typed(&agent, "a\x1db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_by_itself_when_the_agent_does() {
    let mut agent = game().await;
    let mut terminal = attach(&agent, &[]);
    terminal.until("earlier");
    agent.go_away().await;
    terminal.until("agent gone");
    terminal.press("lost?\r");
    terminal.until("not connected: that was not sent");
    agent.print("meanwhile\n");
    agent.come_back();
    terminal.until("back, nothing lost");
    terminal.until("meanwhile");
    assert_eq!(terminal.shown().matches("earlier").count(), 1, "{}", terminal.shown());
    terminal.press("\r");
    until_typed(&agent, "lost?\n").await;

    agent.go_away().await;
    agent.set(|f| {
        f.log_start += f.log.len() as u64 + 42;
        f.log.clear();
    });
    agent.come_back();
    terminal.until("gap: 42 bytes lost");
    agent.print("afterwards\n");
    terminal.until("afterwards");

    agent.go_away().await;
    agent.set(|f| {
        (f.epoch, f.log_start) = (8, 0);
        f.log.clear();
    });
    agent.come_back();
    terminal.until("history begins anew");
    agent.print("second epoch\n");
    terminal.until("second epoch");
    terminal.press("\x1d");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_works_while_the_agent_is_away() {
    let mut agent = game().await;
    let mut terminal = attach(&agent, &["--raw"]);
    terminal.until("earlier");
    agent.go_away().await;
    terminal.until("agent gone");
    terminal.press("\x1d");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_is_told() {
    let agent = game().await;
    let mut terminal = attach(&agent, &[]);
    terminal.until("earlier");
    agent.set(|f| f.notes.push(json!({"type": "exit", "code": 1, "signal": 0})));
    terminal.until("[exited with code 1]");
    agent.set(|f| f.notes.push(json!({"type": "exit", "code": null, "signal": 9})));
    terminal.until("[ended: signal 9 (SIGKILL)]");
    agent.set(|f| f.notes.push(json!({"type": "refused", "code": "not_running"})));
    terminal.until("[not running: that was not sent]");
    agent.set(|f| f.notes.push(json!({"type": "gap", "from": 8, "to": 108})));
    terminal.until("[gap: 100 bytes lost]");
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));

    // A shell that has ended leaves nothing to be attached to.
    let agent = shell().await;
    let mut terminal = attach(&agent, &[]);
    terminal.until("earlier");
    agent.set(|f| f.notes.push(json!({"type": "exit", "code": 0, "signal": 0})));
    assert_eq!(terminal.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_leave_the_terminal_as_it_was() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let agent = shell().await;
        let mut terminal = attach(&agent, &[]);
        terminal.until("earlier");
        assert!(terminal.is_raw());
        terminal.signal(signal);
        let ended = terminal.ended();
        assert_eq!((ended.code(), ended.signal()), (Some(128 + signal as i32), None), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_leaves_the_terminal_as_it_was() {
    let agent = game().await;
    agent.set(|f| f.refuse_console = Some((403, json!({"detail": "not yours", "code": "forbidden"}))));
    let mut terminal = attach(&agent, &[]);
    assert_eq!(terminal.ended().code(), Some(4));
    terminal.until("refused: not yours (403 forbidden)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_cannot_type() {
    let agent = game().await;
    let mut terminal = attach(&agent, &["--no-input"]);
    terminal.until("earlier\r\n");
    terminal.press("stop\r\x03");
    assert_eq!(terminal.ended().code(), Some(0));
    assert_eq!(agent.seen(|f| f.frames.clone()), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_typed_and_all_of_it_arrives() {
    let agent = game().await;
    let lines: String = (0..5_000).map(|n| format!("say {n} \u{1f600}\n")).collect();
    let mut piping = zlh(&agent, &["console"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = piping.stdin.take().unwrap();
    pipe.write_all(lines.as_bytes()).await.unwrap();
    drop(pipe);
    let answer = tokio::time::timeout(PATIENCE, piping.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(answer.status.code(), Some(0));
    assert_eq!(out(&answer), "earlier\n");
    assert!(typed(&agent) == lines, "{} of {} bytes arrived", typed(&agent).len(), lines.len());
    let longest = agent.seen(|f| f.frames.iter().map(|n| n.to_string().len()).max());
    assert!(longest < Some(64 << 10), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_in_both_directions_does_not_lock_up() {
    let agent = shell().await;
    let mut terminal = attach(&agent, &[]);
    terminal.until("earlier");
    let flood = "x".repeat(2 << 20);
    agent.print(&flood);
    let keys = "k".repeat(100_000);
    for piece in keys.as_bytes().chunks(1000) {
        terminal.press(std::str::from_utf8(piece).unwrap());
    }
    until_typed(&agent, &keys).await;
    agent.print("the end");
    terminal.until("the end");
    terminal.press("\x1d");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    const CHILD: &str = "ZLH_TEST_PANIC_IN_RAW_MODE";
    if std::env::var_os(CHILD).is_some() {
        let _raw = zlh::cli::terminal::raw::RawMode::enter().unwrap();
        panic!("on purpose");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["cli::console::a_panic_leaves_the_terminal_as_it_was", "--exact", "--nocapture"]);
    let mut terminal = Terminal::start({
        command.env(CHILD, "1").env("RUST_BACKTRACE", "0");
        command
    });
    assert_eq!(terminal.ended().code(), Some(101));
    terminal.until("on purpose\r\n");
}
