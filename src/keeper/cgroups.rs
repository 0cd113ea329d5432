//! Into the workload's cgroups without the wait.
//!
//! Writing to `cgroup.procs` moves a process, and to move one the kernel waits for all processors (an RCU grace period:
//! 8 to 16 ms if nobody did so just before), which would be most of the time a restart takes. A process that is *born*
//! in its group is not moved. v2 offers that (`CLONE_INTO_CGROUP`, clone3(2), Linux 5.7); in v1 a child is born where
//! its parent is, so on hybrid machines the keeper itself enters the v1 groups, once. It costs the workload's limit some
//! hundred KiB, and the OOM killer passes the keeper by (`oom_score_adj`). Where there is no v2 group, and so no other
//! way to tell the keeper from the workload, the child moves itself as ever.
//!
//! Each run is born in a group of its own, `run-<id>` below the workload's, where limits and counters stay. Some kernels
//! (6.14 and later) compare the kill counter of the birthplace with that of the parent's group, and kill whoever is born
//! where `cgroup.kill` was ever used.
use super::{
    launch::Failure,
    protocol::{Launch, LaunchStep},
};
use std::{
    ffi::{CString, OsStr, OsString},
    fs::{File, OpenOptions},
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::OpenOptionsExt,
        },
    },
    path::{Path, PathBuf},
};

const PROCS: &str = "cgroup.procs";

/// Where the keeper is, and where its runs are.
#[derive(Debug, Default)]
pub struct Groups {
    joined: Vec<Vec<u8>>,
    /// The workload's group, in which runs have theirs; known since the first launch.
    above: Option<PathBuf>,
    /// Groups of runs that were made and not yet removed: one, or two between two runs.
    homes: Vec<PathBuf>,
}

/// How a child gets into its groups.
pub struct Entrance {
    /// The v2 group it is born in.
    pub birthplace: Option<OwnedFd>,
    /// `cgroup.procs` files it writes itself into, if it was not born there.
    pub doors: Vec<CString>,
}

impl Groups {
    /// The way in for this launch; may move the keeper into v1 groups.
    pub fn entrance(&mut self, order: &Launch) -> Result<Entrance, Failure> {
        let Some((v2, v1)) = split(order) else { return on_foot(&order.cgroup_procs) };
        for procs in v1 {
            self.join(procs)?;
        }
        let home = self.settle(v2, order.run);
        let birthplace = home.as_ref().and_then(|home| {
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(home).ok()
        });
        let door = home.map_or_else(|| v2.clone(), |home| home.join(PROCS).into_os_string().into_vec());
        on_foot(&[door]).map(|way| Entrance { birthplace: birthplace.map(File::into), ..way })
    }

    /// Makes the run's own group, and clears away those of runs whose keeper died.
    fn settle(&mut self, v2: &[u8], run: u64) -> Option<PathBuf> {
        let above = folder(v2)?;
        if self.above.as_deref() != Some(above) {
            let old = std::fs::read_dir(above).into_iter().flatten().flatten();
            // A group that is not empty stays, and its processes are somebody else's business.
            old.filter(|e| e.file_name().as_bytes().starts_with(b"run-"))
                .for_each(|e| _ = std::fs::remove_dir(e.path()));
            self.above = Some(above.to_owned());
        }
        self.make_home(run)
    }

    /// The group of a run that is there already, or may follow. `None`: it cannot be made.
    pub fn make_home(&mut self, run: u64) -> Option<PathBuf> {
        let home = self.above.as_ref()?.join(format!("run-{run}"));
        if !self.homes.contains(&home) {
            std::fs::create_dir(&home).ok()?;
            self.homes.push(home.clone());
        }
        Some(home)
    }

    /// Nobody of any run but `but` is left.
    pub fn vacate(&mut self, but: Option<u64>) {
        let stays = but.map(|run| OsString::from(format!("run-{run}")));
        for home in self.homes.extract_if(.., |home| home.file_name() != stays.as_deref()) {
            // An empty group that stays costs nothing but its name, and the next keeper clears it away.
            _ = std::fs::remove_dir(home);
        }
    }

    fn join(&mut self, procs: &Vec<u8>) -> Result<(), Failure> {
        if self.joined.contains(procs) {
            return Ok(());
        }
        let entered = OpenOptions::new().write(true).open(OsStr::from_bytes(procs)).and_then(|mut f| f.write_all(b"0"));
        entered.map_err(Failure::at(LaunchStep::Cgroup))?;
        self.joined.push(procs.clone());
        Ok(())
    }
}

/// The v2 group's door and those of v1. The v2 group is the one that can be killed.
fn split(order: &Launch) -> Option<(&Vec<u8>, impl Iterator<Item = &Vec<u8>>)> {
    let killable = folder(order.cgroup_kill.as_ref()?)?;
    let at = order.cgroup_procs.iter().position(|procs| folder(procs) == Some(killable))?;
    let v1 = order.cgroup_procs.iter().enumerate().filter(move |(i, _)| *i != at).map(|(_, procs)| procs);
    Some((&order.cgroup_procs[at], v1))
}

fn folder(file: &[u8]) -> Option<&Path> {
    Path::new(OsStr::from_bytes(file)).parent()
}

fn on_foot(procs: &[Vec<u8>]) -> Result<Entrance, Failure> {
    let doors = procs.iter().map(|file| CString::new(file.as_slice())).collect::<Result<_, _>>();
    let doors = doors.map_err(|_| Failure { step: LaunchStep::Cgroup, errno: libc::EINVAL })?;
    Ok(Entrance { birthplace: None, doors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(procs: &[&str], kill: Option<&str>) -> Launch {
        Launch {
            cgroup_procs: procs.iter().map(|p| p.as_bytes().to_vec()).collect(),
            cgroup_kill: kill.map(|k| k.as_bytes().to_vec()),
            ..Launch::default()
        }
    }

    #[test]
    fn the_group_that_can_be_killed_is_the_birthplace() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for group in ["memory", "unified"] {
            std::fs::create_dir(path(group)).unwrap();
        }
        std::fs::write(path("memory/cgroup.procs"), "").unwrap();
        let doors = [path("memory/cgroup.procs"), path("unified/cgroup.procs")];
        let doors = doors.each_ref().map(String::as_str);
        let mut groups = Groups::default();
        std::fs::create_dir(path("unified/run-3")).unwrap();
        for run in 7..9 {
            let launch = Launch { run, ..order(&doors, Some(&path("unified/cgroup.kill"))) };
            let way = groups.entrance(&launch).unwrap();
            assert!(way.birthplace.is_some());
            let door = path(&format!("unified/run-{run}/cgroup.procs"));
            assert_eq!(way.doors, [CString::new(door).unwrap()], "should the birth there fail");
            groups.make_home(run + 1);
            groups.vacate(Some(run + 1));
        }
        groups.vacate(None);
        let left = std::fs::read_dir(path("unified")).unwrap().count();
        assert_eq!(left, 0, "neither those of these runs nor the one of a lost keeper");
        assert_eq!(std::fs::read(path("memory/cgroup.procs")).unwrap(), b"0", "once");
        let way = groups.entrance(&order(&doors, None)).unwrap();
        assert!(way.birthplace.is_none());
        assert_eq!(way.doors.len(), 2, "nobody could tell the keeper from the workload");
        let gone = path("gone/cgroup.procs");
        assert!(groups.entrance(&order(&[&gone, doors[1]], Some(&path("unified/cgroup.kill")))).is_err());
    }
}
