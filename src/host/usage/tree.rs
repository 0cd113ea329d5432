//! Memory and CPU time of a process and its descendants, by one pass over /proc.
use super::counters::read_into;
use nix::unistd::{SysconfVar, sysconf};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

#[derive(Debug, Default)]
pub struct Tree {
    processes: Vec<Process>,
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
    pub fn measure(&mut self, root: i32, buffer: &mut Vec<u8>) -> (u64, Duration) {
        self.read_all(buffer);
        let members = self.members(root);
        let (mut pages, mut ticks) = (0u64, 0u64);
        for process in self.processes.iter().filter(|p| members.contains(&p.pid)) {
            pages += process.resident_pages;
            ticks += process.ticks;
        }
        (pages * constant(SysconfVar::PAGE_SIZE, 4096), ticks_to_time(ticks))
    }

    fn read_all(&mut self, buffer: &mut Vec<u8>) {
        self.processes.clear();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process may end between the listing and the reading.
            if read_into(Path::new(&format!("/proc/{pid}/stat")), buffer).is_ok() {
                self.processes.extend(parse(pid, &String::from_utf8_lossy(buffer)));
            }
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
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    let ticks: i64 = [14, 15, 16, 17].into_iter().filter_map(number).sum();
    Some(Process {
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        ticks: u64::try_from(ticks).unwrap_or(0),
        resident_pages: u64::try_from(number(24)?).unwrap_or(0),
    })
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
