//! The bridge's contract against a small real HTTP peer.
use super::*;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// SHA-256 of `shared`.
const DIGEST: &str = "0f2f0ded5d0dcbc44cbe5b3ad4fc11c7cb4a2e1d1d1ea3a0fb1f2d2a2f5c3d7e";

type List = Arc<Mutex<Vec<(String, String, u16)>>>;

/// One request a connection, as the plugin's own little server has it.
async fn answer(stream: TcpStream, list: List, secret: String) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length, mut shown) = (String::new(), 0, String::new());
    stream.read_line(&mut line).await?;
    let request = line.clone();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await?;
        let (name, value) = line.split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "x-zpack-secret" => shown = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let (status, text) = if shown == secret { act(&request, &body, &list) } else { ("401 No", String::new()) };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    stream.write_all(head.as_bytes()).await
}

fn act(request: &str, body: &[u8], list: &List) -> (&'static str, String) {
    let mut list = list.lock().unwrap();
    let wish: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let name = wish["server_name"].as_str().unwrap_or_default().to_owned();
    match request.split(' ').nth(1) {
        Some("/zpack/status") => {
            let servers: Vec<_> =
                list.iter().map(|(n, a, p)| serde_json::json!({"name": n, "address": a, "port": p})).collect();
            return ("200 OK", serde_json::json!({"servers": servers}).to_string());
        }
        Some("/zpack/register") => {
            let port = u16::try_from(wish["port"].as_u64().unwrap()).unwrap();
            list.push((name, wish["address"].as_str().unwrap().to_owned(), port));
        }
        Some("/zpack/unregister") => list.retain(|(n, ..)| *n != name),
        _ => return ("404 Not Found", String::new()),
    }
    ("200 OK", "{}".into())
}

async fn proxy(list: List, secret: String) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, list.clone(), secret.clone()));
        }
    });
    url
}

#[tokio::test]
async fn servers_are_listed_registered_and_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "shared\n").unwrap();
    let list = List::default();
    let digest = HEXLOWER.encode(&Sha256::digest(b"shared"));
    let bridge = Bridge::new(&proxy(list.clone(), digest).await, &file).unwrap();
    assert_eq!(bridge.list().await.unwrap(), []);
    bridge.register("vm-1", "10.0.0.7", 25565).await.unwrap();
    let listed = Listed { name: "vm-1".into(), address: "10.0.0.7".into(), port: 25565 };
    assert_eq!(bridge.list().await.unwrap(), [listed]);
    bridge.unregister("vm-1").await.unwrap();
    assert_eq!(bridge.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_wrong_secret_and_a_proxy_that_is_not_there_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "other").unwrap();
    let bridge = Bridge::new(&proxy(List::default(), DIGEST.into()).await, &file).unwrap();
    assert!(matches!(bridge.list().await, Err(Error::Refused(status)) if status == 401));
    let nobody = Bridge::new("http://127.0.0.1:1", &file).unwrap();
    assert!(matches!(nobody.list().await, Err(Error::Http(_))));
    assert!(Bridge::new("http://127.0.0.1:1", &folder.path().join("missing")).is_err());
}
