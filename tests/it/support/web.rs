//! A small HTTP server whose every byte the test decides: it can lie, stall and die as real ones do.
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// One request, as far as a file server looks.
#[derive(Clone, Debug)]
pub struct Ask {
    pub path: String,
    /// First byte wanted.
    pub from: Option<usize>,
    pub if_range: Option<String>,
    /// How many requests came before this one.
    pub nth: usize,
    pub head: String,
}

type Answer = dyn Fn(&Ask, &mut dyn Write) -> std::io::Result<()> + Send + Sync;

pub struct Web {
    pub url: String,
    asked: Arc<Mutex<Vec<Ask>>>,
    over: Arc<AtomicBool>,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl Web {
    /// `answer` writes status line, headers and body; the connection ends when it returns.
    pub fn start(answer: impl Fn(&Ask, &mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static) -> Web {
        Web::serve("http", Arc::new(answer), |stream| Box::new(stream))
    }

    /// The same behind TLS with this configuration.
    pub fn start_tls(
        config: rustls::ServerConfig,
        answer: impl Fn(&Ask, &mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Web {
        let config = Arc::new(config);
        Web::serve("https", Arc::new(answer), move |stream| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            Box::new(rustls::StreamOwned::new(session, stream))
        })
    }

    /// A well-behaved file server: ranges, ETags, 404.
    pub fn of_files(files: &[(&str, &[u8])]) -> Web {
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| (format!("/{name}"), bytes.to_vec())).collect();
        Web::start(move |ask, out| match files.get(&ask.path) {
            Some(bytes) => file(ask, out, bytes, "\"v1\""),
            None => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        })
    }

    fn serve(scheme: &str, answer: Arc<Answer>, wrap: impl Fn(TcpStream) -> Box<dyn Duplex> + Send + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stop) = (Arc::clone(&asked), Arc::clone(&over));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (mut stream, answer, seen) = (wrap(stream.unwrap()), Arc::clone(&answer), Arc::clone(&seen));
                // Clients that are killed or give up break their connection: no fault of the server.
                thread::spawn(move || drop(one(&mut *stream, &*answer, &seen)));
            }
        });
        Web { url: format!("{scheme}://127.0.0.1:{port}"), asked, over, port, accepting: Some(accepting) }
    }

    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.accepting.take().map(JoinHandle::join);
    }
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

fn one(stream: &mut dyn Duplex, answer: &Answer, asked: &Mutex<Vec<Ask>>) -> std::io::Result<()> {
    let (mut head, mut reader) = (String::new(), BufReader::new(&mut *stream));
    while reader.read_line(&mut head)? > 2 {}
    let field = |name: &str| {
        let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let ask = {
        let mut asked = asked.lock().unwrap();
        let from = field("range: bytes=").and_then(|r| r.split('-').next()?.parse().ok());
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let ask = Ask { path, from, if_range: field("if-range:"), nth: asked.len(), head: head.clone() };
        asked.push(ask.clone());
        ask
    };
    answer(&ask, stream)?;
    stream.flush()
}

/// Answers as nginx would.
pub fn file(ask: &Ask, out: &mut dyn Write, bytes: &[u8], etag: &str) -> std::io::Result<()> {
    head(ask, out, bytes.len(), etag)?;
    out.write_all(&bytes[part(ask, etag).min(bytes.len())..])
}

/// Only the head of that answer.
pub fn head(ask: &Ask, out: &mut dyn Write, size: usize, etag: &str) -> std::io::Result<()> {
    let from = part(ask, etag);
    let status = match from {
        0 => "HTTP/1.1 200 OK".to_owned(),
        from => format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1),
    };
    let left = size - from;
    write!(out, "{status}\r\nETag: {etag}\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n")
}

fn part(ask: &Ask, etag: &str) -> usize {
    let same = ask.if_range.as_deref().is_none_or(|known| known == etag);
    ask.from.filter(|_| same).unwrap_or(0)
}

/// A certificate of its own authority for these names, changed as the test likes; the configuration, and the PEM.
pub fn tls(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> (rustls::ServerConfig, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (config, certificate.pem())
}
