//! Settings of the artifact server: the environment (`ZLH_ARTIFACTS_…`) and `--set`; the folder and the address are flags.
use super::{
    Fault, Setting, Sources,
    loading::{Entry, Loading, Rules},
    table::settings,
    value::Slot,
};
use crate::model::settings::artifacts::ArtifactsSettings;
use std::time::Duration;

/// All sources together, or everything that is wrong with them.
pub fn load(sources: &Sources) -> Result<ArtifactsSettings, Vec<Fault>> {
    let mut loading = Loading::new(Rules { table: TABLE, prefix: "ZLH_ARTIFACTS_", names: &[] });
    let env = loading.environment(&sources.env);
    let set = loading.set_flags(&sources.set);
    env.into_iter().chain(set).for_each(|entry: Entry| loading.apply(&entry));
    if loading.faults.is_empty() { Ok(loading.settings) } else { Err(loading.faults) }
}

/// All rows, in the order they are shown.
pub fn table() -> &'static [Setting<ArtifactsSettings>] {
    TABLE
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
const HOUR: Duration = Duration::from_secs(3_600);

#[rustfmt::skip]
static TABLE: &[Setting<ArtifactsSettings>] = settings! {
    "limits.header_bytes", "Largest request head.", |x| Slot::Size(&mut x.limits.header_bytes, 8 << 10..=1 << 20);
    "limits.headers", "Most header lines of a request.", |x| Slot::Count(&mut x.limits.headers, 10..=1000);
    "limits.connections", "Connections at a time; one more is told 503.", |x| Slot::Count(&mut x.limits.connections, 1..=1_000_000);
    "limits.header_timeout", "Time for a whole request head to arrive.", |x| Slot::Time(&mut x.limits.header_timeout, ms(10)..=HOUR);
    "limits.stall", "A client that takes no byte of an answer for this long is cut off.", |x| Slot::Time(&mut x.limits.stall, ms(10)..=HOUR);
    "limits.drain", "Time open transfers get to finish when the server goes down.", |x| Slot::Time(&mut x.limits.drain, Duration::ZERO..=HOUR);
    "runtime.worker_threads", "Threads that serve requests.", |x| Slot::Count(&mut x.runtime.worker_threads, 1..=64);
    "runtime.disk_threads", "Threads that wait for the disk.", |x| Slot::Count(&mut x.runtime.disk_threads, 1..=512);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[&str], env: &[(&str, &str)]) -> Result<ArtifactsSettings, Vec<Fault>> {
        let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        load(&Sources { env, set: set.iter().map(ToString::to_string).collect(), ..Sources::default() })
    }

    #[test]
    fn every_default_reads_back_as_itself_and_changes_its_own_field_only() {
        for setting in TABLE {
            let text = setting.shown(&ArtifactsSettings::default());
            let mut settings = ArtifactsSettings::default();
            (setting.slot)(&mut settings).set(&text).unwrap_or_else(|e| panic!("{}={text}: {e}", setting.key));
            assert_eq!(settings, ArtifactsSettings::default(), "{}", setting.key);
        }
        let fields =
            format!("{:#?}", ArtifactsSettings::default()).lines().filter(|l| l.starts_with("        ")).count();
        assert_eq!(TABLE.len(), fields, "each field has its row");
    }

    #[test]
    fn later_sources_win_and_slips_are_named() {
        let env = [("ZLH_ARTIFACTS_LIMITS__CONNECTIONS", "9"), ("ZLH_ARTIFACTS_URL", "http://x")];
        assert_eq!(with(&[], &env).unwrap().limits.connections, 9, "and the agents' variable is not ours");
        assert_eq!(with(&["limits.connections=7"], &env).unwrap().limits.for_server().connections, 7);
        let faults = with(&["limits.conections=7", "limits.stall=never"], &[]).unwrap_err();
        assert!(faults[0].to_string().contains("did you mean limits.connections?"), "{}", faults[0]);
        assert_eq!(faults.len(), 2);
    }
}
