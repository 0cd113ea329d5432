//! Facts about this machine that only the doctor asks for. Everything is tried for real where that leaves no trace.
use super::{
    accounts,
    cgroup::{Limits, Places, WorkloadCgroup},
    clock, machine,
    probe::{Transport, port_holders},
    process::{Identity, descendants},
};
use crate::model::doctor::{AccountFacts, CgroupFacts, ClockFacts, DiskFacts, FileFacts, KernelFacts, PortFacts};
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag},
    sys::resource::{Resource, getrlimit},
    unistd::geteuid,
};
use std::{
    fs, io,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
};

/// Limits a probing group is given: far above what it needs, it stays empty.
const PROBE: Limits = Limits { memory_bytes: Some(64 << 20), processes: Some(64), piecemeal: false };

/// Makes a cgroup as a launch would, looks what works in it, and removes it.
pub fn cgroup() -> CgroupFacts {
    let places = Places::of_this_process().unwrap_or_default();
    let group = WorkloadCgroup::prepare(&places, &format!("doctor-{}", std::process::id()), PROBE);
    let warned = |code: &str| group.warnings().iter().any(|w| w.code == code);
    let facts = CgroupFacts {
        kind: places.kind().to_owned(),
        place: group.describe(),
        memory: group.figures().memory_limit_bytes == PROBE.memory_bytes,
        processes: !warned("cgroup_pids_unavailable"),
        kill: group.kill_file().is_some(),
        oom_counter: group.figures().oom_kills.is_some(),
        warnings: group.warnings().to_vec(),
    };
    if !group.remove() {
        tracing::warn!(group = group.describe(), "the doctor's own cgroup could not be removed");
    }
    facts
}

/// Memory this container may use: the smallest limit of the groups above us, or all of the machine's.
pub fn memory_bytes() -> Option<u64> {
    let total = fs::read_to_string("/proc/meminfo").ok()?;
    let line = total.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let total = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    let places = Places::of_this_process().unwrap_or_default();
    let files = [(&places.unified, "memory.max"), (&places.memory_v1, "memory.limit_in_bytes")];
    let limits = files.iter().filter_map(|(folder, file)| Some(limits_above(folder.as_deref()?, file)));
    limits.flatten().chain([total]).min()
}

fn limits_above(folder: &Path, file: &str) -> Vec<u64> {
    let number = |f: &Path| fs::read_to_string(f.join(file)).ok()?.trim().parse().ok();
    folder.ancestors().take_while(|f| f.starts_with("/sys/fs/cgroup")).filter_map(number).collect()
}

