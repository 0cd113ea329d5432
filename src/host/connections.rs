//! Who is connected to a port of this machine, and how many bytes each has sent: sock_diag(7), one question and one walk
//! through the kernel's table. `/proc/net/tcp` has no such counters; it says at least who is there where the kernel's
//! `inet_diag` is not to be had.
use crate::model::activity::Connection;
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};
use procfs::net::TcpState;
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// No editor has so many browsers: the rest is not told apart.
const MOST: usize = 4096;
/// The kernel answers while it is asked; this only bounds a fault.
const ANSWERS_WITHIN: TimeVal = TimeVal::new(2, 0);
/// Largest message a dump consists of, NLMSG_GOODSIZE and what the kernel rounds it up to.
const MESSAGE: usize = 32 << 10;

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const TCP_ESTABLISHED: u32 = 1;
const INET_DIAG_INFO: u16 = 2;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
/// Of `struct inet_diag_msg`, after the header: the socket's cookie, and its whole length.
const COOKIE_AT: usize = HEADER + 4 + 40;
const ATTRIBUTES_AT: usize = HEADER + 72;
/// Of `struct tcp_info`: `tcpi_bytes_received`.
const RECEIVED_AT: usize = 128;

/// Established connections to this port, the accepting side of each. Blocking for microseconds.
pub fn to_port(port: u16) -> io::Result<Vec<Connection>> {
    counted(port).or_else(|why| {
        tracing::debug!(%why, "the kernel does not count the bytes of connections");
        uncounted(port)
    })
}

fn counted(port: u16) -> io::Result<Vec<Connection>> {
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    setsockopt(&kernel, ReceiveTimeout, &ANSWERS_WITHIN)?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        send(kernel.as_raw_fd(), &request(family as u8, port), MsgFlags::empty())?;
        dump(&kernel, &mut found)?;
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: u8, port: u16) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(REQUEST as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(HEADER, &[family, libc::IPPROTO_TCP as u8, 1 << (INET_DIAG_INFO - 1)]);
    put(HEADER + 4, &(1u32 << TCP_ESTABLISHED).to_ne_bytes());
    put(HEADER + 8, &port.to_be_bytes());
    // INET_DIAG_NOCOOKIE: not one socket, but all that fit.
    put(HEADER + 48, &[0xff; 8]);
    request
}

fn dump(kernel: &OwnedFd, found: &mut Vec<Connection>) -> io::Result<()> {
    let mut buffer = vec![0; MESSAGE];
    loop {
        let length = recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some((kind, message, after)) = first_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(refused(message)),
                SOCK_DIAG_BY_FAMILY if found.len() < MOST => found.extend(connection(message)),
                _ => {}
            }
            rest = after;
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Kind and bytes of the first message, and those after it.
fn first_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let message = bytes.get(..length).filter(|m| m.len() >= HEADER)?;
    let after = length.next_multiple_of(4).min(bytes.len());
    Some((u16_at(message, 4)?, message, &bytes[after..]))
}

fn refused(message: &[u8]) -> io::Error {
    let errno = u32_at(message, HEADER).map_or(0, |e| (e as i32).wrapping_neg());
    io::Error::from_raw_os_error(errno)
}

/// `struct inet_diag_msg` and its attributes.
fn connection(message: &[u8]) -> Option<Connection> {
    let id = u64_at(message, COOKIE_AT)?;
    let mut rest = message.get(ATTRIBUTES_AT..)?;
    let mut received = None;
    while let Some(length) = u16_at(rest, 0).map(usize::from).filter(|length| *length >= 4) {
        if u16_at(rest, 2) == Some(INET_DIAG_INFO) {
            // An old kernel's is shorter.
            received = rest.get(4..length).and_then(|info| u64_at(info, RECEIVED_AT));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Connection { id, received })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn uncounted(port: u16) -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    for table in [procfs::net::tcp(), procfs::net::tcp6()] {
        // A machine without IPv6 has no such table.
        let entries = table.unwrap_or_default().into_iter();
        let ours = entries.filter(|e| e.state == TcpState::Established && e.local_address.port() == port);
        found.extend(ours.map(|e| Connection { id: e.inode, received: None }).take(MOST - found.len()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    fn received(of: &[Connection]) -> Vec<Option<u64>> {
        let mut all: Vec<_> = of.iter().map(|c| c.received).collect();
        all.sort();
        all
    }

    #[test]
    fn each_connection_is_seen_with_the_bytes_that_came_in() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let address = listener.local_addr().unwrap();
            assert_eq!(to_port(address.port()).unwrap(), [], "a listener is no connection");
            let mut quiet = TcpStream::connect(address).unwrap();
            let mut busy = TcpStream::connect(address).unwrap();
            let (mut answers, _) = listener.accept().unwrap();
            let (mut reads, _) = listener.accept().unwrap();
            busy.write_all(&[7; 1000]).unwrap();
            reads.read_exact(&mut [0; 1000]).unwrap();
            answers.write_all(&[7; 5000]).unwrap();
            quiet.read_exact(&mut [0; 5000]).unwrap();
            let found = to_port(address.port()).unwrap();
            assert_eq!(received(&found), [Some(0), Some(1000)], "what goes out does not count");
            assert_ne!(found[0].id, found[1].id);
            let without = uncounted(address.port()).unwrap();
            assert_eq!(received(&without), [None, None]);
            assert_ne!(without[0].id, without[1].id);
            drop((busy, reads));
            let ids = |all: &[Connection]| all.iter().map(|c| c.id).collect::<Vec<_>>();
            let left = to_port(address.port()).unwrap();
            assert!(left.len() == 1 && ids(&found).contains(&left[0].id), "the same name again: {left:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_says_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while let Some((_, message, after)) = first_message(rest) {
                _ = connection(message);
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }
}
