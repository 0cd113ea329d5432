//! How much memory this container may use.
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The least of the machine's memory and of all cgroup limits above this process; `None` if nothing says anything.
/// `machine` holds `proc` and `sys`.
pub fn memory_limit(machine: &Path) -> Option<u64> {
    total(machine).into_iter().chain(cgroup_limits(machine)).min()
}

/// In a container lxcfs already writes the container's share here.
fn total(machine: &Path) -> Option<u64> {
    let text = fs::read_to_string(machine.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn cgroup_limits(machine: &Path) -> Vec<u64> {
    let text = fs::read_to_string(machine.join("proc/self/cgroup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| places(machine, line))
        .flat_map(|(base, group, file)| upwards(&base, &group, file))
        .collect()
}

/// A line of /proc/self/cgroup: `0::/group` (v2) or `4:memory:/group` (v1).
fn places(machine: &Path, line: &str) -> Option<(PathBuf, String, &'static str)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let sys = machine.join("sys/fs/cgroup");
    if number == "0" && controllers.is_empty() {
        return Some((sys, group.to_owned(), "memory.max"));
    }
    let memory = controllers.split(',').any(|name| name == "memory");
    memory.then(|| (sys.join("memory"), group.to_owned(), "memory.limit_in_bytes"))
}

/// The limits of a group and of all above it. A group that is not visible from in here is skipped.
fn upwards(base: &Path, group: &str, file: &str) -> Vec<u64> {
    let relative = group.trim_start_matches('/');
    if relative.split('/').any(|name| name == "..") {
        return read(&base.join(file)).into_iter().collect();
    }
    let deepest = base.join(relative);
    deepest
        .ancestors()
        .take_while(|folder| folder.starts_with(base))
        .filter_map(|folder| read(&folder.join(file)))
        .collect()
}

/// `max` and v1's huge number mean no limit.
fn read(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and content.
    type Files<'a> = &'a [(&'a str, &'a str)];

    fn machine(files: Files<'_>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_least_limit_counts() {
        let meminfo = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:       4096 kB\n");
        let rows: [(Files<'_>, Option<u64>); 5] = [
            (&[meminfo], Some(4 << 20)),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "max"),
                    ("sys/fs/cgroup/a/memory.max", "1048576\n"),
                ],
                Some(1 << 20),
            ),
            (
                &[
                    ("proc/self/cgroup", "4:cpu,memory:/x\n0::/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
                    ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2097152"),
                ],
                Some(2 << 20),
            ),
            (&[meminfo, ("proc/self/cgroup", "0::/../../x\n"), ("sys/fs/cgroup/memory.max", "7")], Some(7)),
            (&[], None),
        ];
        for (files, expected) in rows {
            assert_eq!(memory_limit(machine(files).path()), expected, "{files:?}");
        }
    }
}