/// Space where servers lie, or would: the nearest folder that exists.
pub fn disk(wanted: &Path) -> Result<DiskFacts, String> {
    let path = wanted.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/"));
    let space = nix::sys::statvfs::statvfs(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let block = space.fragment_size();
    Ok(DiskFacts {
        path: path.to_owned(),
        free_bytes: block * space.blocks_available(),
        total_bytes: block * space.blocks(),
        free_inodes: space.files_available(),
        total_inodes: space.files(),
    })
}

/// Who holds any of these ports (number and purpose). `workload`: pid of the main process, if it runs.
pub fn ports(wanted: &[(u16, &str)], workload: Option<i32>) -> Result<Vec<PortFacts>, String> {
    let numbers: Vec<u16> = wanted.iter().map(|(port, _)| *port).collect();
    let held = port_holders(&numbers).map_err(|e| e.to_string())?;
    let family = match workload {
        Some(pid) => family(pid).map_err(|e| e.to_string())?,
        None => Vec::new(),
    };
    let fact = |h: super::probe::PortHolder| PortFacts {
        port: h.port,
        transport: if h.transport == Transport::Tcp { "TCP" } else { "UDP" }.to_owned(),
        pid: h.pid,
        ours: h.pid.is_some_and(|pid| family.contains(&pid)),
        name: h.name,
        purpose: wanted.iter().find(|(port, _)| *port == h.port).map(|(_, why)| (*why).to_owned()).unwrap_or_default(),
    };
    Ok(held.into_iter().map(fact).collect())
}

/// A process and all its descendants; nobody if it is gone.
fn family(pid: i32) -> io::Result<Vec<i32>> {
    let Some(head) = Identity::of(pid)? else { return Ok(Vec::new()) };
    Ok(descendants(&head).iter().map(|d| d.pid).chain([pid]).collect())
}

/// The server's clock is for the caller to add.
pub fn clock() -> ClockFacts {
    ClockFacts {
        wall_ms: clock::wall_time().0,
        boot: clock::boot_time().0,
        timezone: machine::timezone(Path::new("/")),
        ahead_of_server: None,
    }
}

pub fn file(path: &Path) -> FileFacts {
    let about = match fs::metadata(path) {
        Ok(about) if about.is_file() => Ok((about.permissions().mode() & 0o777, about.uid())),
        Ok(_) => Err("not a file".into()),
        Err(e) => Err(e.to_string()),
    };
    FileFacts { path: path.to_owned(), about }
}

pub fn account(name: &str) -> AccountFacts {
    let exists = accounts::look_up(name).is_ok_and(|account| account.is_some());
    AccountFacts { name: name.to_owned(), exists, root: geteuid().is_root() }
}

/// Opens a pseudo-terminal and closes it again.
pub fn terminal() -> Result<(), String> {
    nix::pty::openpty(None, None).map(drop).map_err(|e| format!("no pseudo-terminal can be opened: {e}"))
}

/// Makes a folder under /run and removes it again.
pub fn run() -> Result<(), String> {
    let folder = format!("/run/zlh-doctor-{}", std::process::id());
    let done = fs::create_dir(&folder).and_then(|()| fs::remove_dir(&folder));
    done.map_err(|e| format!("{folder}: {e}"))
}

pub fn kernel() -> KernelFacts {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    KernelFacts { pidfd: has_pidfd(), openat2: has_openat2(), pidfd_exit_info: version(&release) >= (6, 15), release }
}

/// A seccomp profile may forbid what the kernel has, so it is tried.
fn has_pidfd() -> bool {
    // SAFETY: opens a descriptor for this very process; no memory is passed.
    let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, std::process::id(), 0) };
    let Ok(fd) = i32::try_from(fd) else { return false };
    if fd < 0 {
        return false;
    }
    // SAFETY: the descriptor is new and nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}

fn has_openat2() -> bool {
    let Ok(root) = fs::File::open("/") else { return false };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
    nix::fcntl::openat2(root, "proc", how).is_ok()
}

/// Major and minor of `6.18.44-fc`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Soft and hard limit.
pub fn open_files() -> Result<(u64, u64), String> {
    getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| e.to_string())
}

/// Name of process 1.
pub fn init() -> Option<String> {
    let name = fs::read_to_string("/proc/1/comm").ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        for (release, found) in [("6.18.44-fc-v657", (6, 18)), ("5.3", (5, 3)), ("6", (6, 0)), ("", (0, 0))] {
            assert_eq!(version(release), found, "{release}");
        }
    }

    #[test]
    fn this_machine_has_a_disk_a_clock_and_a_terminal() {
        let here = disk(Path::new("/no/such/folder")).unwrap();
        assert_eq!(here.path, Path::new("/"));
        assert!(here.total_bytes >= here.free_bytes && here.total_bytes > 0);
        assert!(!clock().boot.is_zero());
        assert_eq!(terminal(), Ok(()));
        assert!(memory_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn a_held_port_is_told_with_its_holder() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = i32::try_from(std::process::id()).unwrap();
        let held = ports(&[(port, "game")], Some(me)).unwrap();
        let tcp = held.iter().find(|h| h.transport == "TCP").unwrap();
        assert_eq!((tcp.port, tcp.pid, tcp.ours, tcp.purpose.as_str()), (port, Some(me), true, "game"));
        assert!(!ports(&[(port, "game")], None).unwrap()[0].ours);
    }

    #[test]
    fn root_has_an_account_everywhere() {
        assert!(account("root").exists);
        assert!(!account("no-such-account").exists);
    }

    #[test]
    fn a_probing_cgroup_leaves_no_trace() {
        let facts = cgroup();
        let folder = format!("zlh-doctor-{}", std::process::id());
        for place in facts.place.split(", ").filter(|p| p.contains(&folder)) {
            assert!(!Path::new(place).exists(), "{place} was left behind");
        }
    }
}
