//! Console lines for games that do not read their terminal: a TCP text console (econ) or a named pipe.
use nix::{
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{FileStat, Mode, SFlag, fstatat},
};
use std::{
    fs::File,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Lines of greeting an econ may send before it says whether the password was right.
const GREETING_LINES: usize = 16;
const GREETING_LINE_BYTES: u64 = 4096;
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
/// How long a connection is kept after its line, at most.
const LONGEST_LISTEN: Duration = Duration::from_secs(30);

/// Logs in to the econ on 127.0.0.1 (Teeworlds, DDNet: the password first, then a line at a time) and gives one line.
pub async fn say_by_econ(port: u16, password: &str, line: &str) -> Result<(), String> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let said = timeout(LONGEST_ANSWER, log_in_and_say(at, password, line)).await;
    let said = said.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")));
    said.map_err(|e| format!("the console on {at} did not take the line: {e}"))
}

async fn log_in_and_say(at: SocketAddr, password: &str, line: &str) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(at).await?);
    stream.get_mut().write_all(format!("{password}\n").as_bytes()).await?;
    for _ in 0..GREETING_LINES {
        let mut answer = Vec::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut stream, GREETING_LINE_BYTES);
        if limited.read_until(b'\n', &mut answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
        }
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        if answer.contains("authentication successful") {
            stream.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
            tokio::spawn(listen_on(stream));
            return Ok(());
        }
        if answer.contains("wrong password") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it refused the password"));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it does not talk like an econ"))
}

/// A server that is told to shut down still writes to its consoles; one that hung up would end it by SIGPIPE. When it
/// is gone, a reset spares its port the minute in TIME_WAIT in which the next run could not bind it.
async fn listen_on(mut stream: BufReader<TcpStream>) {
    let ended = timeout(LONGEST_LISTEN, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    if ended.is_ok()
        && let Err(e) = stream.get_ref().set_zero_linger()
    {
        tracing::debug!("the console's port stays in TIME_WAIT: {e}");
    }
}

/// Writes one line into the named pipe `path` beneath `root`. Blocking, but never waits for a reader.
pub fn say_by_fifo(root: &Path, path: &str, line: &str) -> Result<(), String> {
    write_to_fifo(root, path, line)
        .map_err(|e| format!("the pipe {} did not take the line: {e}", root.join(path).display()))
}

fn write_to_fifo(root: &Path, path: &str, line: &str) -> io::Result<()> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let about: FileStat = fstatat(&root, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT != SFlag::S_IFIFO {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a named pipe"));
    }
    // Without a reader this is ENXIO instead of a wait.
    let how = OpenHow::new()
        .flags(OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let pipe: OwnedFd = openat2(&root, path, how)?;
    // Up to PIPE_BUF bytes go in whole or not at all (pipe(7)).
    File::from(pipe).write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::io::Read;
    use tokio::net::TcpListener;

    async fn econ(right: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            stream.get_mut().write_all(b"Enter password:\n").await.unwrap();
            let mut password = String::new();
            stream.read_line(&mut password).await.unwrap();
            let answer = if password.trim_end() == right {
                "Authentication successful. External console access granted."
            } else {
                "Wrong password 1/3."
            };
            stream.get_mut().write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            line
        });
        (port, peer)
    }

    #[tokio::test]
    async fn an_econ_hears_the_line_after_the_password() {
        let (port, peer) = econ("s3cret").await;
        say_by_econ(port, "s3cret", "say hi").await.unwrap();
        assert_eq!(peer.await.unwrap(), "say hi\n");
    }

    #[tokio::test]
    async fn a_wrong_password_is_said_and_not_shown() {
        let (port, _peer) = econ("s3cret").await;
        let why = say_by_econ(port, "guess", "say hi").await.unwrap_err();
        assert!(why.contains("refused the password") && !why.contains("guess"), "{why}");
    }

    #[test]
    fn a_fifo_takes_a_line_and_nothing_else_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        mkfifo(&dir.path().join("cmd"), Mode::S_IRWXU).unwrap();
        assert!(say_by_fifo(dir.path(), "cmd", "x").is_err(), "nobody reads");
        let mut reader =
            File::from(open(&dir.path().join("cmd"), OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()).unwrap());
        say_by_fifo(dir.path(), "cmd", "say hi").unwrap();
        let mut got = [0u8; 32];
        let n = reader.read(&mut got).unwrap();
        assert_eq!(&got[..n], b"say hi\n");
        std::fs::write(dir.path().join("plain"), "").unwrap();
        assert!(say_by_fifo(dir.path(), "plain", "x").unwrap_err().contains("not a named pipe"));
        assert!(say_by_fifo(dir.path(), "../cmd", "x").is_err());
    }
}
