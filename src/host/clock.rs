//! The machine's clocks: boot time decides, wall time is shown, the boot id tells two boots apart.
use crate::model::time::{BootTime, WallTime};
use nix::time::ClockId;
use std::{fmt, fs, io, time::Duration};

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Time since boot, suspend included (CLOCK_BOOTTIME).
pub fn boot_time() -> BootTime {
    BootTime(read(ClockId::CLOCK_BOOTTIME))
}

/// Unix time in milliseconds. For people; never compare it to decide.
pub fn wall_time() -> WallTime {
    WallTime(i64::try_from(read(ClockId::CLOCK_REALTIME).as_millis()).unwrap_or(i64::MAX))
}

/// Neither clock can fail on a kernel that has pidfds.
fn read(clock: ClockId) -> Duration {
    clock.now().map(Duration::from).unwrap_or_default()
}

/// Identifies one boot of the kernel. Containers share it with their host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    pub fn current() -> io::Result<BootId> {
        let text = fs::read_to_string(BOOT_ID_FILE)?;
        BootId::parse(&text).ok_or_else(|| io::Error::other(format!("{BOOT_ID_FILE} does not hold a UUID: {text:?}")))
    }

    fn parse(text: &str) -> Option<BootId> {
        uuid::Uuid::parse_str(text.trim()).ok().map(|u| BootId(u.into_bytes()))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_the_sixteen_bytes_of_its_text() {
        let id = BootId::parse("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(id.0[..3], [0x00, 0x11, 0x22]);
        assert_eq!(id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(BootId::parse("not a uuid"), None);
        assert_eq!(BootId::current().unwrap(), BootId::current().unwrap());
    }

    #[test]
    fn boot_time_moves_forward_and_wall_time_is_of_this_century() {
        let before = boot_time();
        assert!(before.0 > Duration::ZERO && boot_time() >= before);
        assert!(wall_time().0 > 1_700_000_000_000);
    }
}
