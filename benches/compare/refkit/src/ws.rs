//! The console clients (connect, send a line, read until SPEW-END), and an echo server with clients that measure it.
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

async fn connect(url: &str, headers: &[String]) -> Result<WebSocketStream<TcpStream>, String> {
    let mut req = url.into_client_request().map_err(|e| e.to_string())?;
    for h in headers {
        let (k, v) = h.split_once(':').ok_or("header")?;
        let k = tokio_tungstenite::tungstenite::http::HeaderName::from_bytes(k.as_bytes()).unwrap();
        req.headers_mut().insert(k, HeaderValue::from_str(v.trim()).unwrap());
    }
    let host = req.uri().authority().unwrap().to_string();
    let tcp = TcpStream::connect(host).await.map_err(|e| e.to_string())?;
    tcp.set_nodelay(true).unwrap();
    Ok(client_async(req, tcp).await.map_err(|e| e.to_string())?.0)
}

fn pct(v: &mut [f64], p: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * p) as usize]
}

fn now_ns() -> i64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Reads until SPEW-END; for lines that start "T<ns>" notes the time from the stamp to now.
async fn drain(mut ws: WebSocketStream<TcpStream>) -> (u64, u64, Vec<f64>) {
    let (mut bytes, mut msgs, mut lat, mut tail) = (0u64, 0u64, vec![], Vec::<u8>::new());
    while let Some(Ok(m)) = ws.next().await {
        let d = m.into_data();
        let t = now_ns();
        bytes += d.len() as u64;
        msgs += 1;
        if d.len() < 4096 {
            let mut i = 0;
            while i < d.len() {
                if d[i] == b'T' && i + 10 < d.len() && d[i + 1].is_ascii_digit() {
                    let ns: String = d[i + 1..].iter().take_while(|c| c.is_ascii_digit()).map(|&c| c as char).collect();
                    if ns.len() > 9 {
                        lat.push((t - ns.parse::<i64>().unwrap()) as f64 / 1e3);
                    }
                    i += 90;
                }
                i += 1;
            }
        }
        let from = d.len().saturating_sub(64);
        tail.extend_from_slice(&d[from..]);
        if tail.windows(8).any(|w| w == b"SPEW-END") {
            break;
        }
        let cut = tail.len().saturating_sub(16);
        tail.drain(..cut);
    }
    (bytes, msgs, lat)
}

pub async fn get(url: &str, clients: usize, text: &str, headers: &[String]) {
    let text = text.replace("\\n", "\n").replace("\\r", "\r");
    let mut first = connect(url, headers).await.unwrap();
    let mut tasks = vec![];
    for _ in 1..clients {
        tasks.push(tokio::spawn(drain(connect(url, headers).await.unwrap())));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let t = Instant::now();
    if std::env::var("WS_BINARY").is_ok() {
        first.send(Message::binary(text.into_bytes())).await.unwrap();
    } else {
        first.send(Message::text(text)).await.unwrap();
    }
    tasks.push(tokio::spawn(drain(first)));
    let (mut bytes, mut msgs, mut lat) = (0, 0, vec![]);
    for k in tasks {
        let (b, m, l) = k.await.unwrap();
        bytes += b;
        msgs += m;
        lat.extend(l);
    }
    println!(
        "{{\"bytes\": {bytes}, \"msgs\": {msgs}, \"secs\": {:.4}, \"lines\": {}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}",
        t.elapsed().as_secs_f64(),
        lat.len(),
        pct(&mut lat, 0.5),
        pct(&mut lat, 0.99)
    );
}

async fn ping(ws: &mut WebSocketStream<TcpStream>) -> bool {
    ws.send(Message::text("x".repeat(64))).await.is_ok() && matches!(ws.next().await, Some(Ok(_)))
}

/// rtt and rate: N is milliseconds, PARALLEL connections. setup and idle: N connections in all, PARALLEL at a time.
pub async fn load(mode: &str, url: &str, n: usize, parallel: usize, headers: &[String]) {
    match mode {
        "rtt" | "rate" => exchange(url, n, parallel, headers).await,
        _ => open(mode == "idle", url, n, parallel, headers).await,
    }
}

async fn exchange(url: &str, millis: usize, parallel: usize, headers: &[String]) {
    let tasks: Vec<_> = (0..parallel)
        .map(|_| {
            let (url, headers) = (url.to_string(), headers.to_vec());
            tokio::spawn(async move {
                let mut ws = connect(&url, &headers).await.unwrap();
                let (mut v, t) = (vec![], Instant::now());
                while t.elapsed() < Duration::from_millis(millis as u64) {
                    let s = Instant::now();
                    assert!(ping(&mut ws).await);
                    v.push(s.elapsed().as_secs_f64() * 1e6);
                }
                v
            })
        })
        .collect();
    let mut v = vec![];
    for k in tasks {
        v.extend(k.await.unwrap());
    }
    let rate = v.len() as f64 / (millis as f64 / 1e3);
    println!("{{\"msg_s\": {rate:.0}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}", pct(&mut v, 0.5), pct(&mut v, 0.99));
}

async fn open(keep: bool, url: &str, n: usize, parallel: usize, headers: &[String]) {
    let (url, headers, t) = (url.to_string(), headers.to_vec(), Instant::now());
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let tasks: Vec<_> = (0..parallel)
        .map(|_| {
            let (url, headers, next) = (url.clone(), headers.clone(), next.clone());
            tokio::spawn(async move {
                let (mut v, mut open, mut bad) = (vec![], vec![], 0);
                while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < n {
                    let s = Instant::now();
                    let Ok(mut ws) = connect(&url, &headers).await else {
                        bad += 1;
                        continue;
                    };
                    if !ping(&mut ws).await {
                        bad += 1;
                        continue;
                    }
                    v.push(s.elapsed().as_secs_f64() * 1e6);
                    if keep {
                        open.push(ws);
                    } else {
                        let _ = ws.close(None).await;
                    }
                }
                (v, open, bad)
            })
        })
        .collect();
    let (mut v, mut open, mut bad) = (vec![], vec![], 0);
    for k in tasks {
        let (a, b, c) = k.await.unwrap();
        v.extend(a);
        open.extend(b);
        bad += c;
    }
    println!(
        "{{\"conns\": {}, \"failed\": {bad}, \"conn_s\": {:.0}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}",
        v.len(),
        v.len() as f64 / t.elapsed().as_secs_f64(),
        pct(&mut v, 0.5),
        pct(&mut v, 0.99)
    );
    if keep {
        // hold them until the caller closes our standard input, or a minute has gone
        let held = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
        let _ = tokio::time::timeout(Duration::from_secs(60), held).await;
        std::process::exit(0);
    }
}

pub async fn echo(port: u16) {
    let l = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    while let Ok((tcp, _)) = l.accept().await {
        let _ = tcp.set_nodelay(true);
        tokio::spawn(async move {
            let Ok(mut ws) = tokio_tungstenite::accept_async(tcp).await else { return };
            while let Some(Ok(m)) = ws.next().await {
                if (m.is_text() || m.is_binary()) && ws.send(m).await.is_err() {
                    return;
                }
            }
        });
    }
}
