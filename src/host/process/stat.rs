//! `/proc/<pid>/stat`, parsed from its last `)`: the program's name before it may contain anything.
use std::{fs, io};

/// The fields supervision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Device of its controlling terminal, as `st_rdev` names it; 0 = none.
    pub terminal: u64,
    /// Ticks after boot at which the process started.
    pub start_ticks: u64,
}

impl Stat {
    /// `None` if no process has this pid.
    pub fn read(pid: i32) -> io::Result<Option<Stat>> {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => Stat::parse(&text).map(Some).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not understood"))
            }),
            // A process that ends between open and read answers ESRCH.
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn parse(text: &[u8]) -> Option<Stat> {
        let pid = text.iter().position(|b| *b == b' ').and_then(|end| number(&text[..end]))?;
        let after_name = text.iter().rposition(|b| *b == b')')? + 2;
        let rest: Vec<&[u8]> = text.get(after_name..)?.split(|b| b.is_ascii_whitespace()).collect();
        Some(Stat {
            pid,
            state: rest.first()?.first().copied()? as char,
            parent: number(rest.get(1)?)?,
            group: number(rest.get(2)?)?,
            session: number(rest.get(3)?)?,
            terminal: number::<i32>(rest.get(4)?)?.cast_unsigned().into(),
            start_ticks: number(rest.get(19)?)?,
        })
    }

    /// Ended, waiting for its parent to ask.
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z' || self.state == 'X'
    }
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(name: &[u8], start: u64) -> Vec<u8> {
        let mut text = b"4242 (".to_vec();
        text.extend_from_slice(name);
        text.extend_from_slice(format!(") S 7 4242 4240 34816 9 0 1 2 3 4 5 6 7 8 20 0 1 0 {start} 99 1\n").as_bytes());
        text
    }

    proptest! {
        #[test]
        fn no_name_can_forge_the_other_fields(name in prop::collection::vec(any::<u8>(), 0..16), start: u64) {
            let stat = Stat::parse(&line(&name, start)).unwrap();
            let want = Stat { pid: 4242, state: 'S', parent: 7, group: 4242, session: 4240, terminal: 34816, start_ticks: start };
            prop_assert_eq!(stat, want);
        }

        #[test]
        fn garbage_never_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&text);
        }
    }

    #[test]
    fn a_name_that_looks_like_fields_is_a_name() {
        assert_eq!(Stat::parse(&line(b") R 1 1 1 ) (", 5)).unwrap().parent, 7);
        assert_eq!(Stat::parse(b"1 (init"), None);
    }

    #[test]
    fn this_process_can_be_read_and_a_free_pid_is_none() {
        let me = Stat::read(std::process::id() as i32).unwrap().unwrap();
        assert_eq!(me.pid, std::process::id() as i32);
        assert_eq!(Stat::read(0x7fff_fff0).unwrap(), None);
    }
}
