//! Named points at which a test can end or stop the agent (docs/adr/0006). Nothing is left of them without the feature.
//!
//! `ZLH_FAIL=<point>[:<action>][@<n>]`, several divided by commas. When a point is reached for the n-th time (default:
//! the first), the agent is ended by SIGKILL (`kill9`, the default) or stopped by SIGSTOP (`stop`). The keeper has points
//! of its own, named `keeper.…` and `child.…`; those are passed on to every keeper that this agent starts.

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_point: &str) {}

/// What goes into the environment of keepers.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn for_keepers() -> Vec<(String, String)> {
    Vec::new()
}

#[cfg(feature = "failpoints")]
pub use armed::{for_keepers, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use nix::sys::signal::{Signal, raise};
    use std::{
        ffi::CStr,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    struct Armed {
        point: String,
        signal: Signal,
        /// Times it is still to be reached; 0: it has struck.
        left: AtomicU32,
    }

    pub fn reach(point: &str) {
        static PLAN: OnceLock<Vec<Armed>> = OnceLock::new();
        let plan = PLAN.get_or_init(|| words().iter().map(|word| read(word)).collect());
        for armed in plan.iter().filter(|armed| armed.point == point) {
            let before = armed.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if before == Ok(1) {
                // Fails only for signals that do not exist.
                let _ = raise(armed.signal);
            }
        }
    }

    pub fn for_keepers() -> Vec<(String, String)> {
        let theirs = |word: &String| word.starts_with("keeper.") || word.starts_with("child.");
        words().into_iter().find(theirs).map(|word| ("ZLH_FAIL".to_owned(), word)).into_iter().collect()
    }

    fn words() -> Vec<String> {
        // SAFETY: the agent never changes its environment; the string lives as long as the process.
        let text = unsafe {
            let value = libc::getenv(c"ZLH_FAIL".as_ptr());
            if value.is_null() {
                return Vec::new();
            }
            CStr::from_ptr(value).to_string_lossy()
        };
        text.split(',').map(str::to_owned).collect()
    }

    fn read(word: &str) -> Armed {
        let (word, nth) = word.split_once('@').unwrap_or((word, "1"));
        let (point, action) = word.split_once(':').unwrap_or((word, "kill9"));
        let signal = if action == "stop" { Signal::SIGSTOP } else { Signal::SIGKILL };
        Armed { point: point.to_owned(), signal, left: AtomicU32::new(nth.parse().unwrap_or(1)) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_word_names_point_action_and_turn() {
            for (word, point, signal, left) in [
                ("agent.a", "agent.a", Signal::SIGKILL, 1),
                ("agent.a:stop", "agent.a", Signal::SIGSTOP, 1),
                ("agent.a@3", "agent.a", Signal::SIGKILL, 3),
                ("agent.a:kill9@2", "agent.a", Signal::SIGKILL, 2),
            ] {
                let armed = read(word);
                assert_eq!((armed.point.as_str(), armed.signal, armed.left.into_inner()), (point, signal, left));
            }
        }
    }
}
