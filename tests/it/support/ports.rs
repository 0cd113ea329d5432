//! Ports for those who cannot be given port 0.
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU64, Ordering},
};

/// A port that nobody uses for TCP or UDP, and whose neighbour is free as well (some consoles are there). Never one that
/// the kernel gives to whoever asks for any port: between now and its use somebody would get it.
pub fn free_port() -> u16 {
    let unused = |port: u16| {
        let at = (Ipv4Addr::UNSPECIFIED, port);
        Some((TcpListener::bind(at).ok()?, UdpSocket::bind(at).ok()?))
    };
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = || RandomState::new().build_hasher().finish() % 9000;
    let _set_by_another = NEXT.compare_exchange(0, first(), Ordering::Relaxed, Ordering::Relaxed);
    let mut pairs = (0..9000).map(|_| 10_000 + 2 * (NEXT.fetch_add(1, Ordering::Relaxed) % 9000) as u16);
    pairs.find(|port| unused(*port).and(unused(port + 1)).is_some()).expect("there are two free ports")
}
