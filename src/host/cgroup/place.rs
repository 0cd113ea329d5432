//! Where this process sits in the cgroup hierarchies: `/proc/self/cgroup` says which group, `mountinfo` says where it is.
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Name of the subgroup the agent moves into, so that its own group may hand controllers down (the kernel allows that
/// only for a group without processes of its own).
pub(super) const AGENT_GROUP: &str = "zlh-agent";

/// Folders of the groups this process is in, under which workload groups are made. `None`: no such hierarchy here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The v2 hierarchy; on a hybrid machine one without the controllers that v1 holds.
    pub unified: Option<PathBuf>,
    pub memory_v1: Option<PathBuf>,
    pub pids_v1: Option<PathBuf>,
    pub cpuacct_v1: Option<PathBuf>,
}

impl Places {
    pub fn of_this_process() -> io::Result<Places> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Places::parse(&groups, &mounts))
    }

    /// `pure v2`, `v1`, `hybrid` or `none`: for a person.
    pub fn kind(&self) -> &'static str {
        match (&self.unified, &self.memory_v1, &self.pids_v1) {
            (Some(_), None, None) => "v2",
            (Some(_), ..) => "hybrid",
            (None, None, None) => "none",
            (None, ..) => "v1",
        }
    }

    fn parse(groups: &str, mounts: &str) -> Places {
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
        let of = |controller: &str| {
            let mount = mounts.iter().find(|m| m.serves(controller))?;
            mount.folder_of(group_of(groups, controller)?)
        };
        Places {
            unified: of("").map(leave_agent_group),
            memory_v1: of("memory"),
            pids_v1: of("pids"),
            cpuacct_v1: of("cpuacct"),
        }
    }
}

/// A restarted agent is already in its subgroup: workloads belong beside it, not below.
fn leave_agent_group(folder: PathBuf) -> PathBuf {
    match (folder.file_name(), folder.parent()) {
        (Some(name), Some(parent)) if name == AGENT_GROUP => parent.to_owned(),
        _ => folder,
    }
}

/// The path in the line `id:controllers:path`; the v2 line has no controllers.
fn group_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        parts.next()?.split(',').any(|c| c == controller).then(|| parts.next())?
    })
}

/// One cgroup mount.
struct Mount {
    /// Which group of the hierarchy is seen at `point`.
    root: PathBuf,
    point: PathBuf,
    /// Controllers of a v1 mount; `None` for v2.
    controllers: Option<Vec<String>>,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (unescape(place.next()?), unescape(place.next()?));
        let mut file_system = file_system.split(' ');
        let controllers = match file_system.next()? {
            "cgroup2" => None,
            "cgroup" => Some(file_system.nth(1)?.split(',').map(String::from).collect()),
            _ => return None,
        };
        Some(Mount { root, point, controllers })
    }

    fn serves(&self, controller: &str) -> bool {
        match &self.controllers {
            None => controller.is_empty(),
            Some(list) => list.iter().any(|c| c == controller),
        }
    }

    /// `None` for a group outside what this mount (or this cgroup namespace) shows.
    fn folder_of(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        let plain = below.components().all(|c| matches!(c, Component::Normal(_)));
        plain.then(|| if below.as_os_str().is_empty() { self.point.clone() } else { self.point.join(below) })
    }
}

/// mountinfo writes blanks as `\040`.
fn unescape(text: &str) -> PathBuf {
    PathBuf::from(text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }

    #[test]
    fn a_v2_service_finds_its_own_folder_and_leaves_its_subgroup() {
        let mounts = "25 20 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        for group in ["/system.slice/zlh.service", "/system.slice/zlh.service/zlh-agent"] {
            let places = Places::parse(&format!("0::{group}\n"), mounts);
            assert_eq!(places.unified, path("/sys/fs/cgroup/system.slice/zlh.service"));
            assert_eq!((places.kind(), places.memory_v1), ("v2", None));
        }
    }

    #[test]
    fn a_hybrid_machine_has_both() {
        let groups = "8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/u\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let want = Places {
            unified: path("/sys/fs/cgroup/unified/u"),
            memory_v1: path("/sys/fs/cgroup/memory/a/b"),
            pids_v1: path("/sys/fs/cgroup/pids"),
            cpuacct_v1: path("/sys/fs/cgroup/cpu,cpuacct"),
        };
        assert_eq!(Places::parse(groups, mounts), want);
        assert_eq!(want.kind(), "hybrid");
    }

    #[test]
    fn a_container_that_sees_only_its_part_of_the_tree() {
        let groups = "4:memory:/docker/abc/inner\n0::/../outside\n";
        let mounts = "1 2 0:1 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            1 2 0:2 / /with\\040blank rw - cgroup2 cgroup2 rw\n";
        let places = Places::parse(groups, mounts);
        assert_eq!(places.memory_v1, path("/sys/fs/cgroup/memory/inner"));
        assert_eq!(places.unified, None, "outside of the namespace");
        assert_eq!(Places::parse("0::/a\n", mounts).unified, path("/with blank/a"));
        assert_eq!(Places::parse("garbage\n:\n", "x - y\n"), Places::default());
    }
}
