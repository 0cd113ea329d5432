//! An artifact server that a test can spoil: a folder of files by HTTP, with ranges, and faults by path.
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The connection ends after so many bytes, every time.
    Cut(usize),
    /// Nothing comes after so many bytes.
    Stall(usize),
    /// A page of a proxy with 200.
    Page,
    Status(u16),
}

/// Ends with the test.
pub struct Artifacts {
    folder: tempfile::TempDir,
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    wrong: Mutex<HashMap<String, Wrong>>,
    requests: AtomicU64,
    over: AtomicBool,
}

impl Artifacts {
    pub fn serve() -> Artifacts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (folder, shared) = (tempfile::tempdir().unwrap(), Arc::new(Shared::default()));
        let (root, told) = (folder.path().to_owned(), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.over.load(Ordering::SeqCst) {
                    return;
                }
                let (root, told) = (root.clone(), told.clone());
                // A client that is killed leaves its connection: that is no fault of the server.
                thread::spawn(move || _ = answer(stream, &root, &told));
            }
        });
        Artifacts { folder, address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// From now on something is wrong with this path; `None`: no longer.
    pub fn spoil(&self, path: &str, wrong: Option<Wrong>) {
        let mut all = self.shared.wrong.lock().unwrap();
        match wrong {
            Some(wrong) => _ = all.insert(path.to_owned(), wrong),
            None => _ = all.remove(path),
        }
    }

    /// Puts a file there; its SHA-256.
    pub fn put(&self, path: &str, bytes: &[u8]) -> String {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(&self.address);
    }
}

fn answer(mut stream: TcpStream, root: &Path, shared: &Shared) -> std::io::Result<()> {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut from = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let range = line.to_ascii_lowercase();
        from = range.strip_prefix("range: bytes=").and_then(|r| r.split('-').next()?.parse().ok()).or(from);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let wrong = shared.wrong.lock().unwrap().get(&path).copied();
    let file: PathBuf = root.join(&path);
    match (wrong, fs::read(&file)) {
        (Some(Wrong::Status(code)), _) => head(&mut stream, &format!("{code} Bad"), 0, ""),
        (Some(Wrong::Page), _) => {
            let page = b"<!doctype html><html><body>Please log in</body></html>";
            head(&mut stream, "200 OK", page.len(), "Content-Type: text/html\r\n")?;
            stream.write_all(page)
        }
        (_, Err(_)) => head(&mut stream, "404 Not Found", 0, ""),
        (wrong, Ok(bytes)) => send(&mut stream, &bytes, from, wrong),
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8], from: Option<usize>, wrong: Option<Wrong>) -> std::io::Result<()> {
    let tag = format!("ETag: \"{}\"\r\n", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..8]));
    let part = &bytes[from.unwrap_or(0).min(bytes.len())..];
    match from {
        None => head(stream, "200 OK", part.len(), &tag)?,
        Some(from) => {
            let range = format!("{tag}Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            head(stream, "206 Partial Content", part.len(), &range)?;
        }
    }
    match wrong {
        Some(Wrong::Cut(after)) => stream.write_all(&part[..after.min(part.len())]),
        Some(Wrong::Stall(after)) => {
            stream.write_all(&part[..after.min(part.len())])?;
            // Until the client gives up.
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.read(&mut [0]).map(drop)
        }
        _ => stream.write_all(part),
    }
}

fn head(stream: &mut TcpStream, status: &str, length: usize, more: &str) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\nAccept-Ranges: bytes\r\n");
    stream.write_all(format!("{head}{more}\r\n").as_bytes())
}
