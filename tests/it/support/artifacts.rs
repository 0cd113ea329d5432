//! An artifact server that a test can spoil: a folder of files, with faults by path.
use super::web::{self, Ask, Web};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, mpsc::channel},
    time::Duration,
};

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The connection ends at this byte of the file, every time.
    Cut(usize),
    /// Nothing comes past this byte of the file.
    Stall(usize),
    /// A page of a proxy with 200.
    Page,
    Status(u16),
    /// The byte there is another one than it was.
    Flip(usize),
    /// So many bytes more, or less, are said than come.
    Longer(usize),
    Shorter(usize),
    /// It ends at this byte each time, and is another file at each request.
    Changes(usize),
    /// To a host that nobody named.
    Elsewhere,
    /// To itself.
    Loop,
}

/// Ends with the test.
pub struct Artifacts {
    web: Web,
    folder: tempfile::TempDir,
    wrong: Arc<Mutex<HashMap<String, Wrong>>>,
}

impl Artifacts {
    pub fn serve() -> Artifacts {
        let (folder, wrong) = (tempfile::tempdir().unwrap(), Arc::<Mutex<HashMap<String, Wrong>>>::default());
        let (root, spoilt) = (folder.path().to_owned(), wrong.clone());
        let web = Web::start(move |ask, out| {
            let path = ask.path.trim_start_matches('/');
            let wrong = spoilt.lock().unwrap().get(path).copied();
            answer(ask, out, fs::read(root.join(path)).ok(), wrong)
        });
        Artifacts { web, folder, wrong }
    }

    pub fn url(&self) -> String {
        self.web.url.clone()
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> usize {
        self.web.asked().len()
    }

    /// From now on something is wrong with this path; `None`: no longer.
    pub fn spoil(&self, path: &str, wrong: Option<Wrong>) {
        let mut all = self.wrong.lock().unwrap();
        match wrong {
            Some(wrong) => _ = all.insert(path.to_owned(), wrong),
            None => _ = all.remove(path),
        }
    }

    /// Another server with the same files.
    pub fn mirror(&self) -> Artifacts {
        let mirror = Artifacts::serve();
        let from = format!("{}/.", self.root().display());
        let copied = Command::new("cp").args(["-r", &from]).arg(mirror.root()).status().unwrap();
        assert!(copied.success());
        mirror
    }

    /// Puts a file there; its SHA-256.
    pub fn put(&self, path: &str, bytes: &[u8]) -> String {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
    }
}

fn redirect(out: &mut dyn Write, to: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn answer(ask: &Ask, out: &mut dyn Write, bytes: Option<Vec<u8>>, wrong: Option<Wrong>) -> io::Result<()> {
    const PAGE: &[u8] = b"<!doctype html><html><body>Please log in</body></html>";
    let bare = |out: &mut dyn Write, status: u16| {
        write!(out, "HTTP/1.1 {status} Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let Some(bytes) = bytes else { return bare(out, 404) };
    let tag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)[..8]));
    let from = ask.from.unwrap_or(0).min(bytes.len());
    let some = |until: usize| &bytes[from..until.clamp(from, bytes.len())];
    match wrong {
        None => web::file(ask, out, &bytes, &tag),
        Some(Wrong::Status(status)) => bare(out, status),
        Some(Wrong::Page) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", PAGE.len())?;
            out.write_all(PAGE)
        }
        Some(Wrong::Flip(at)) => {
            let mut other = bytes.clone();
            other[at] ^= 1;
            web::file(ask, out, &other, &tag)
        }
        Some(Wrong::Longer(more)) => {
            web::head(ask, out, bytes.len() + more, &tag)?;
            out.write_all(&bytes[from..])
        }
        Some(Wrong::Shorter(less)) => {
            web::head(ask, out, bytes.len() - less, &tag)?;
            out.write_all(some(bytes.len() - less))
        }
        Some(Wrong::Changes(after)) => {
            // As a server does that takes no notice of If-Range.
            let ask = Ask { if_range: None, ..ask.clone() };
            web::head(&ask, out, bytes.len(), &format!("\"{}\"", ask.nth))?;
            out.write_all(some(from + after))
        }
        Some(Wrong::Elsewhere) => redirect(out, "http://elsewhere.invalid/x"),
        Some(Wrong::Loop) => redirect(out, &ask.path),
        Some(Wrong::Cut(after)) => {
            web::head(ask, out, bytes.len(), &tag)?;
            out.write_all(some(after))
        }
        Some(Wrong::Stall(after)) => {
            web::head(ask, out, bytes.len(), &tag)?;
            out.write_all(some(after))?;
            out.flush()?;
            // Longer than any client here waits.
            let (_never, end) = channel::<()>();
            _ = end.recv_timeout(Duration::from_secs(60));
            Ok(())
        }
    }
}
