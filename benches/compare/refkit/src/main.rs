//! refkit: minimal Rust references and the load client of the benches. Each line below is one subcommand.
//!   supervise CMD...                          tokio::process, wait, start again at once
//!   console PORT CMD...                       CMD on a PTY, fanned out to every WebSocket client
//!   wsget URL CLIENTS TEXT [HEADER:VALUE]...  connect, send TEXT from the first client, read until SPEW-END
//!   wsload MODE URL N PARALLEL [HEADER:VALUE] MODE: rtt | rate | setup | idle
//!   wsecho PORT                               WebSocket echo server
//!   serve PORT                                GET /status (JSON), serialised each time
//!   idle PORT                                 a tokio runtime and one listening socket, nothing else
mod console;
mod ws;

use axum::{Json, Router, routing::get};
use std::sync::Arc;
use tokio::net::TcpListener;

async fn supervise(cmd: &[String]) {
    loop {
        let mut c = tokio::process::Command::new(&cmd[0]).args(&cmd[1..]).spawn().unwrap();
        c.wait().await.unwrap();
    }
}

async fn serve(port: u16) {
    let text = std::env::var("STATUS_JSON").unwrap_or_else(|_| "{}".into());
    let snapshot: Arc<serde_json::Value> = Arc::new(serde_json::from_str(&text).unwrap());
    let answer = move || {
        let s = snapshot.clone();
        async move { Json((*s).clone()) }
    };
    let l = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    axum::serve(l, Router::new().route("/status", get(answer))).await.unwrap();
}

async fn idle(port: u16) {
    let l = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let _ = l.accept().await;
    }
}

fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let s = |i: usize| a.get(i).cloned().unwrap_or_default();
    let n = |i: usize| s(i).parse::<usize>().unwrap_or(0);
    let threads = std::env::var("REFKIT_THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(2);
    let rt = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        t => tokio::runtime::Builder::new_multi_thread().worker_threads(t).enable_all().build(),
    }
    .unwrap();
    match s(0).as_str() {
        "supervise" => rt.block_on(supervise(&a[1..])),
        "console" => rt.block_on(console::serve(n(1) as u16, &a[2..])),
        "wsget" => rt.block_on(ws::get(&s(1), n(2), &s(3), &a[4..])),
        "wsload" => rt.block_on(ws::load(&s(1), &s(2), n(3), n(4), &a[5..])),
        "wsecho" => rt.block_on(ws::echo(n(1) as u16)),
        "serve" => rt.block_on(serve(n(1) as u16)),
        "idle" => rt.block_on(idle(n(1) as u16)),
        _ => eprintln!("see the head of main.rs"),
    }
}
