//! Who uses a tree right now: executes or maps its files, stands in it, or holds them open. Looked up before it is removed.
//!
//! Processes of other accounts hide this from those who are not root (`hidepid`, ptrace rules): they are counted, so that
//! nobody takes "nobody was seen" for "nobody is there".
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes of one `maps` file that are read: a JVM has thousands of lines.
const MOST_MAPS: u64 = 8 << 20;
/// Users that are told; one is enough to say no.
const MOST_TOLD: usize = 50;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Executes,
    Maps,
    StandsIn,
    HoldsOpen,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub pid: i32,
    /// As the kernel knows it, 15 bytes at most.
    pub name: String,
    pub how: How,
    /// What of the tree it uses.
    pub path: PathBuf,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// At most 50, by pid.
    pub seen: Vec<InUse>,
    /// Processes that this account may not look into; at least 1 if there are some that it does not even see.
    pub hidden: u64,
}

/// Looks at every process but this one. Blocking.
pub fn users_of(tree: &Path) -> io::Result<Users> {
    let tree = match fs::canonicalize(tree) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Users::default()),
        other => other?,
    };
    let own = std::process::id() as i32;
    // With hidepid=2 the processes of others are not even listed; process 1 is always there.
    let unlisted = u64::from(!Path::new("/proc/1").exists());
    let mut users = Users { hidden: unlisted, ..Users::default() };
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == own || users.seen.len() >= MOST_TOLD {
            continue;
        }
        match use_by(pid, &tree) {
            Ok(Some((how, path))) => users.seen.push(InUse { pid, name: name(pid), how, path }),
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => users.hidden += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    users.seen.sort_by_key(|user| user.pid);
    Ok(users)
}

fn use_by(pid: i32, tree: &Path) -> io::Result<Option<(How, PathBuf)>> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let inside = |path: PathBuf| path.starts_with(tree).then_some(path);
    // Kernel threads have no program.
    if let Some(path) = absent(fs::read_link(proc.join("exe")))?.and_then(inside) {
        return Ok(Some((How::Executes, path)));
    }
    if let Some(path) = mapped(&proc.join("maps"), tree)? {
        return Ok(Some((How::Maps, path)));
    }
    if let Some(path) = absent(fs::read_link(proc.join("cwd")))?.and_then(inside) {
        return Ok(Some((How::StandsIn, path)));
    }
    for file in fs::read_dir(proc.join("fd"))?.flatten() {
        if let Some(path) = absent(fs::read_link(file.path()))?.and_then(inside) {
            return Ok(Some((How::HoldsOpen, path)));
        }
    }
    Ok(None)
}

/// A line is `address perms offset device inode   /path`; the path may hold blanks.
fn mapped(maps: &Path, tree: &Path) -> io::Result<Option<PathBuf>> {
    use io::Read;
    let mut text = Vec::new();
    fs::File::open(maps)?.take(MOST_MAPS).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let paths = text.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    Ok(paths.into_iter().find(|path| path.starts_with(tree)).map(Path::to_owned))
}

fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

fn absent<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
