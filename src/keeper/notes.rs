//! What a successor keeper must know about the run it takes over, kept in the state page.
use super::{layout::NOTES_BYTES, protocol::Launch, state_file::StateFile};

/// Paths that came with the last launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub log_dir: Vec<u8>,
    pub log_bytes: u64,
    pub cgroup_kill: Option<Vec<u8>>,
    pub oom_counter: Option<Vec<u8>>,
    pub leave_rest: bool,
}

/// What stands in a path's place for [`Notes::leave_rest`].
const LEAVE: &[u8] = b"leave";

impl From<&Launch> for Notes {
    fn from(launch: &Launch) -> Notes {
        Notes {
            log_dir: launch.log_dir.clone(),
            log_bytes: launch.log_bytes,
            cgroup_kill: launch.cgroup_kill.clone(),
            oom_counter: launch.oom_counter.clone(),
            leave_rest: launch.leave_rest,
        }
    }
}

/// crc32, then `log_bytes`, then each path with its length; an absent path has none.
impl Notes {
    /// Paths that do not fit are left out: the successor then does without the disk log.
    pub fn save(&self, state: StateFile) {
        let mut body = [0u8; NOTES_BYTES - 4];
        body[..8].copy_from_slice(&self.log_bytes.to_le_bytes());
        let mut at = 8;
        let path = |path: &Option<Vec<u8>>| path.clone().unwrap_or_default();
        let leave = if self.leave_rest { LEAVE.to_vec() } else { Vec::new() };
        for path in [self.log_dir.clone(), path(&self.cgroup_kill), path(&self.oom_counter), leave] {
            let path = path.as_slice();
            let path = if at + 2 + path.len() <= body.len() - 4 { path } else { &[] };
            body[at..at + 2].copy_from_slice(&(path.len() as u16).to_le_bytes());
            body[at + 2..at + 2 + path.len()].copy_from_slice(path);
            at += 2 + path.len();
        }
        let mut out = [0u8; NOTES_BYTES];
        out[..4].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out[4..].copy_from_slice(&body);
        state.put_notes(&out);
    }

    /// `None` if there are none or they are damaged.
    pub fn load(state: StateFile) -> Option<Notes> {
        let raw = state.notes();
        let (checksum, body) = raw.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(body) {
            return None;
        }
        let (log_bytes, mut rest) = body.split_first_chunk::<8>()?;
        let mut path = || {
            let (len, tail) = rest.split_first_chunk::<2>()?;
            let (path, tail) = tail.split_at_checked(u16::from_le_bytes(*len).into())?;
            rest = tail;
            Some(path.to_vec())
        };
        let present = |p: Option<Vec<u8>>| p.filter(|p| !p.is_empty());
        Some(Notes {
            log_dir: path().unwrap_or_default(),
            log_bytes: u64::from_le_bytes(*log_bytes),
            cgroup_kill: present(path()),
            oom_counter: present(path()),
            leave_rest: path().is_some_and(|word| word == LEAVE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_and_too_long_paths_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(&dir.path().join("state")).unwrap();
        assert_eq!(Notes::load(state), None, "an empty page holds none");
        let notes = Notes {
            log_dir: b"/var/log/x".to_vec(),
            log_bytes: 9,
            cgroup_kill: None,
            oom_counter: Some(b"/o".to_vec()),
            leave_rest: true,
        };
        notes.save(state);
        assert_eq!(Notes::load(state), Some(notes.clone()));
        let long = Notes { cgroup_kill: Some(vec![b'k'; 2000]), ..notes.clone() };
        long.save(state);
        assert_eq!(Notes::load(state), Some(notes));
    }
}
