//! The agent is killed with kill -9 again and again while its server prints numbers: none is lost, none comes twice.
//!
//!     cargo run --example agent_killed
//!
//! The server writes a hundred numbered lines each tenth of a second to its terminal. A viewer follows by WebSocket; whenever
//! its agent dies it connects to the next one and asks for what comes after the last byte it has (`?from=<offset>`). Look
//! at the pids: the agent's changes each time, the server's never does. At the end every number was seen exactly once,
//! also those that were printed while no agent was there.
#[path = "common/stage.rs"]
mod stage;

use futures_util::StreamExt;
use serde_json::{Value, json};
use stage::{Play, Stage, check};
use std::{process::ExitCode, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

const KILLS: usize = 5;
/// Half a megabyte in lines of a hundred bytes, a tenth of a megabyte a second.
const LINES: usize = 5_000;
const FLOOD: &str = "0.5@0.1";
const SILENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stage::ended(play().await)
}

async fn play() -> Play {
    let mut stage = Stage::open(&["status.interval=1s"])?;
    let game = [&stage.fake_game(), "--flood", FLOOD];
    stage.configure(&game, json!({"ready": {"kind": "log", "pattern": "Done", "within": "10s"}})).await?;
    let running = stage.follow("running", SILENCE, |status| status["state"] == "running").await?;
    let pid = running["pid"].clone();

    let mut viewer = Viewer::default();
    viewer.connect(&stage.address).await?;
    for kill in 1..=KILLS {
        viewer.watch(kill * LINES / (KILLS + 1)).await?;
        let dead = stage.agent_pid();
        stage.kill_agent_and_start_another()?;
        viewer.connect(&stage.address).await?;
        let status = stage.follow("taken up", SILENCE, |status| status["processRunning"] == true).await?;
        println!(
            "kill -9 of agent {dead:>7}; agent {:>7} has the server, pid {}; {:>4} lines seen, byte {}",
            stage.agent_pid(),
            status["pid"],
            viewer.numbers().len(),
            viewer.offset,
        );
        check(status["pid"] == pid, format!("the server's pid was {pid} and is {}", status["pid"]))?;
        check(status["crashCount"] == 0, "a death of the agent was counted as the server's")?;
    }
    viewer.watch(LINES).await?;
    let numbers = viewer.numbers();
    let first_wrong = numbers.iter().zip(1..).find(|(seen, wanted)| *seen != wanted);
    check(first_wrong.is_none(), format!("(seen, wanted) = {first_wrong:?}"))?;
    check(numbers.len() == LINES, format!("{} numbers instead of {LINES}", numbers.len()))?;
    println!("\nAs promised: {KILLS} agents died, one server lived, {LINES} numbers were seen once each and in order.");
    Ok(())
}

/// Follows the console and remembers where it is.
#[derive(Default)]
struct Viewer {
    socket: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    epoch: Value,
    /// Of the byte that comes next.
    offset: u64,
    output: Vec<u8>,
}

impl Viewer {
    /// The first time from the beginning of the log, then from where it was.
    async fn connect(&mut self, address: &str) -> Play {
        let epoch = if self.epoch.is_null() { String::new() } else { format!("&epoch={}", self.epoch) };
        let url = format!("ws://{address}/console/stream?from={}{epoch}", self.offset);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("zlh.console.v1"));
        self.socket = Some(connect_async(request).await?.0);
        Ok(())
    }

    /// Reads until this many lines were seen.
    async fn watch(&mut self, lines: usize) -> Play {
        while self.numbers().len() < lines {
            let socket = self.socket.as_mut().ok_or("the viewer is not connected")?;
            let message = timeout(SILENCE, socket.next()).await.map_err(|_| "the console is silent")?;
            match message.ok_or("the agent closed the console")?? {
                Message::Binary(bytes) => {
                    self.offset += bytes.len() as u64;
                    self.output.extend_from_slice(&bytes);
                }
                Message::Text(text) => self.told(&serde_json::from_str(&text)?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The agent says where the bytes that follow belong: it must be where the last ones ended.
    fn told(&mut self, frame: &Value) -> Play {
        check(frame["type"] != "gap", format!("output was lost: {frame}"))?;
        if frame["type"] == "hello" {
            check(frame["offset"] == self.offset, format!("resumed elsewhere than at {}: {frame}", self.offset))?;
            check(self.epoch.is_null() || self.epoch == frame["epoch"], format!("another console: {frame}"))?;
            self.epoch = frame["epoch"].clone();
        }
        Ok(())
    }

    /// All numbers whose whole line was seen.
    fn numbers(&self) -> Vec<usize> {
        let lines = self.output.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let texts = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(": flood "));
        texts.filter_map(|(_, rest)| rest.split(' ').next()?.parse().ok()).collect()
    }
}
