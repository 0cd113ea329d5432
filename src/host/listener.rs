//! Where our servers are listened for.
use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};
use std::{ffi::OsString, io, net::SocketAddr};
use tokio::net::TcpListener;

/// In every kernel, and it never paces.
const UNPACED: &str = "reno";

/// Binds and listens. Who comes to a loopback address comes from this machine, where there is no path to be careful with: a
/// system whose connections pace themselves (BBR, which many images set) would send a page or a file to the proxy in front
/// of us at half the speed, for three times the work. An accepted connection is as its listener was.
///
/// # Errors
/// Those of bind(2): the port is in use, or not ours to have.
pub async fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(at).await?;
    if at.ip().is_loopback()
        && let Err(why) = setsockopt(&listener, TcpCongestion, &OsString::from(UNPACED))
    {
        tracing::debug!(%why, %at, "connections within this machine are paced as the system likes");
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use std::{fs, net::Ipv4Addr};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn only_within_the_machine_nothing_is_paced() {
        let systems_own = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        for (at, expected) in [("127.0.0.1:0", UNPACED), ("0.0.0.0:0", systems_own.trim())] {
            let listener = listen(at.parse().unwrap()).await.unwrap();
            let to = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
            let (accepted, _connected) = tokio::join!(listener.accept(), TcpStream::connect(to));
            let (accepted, _peer) = accepted.unwrap();
            let found = getsockopt(&accepted, TcpCongestion).unwrap();
            assert_eq!(found.to_string_lossy().trim_end_matches('\0'), expected, "{at}");
        }
    }
}
