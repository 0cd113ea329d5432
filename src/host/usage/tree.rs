//! Memory and CPU time of a process and its descendants, by one pass over /proc.
use nix::unistd::{SysconfVar, sysconf};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    time::Duration,
};

#[derive(Debug)]
pub struct Tree {
    processes: Vec<Process>,
    /// A line of numbers and one short name fits in, so one read is enough.
    line: [u8; 1024],
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { processes: Vec::new(), line: [0; 1024] }
    }
}

#[derive(Debug, PartialEq)]
struct Process {
    pid: i32,
    parent: i32,
    ticks: u64,
    resident_pages: u64,
}

impl Tree {
    /// Pages shared within the tree count more than once. Time of children that were waited for is included.
    pub fn measure(&mut self, root: i32) -> (u64, Duration) {
        self.read_all();
        let members = self.members(root);
        let (mut pages, mut ticks) = (0u64, 0u64);
        for process in self.processes.iter().filter(|p| members.contains(&p.pid)) {
            pages += process.resident_pages;
            ticks += process.ticks;
        }
        (pages * constant(SysconfVar::PAGE_SIZE, 4096), ticks_to_time(ticks))
    }

    fn read_all(&mut self) {
        self.processes.clear();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process may end between the listing and the reading.
            let line = File::open(entry.path().join("stat")).and_then(|mut file| file.read(&mut self.line));
            let line = line.ok().map(|count| String::from_utf8_lossy(&self.line[..count]));
            self.processes.extend(line.and_then(|line| parse(pid, &line)));
        }
    }

    fn members(&self, root: i32) -> BTreeSet<i32> {
        let mut members = BTreeSet::from([root]);
        loop {
            let before = members.len();
            let children = self.processes.iter().filter(|p| members.contains(&p.parent)).map(|p| p.pid);
            let children: Vec<i32> = children.collect();
            members.extend(children);
            if members.len() == before {
                return members;
            }
        }
    }
}

/// proc_pid_stat(5). The name in parentheses may itself hold parentheses and spaces: count from the last one.
fn parse(pid: i32, text: &str) -> Option<Process> {
    let mut process = Process { pid, parent: 0, ticks: 0, resident_pages: 0 };
    for (field, value) in (3..=24).zip(text.rsplit_once(')')?.1.split_ascii_whitespace()) {
        match field {
            4 => process.parent = value.parse().ok()?,
            14..=17 => process.ticks += value.parse::<u64>().unwrap_or(0),
            24 => {
                process.resident_pages = value.parse().unwrap_or(0);
                return Some(process);
            }
            _ => {}
        }
    }
    None
}

fn constant(name: SysconfVar, otherwise: u64) -> u64 {
    sysconf(name).ok().flatten().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(otherwise)
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / constant(SysconfVar::CLK_TCK, 100) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) (b c) S 3 7 7 0 -1 0 0 0 0 0 10 20 1 2 20 0 1 0 5 1000 42 0 0";
        assert_eq!(parse(7, text), Some(Process { pid: 7, parent: 3, ticks: 33, resident_pages: 42 }));
        assert_eq!(parse(7, "7 (x) S"), None);
        assert_eq!(parse(7, ""), None);
    }
}
