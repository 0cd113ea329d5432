//! Who holds a port: proof that a server really listens, and the reason why one cannot.
//!
//! A ready line is no proof (a server may print it before it binds), so the kernel's socket tables are asked.
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt},
};
use procfs::{
    ProcError,
    net::TcpState,
    process::{FDTarget, Process},
};
use std::{
    collections::HashSet,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsRawFd,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Whose sockets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOwner {
    Anybody,
    /// This process and all its descendants.
    Tree(i32),
}

/// A port that is taken, and by whom as far as that can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    pub port: u16,
    pub transport: Transport,
    pub address: IpAddr,
    pub pid: Option<i32>,
    pub name: Option<String>,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.transport == Transport::Tcp { "TCP" } else { "UDP" };
        write!(f, "{transport} port {} on {} is held by ", self.port, self.address)?;
        match (&self.name, self.pid) {
            (Some(name), Some(pid)) => write!(f, "{name} (pid {pid})"),
            (None, Some(pid)) => write!(f, "pid {pid}"),
            _ => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Those of `ports` on which nobody of `owner` listens (TCP) or receives (UDP). Blocks on /proc.
pub fn missing_ports(owner: PortOwner, ports: &[u16]) -> io::Result<Vec<u16>> {
    let bound = bound(ports)?;
    let counts: Box<dyn Fn(u64) -> bool> = match owner {
        PortOwner::Anybody => Box::new(|_| true),
        PortOwner::Tree(root) => {
            let inodes = socket_inodes(&tree(root)?)?;
            Box::new(move |inode| inodes.contains(&inode))
        }
    };
    let held = |port: &u16| bound.iter().any(|b| b.at.port() == *port && counts(b.inode));
    Ok(ports.iter().copied().filter(|p| !held(p)).collect())
}

/// Who holds any of `ports`; empty if all are free. Blocks on /proc.
///
/// The socket tables name the holder; a bind, tried the way servers do it (address reuse on TCP, so a dying connection
/// is no holder), is the proof. Nothing listens meanwhile, so nothing lingers.
pub fn port_holders(ports: &[u16]) -> io::Result<Vec<PortHolder>> {
    let bound = bound(ports)?;
    let mut holders = Vec::new();
    if !bound.is_empty() {
        let processes = everybody()?;
        holders.extend(bound.iter().map(|b| holder(b, &processes)));
    }
    for port in ports {
        let known = |transport| holders.iter().any(|h: &PortHolder| h.port == *port && h.transport == transport);
        let untried: Vec<_> = [Transport::Tcp, Transport::Udp].into_iter().filter(|t| !known(*t)).collect();
        for transport in untried {
            if !can_bind(*port, transport)? {
                let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                holders.push(PortHolder { port: *port, transport, address, pid: None, name: None });
            }
        }
    }
    Ok(holders)
}

struct Bound {
    transport: Transport,
    at: SocketAddr,
    inode: u64,
}

/// Sockets that listen or receive on one of `ports`.
fn bound(ports: &[u16]) -> io::Result<Vec<Bound>> {
    let mut all = Vec::new();
    for table in [procfs::net::tcp(), procfs::net::tcp6()] {
        let listening = existing(table)?.into_iter().filter(|e| e.state == TcpState::Listen);
        all.extend(listening.map(|e| Bound { transport: Transport::Tcp, at: e.local_address, inode: e.inode }));
    }
    for table in [procfs::net::udp(), procfs::net::udp6()] {
        // A socket with a peer is somebody's client, not a server.
        let open = existing(table)?.into_iter().filter(|e| e.remote_address.port() == 0);
        all.extend(open.map(|e| Bound { transport: Transport::Udp, at: e.local_address, inode: e.inode }));
    }
    all.retain(|b| ports.contains(&b.at.port()));
    Ok(all)
}

/// A machine without IPv6 has no such tables.
fn existing<T>(table: Result<Vec<T>, ProcError>) -> io::Result<Vec<T>> {
    match table {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        other => other.map_err(io::Error::other),
    }
}

fn everybody() -> io::Result<Vec<Process>> {
    // Processes end while one looks: those are left out.
    Ok(procfs::process::all_processes().map_err(io::Error::other)?.filter_map(Result::ok).collect())
}

/// `root` and all its descendants.
fn tree(root: i32) -> io::Result<Vec<Process>> {
    let mut rest: Vec<(i32, Process)> =
        everybody()?.into_iter().filter_map(|p| p.stat().ok().map(|s| (s.ppid, p))).collect();
    let mut members: HashSet<i32> = HashSet::from([root]);
    let mut tree = Vec::new();
    loop {
        let belongs = |(parent, p): &(i32, Process)| p.pid == root || members.contains(parent);
        let (found, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(belongs);
        if found.is_empty() {
            return Ok(tree);
        }
        members.extend(found.iter().map(|(_, p)| p.pid));
        tree.extend(found.into_iter().map(|(_, p)| p));
        rest = others;
    }
}

/// Socket inodes these processes have open. One that may not be looked into is an error: it could hold anything.
fn socket_inodes(processes: &[Process]) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for process in processes {
        match sockets(process) {
            Ok(found) => inodes.extend(found),
            Err(ProcError::NotFound(_)) => {}
            Err(e) => return Err(io::Error::other(format!("cannot see the sockets of process {}: {e}", process.pid))),
        }
    }
    Ok(inodes)
}

fn sockets(process: &Process) -> Result<Vec<u64>, ProcError> {
    let targets = process.fd()?.filter_map(Result::ok).map(|fd| fd.target);
    Ok(targets.filter_map(|t| if let FDTarget::Socket(inode) = t { Some(inode) } else { None }).collect())
}

fn holder(bound: &Bound, processes: &[Process]) -> PortHolder {
    let owns = |p: &&Process| sockets(p).is_ok_and(|inodes| inodes.contains(&bound.inode));
    let owner = processes.iter().find(owns);
    PortHolder {
        port: bound.at.port(),
        transport: bound.transport,
        address: bound.at.ip(),
        pid: owner.map(|p| p.pid),
        name: owner.and_then(|p| p.stat().ok()).map(|s| s.comm),
    }
}

fn can_bind(port: u16, transport: Transport) -> io::Result<bool> {
    let kind = if transport == Transport::Tcp { SockType::Stream } else { SockType::Datagram };
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if transport == Transport::Tcp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    match bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))) {
        Err(Errno::EADDRINUSE) => Ok(false),
        // A port this account may not use is not taken.
        Ok(()) | Err(Errno::EACCES | Errno::EPERM) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    /// tcpmux: nobody's, and never given to whoever asks for any port.
    const FREE: u16 = 1;

    fn this_process() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_listener_is_seen_with_its_owner_until_it_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(missing_ports(PortOwner::Anybody, &[port, FREE]).unwrap(), [FREE]);
        assert_eq!(missing_ports(PortOwner::Tree(this_process()), &[port]).unwrap(), [0; 0]);
        let holders = port_holders(&[port]).unwrap();
        assert_eq!(
            (holders[0].port, holders[0].transport, holders[0].pid),
            (port, Transport::Tcp, Some(this_process()))
        );
        assert!(holders[0].to_string().contains(&format!("(pid {})", this_process())), "{}", holders[0]);
        drop(listener);
        // Others may have been given it since.
        assert!(port_holders(&[port]).unwrap().iter().all(|holder| holder.pid != Some(this_process())));
    }

    #[test]
    fn a_udp_socket_counts_and_ipv6_too() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        assert!(missing_ports(PortOwner::Anybody, &[port]).unwrap().is_empty());
        assert_eq!(port_holders(&[port]).unwrap()[0].transport, Transport::Udp);
        let Ok(six) = TcpListener::bind("[::1]:0") else { return };
        let port = six.local_addr().unwrap().port();
        assert_eq!(port_holders(&[port]).unwrap()[0].address, six.local_addr().unwrap().ip());
    }

    #[test]
    fn a_port_of_another_tree_does_not_count() {
        let script = "import socket,sys\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen()\n\
            print(s.getsockname()[1],flush=True);sys.stdin.read()";
        let mut child = std::process::Command::new("sh")
            .args(["-c", "python3 -c \"$0\"; true", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Held by a grandchild of the tree's root.
        assert!(missing_ports(PortOwner::Tree(pid), &[port]).unwrap().is_empty());
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = ours.local_addr().unwrap().port();
        assert_eq!(missing_ports(PortOwner::Tree(pid), &[own]).unwrap(), [own]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(missing_ports(PortOwner::Tree(pid), &[port]).unwrap(), [port]);
    }

    #[test]
    fn a_connection_that_is_still_dying_is_no_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The server closes first: its side waits in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        assert_eq!(port_holders(&[port]).unwrap(), []);
        // And looking leaves nothing that a server would stumble over.
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
