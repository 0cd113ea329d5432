//! Every setting of the agent: key, meaning, bounds. Reading, `zlh config show` and docs/settings.md come from here.
use super::value::Slot;
use crate::model::settings::Settings;
use std::time::Duration;

/// One row. The dotted key is the path of the field in the settings, [`Settings`] for the agent.
pub struct Setting<S = Settings> {
    pub key: &'static str,
    /// One sentence for an operator.
    pub meaning: &'static str,
    /// Where the value lives, and its bounds.
    pub slot: for<'a> fn(&'a mut S) -> Slot<'a>,
}

impl Setting {
    /// The environment variable: `restart.backoff` is `ZLH_RESTART__BACKOFF`.
    pub fn variable(&self) -> String {
        match self.key {
            "token" => "ZLH_AGENT_TOKEN".into(),
            // Named before there were sections.
            "agent.update_mode" => "ZLH_AGENT_UPDATE_MODE".into(),
            "agent.update_interval" => "ZLH_AGENT_UPDATE_INTERVAL".into(),
            key => format!("ZLH_{}", key.to_ascii_uppercase().replace('.', "__")),
        }
    }
}

impl<S: Clone + Default> Setting<S> {
    pub fn shown(&self, settings: &S) -> String {
        (self.slot)(&mut settings.clone()).shown()
    }

    pub fn allowed(&self) -> String {
        (self.slot)(&mut S::default()).allowed()
    }

    /// Its value is not shown.
    pub fn is_hidden(&self) -> bool {
        (self.slot)(&mut S::default()).may_hide()
    }

    pub fn is_secret(&self) -> bool {
        matches!((self.slot)(&mut S::default()), Slot::Secret(_))
    }
}

/// Seconds as a duration.
const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
const DAY: Duration = s(86_400);
const HOUR: Duration = s(3_600);

/// All rows, in the order they are shown.
pub fn table() -> &'static [Setting] {
    TABLE
}

macro_rules! settings {
    ($($key:literal, $meaning:literal, $slot:expr;)*) => {
        &[$($crate::config::Setting { key: $key, meaning: $meaning, slot: $slot }),*]
    };
}
pub(super) use settings;

#[rustfmt::skip]
static TABLE: &[Setting] = settings! {
    "root", "Everything the agent touches lies under this folder.", |x| Slot::Folder(&mut x.root);
    "listen", "Where the agent's API listens.", |x| Slot::Address(&mut x.listen);
    "vmid", "This container's number, if the platform tells it; else /config does.", |x| Slot::OptionalCount(&mut x.vmid, 1..=999_999_999);
    "artifacts_url", "Address of the artifact server.", |x| Slot::OptionalUrl(&mut x.artifacts_url);
    "require_hashes", "Refuse to install what has no known hash, instead of warning.", |x| Slot::Flag(&mut x.require_hashes);
    "trusted_keys", "Keys (ed25519:…) of which one must have signed each catalog; none = no signature needed.", |x| Slot::Keys(&mut x.trusted_keys);
    "token", "Bearer token of the API; only by token_file or environment.", |x| Slot::Secret(&mut x.token);
    "token_file", "File the bearer token is read from; readable by its owner only.", |x| Slot::OptionalFile(&mut x.token_file);
    "allow_unauthenticated", "Serve without a token, even beyond this machine.", |x| Slot::Flag(&mut x.allow_unauthenticated);
    "allowed_hosts", "Names accepted in Host besides loopback and this machine's own.", |x| Slot::Names(&mut x.allowed_hosts);
    "on_agent_stop", "What SIGTERM to the agent means for the server: leave it running, stop it, or auto (stop as PID 1, else leave).", |x| Slot::AgentStop(&mut x.on_agent_stop);

    "agent.update_mode", "What becomes of a newer agent: notify (show it), auto (take it) or off (do not look).", |x| Slot::Update(&mut x.agent.update_mode);
    "agent.update_interval", "Time between two looks for a newer agent.", |x| Slot::Time(&mut x.agent.update_interval, ms(100)..=DAY * 30);
    "agent.update_channel", "Channel of the agent's manifest that is followed.", |x| Slot::Account(&mut x.agent.update_channel);
    "agent.update_within", "How long a fresh agent may take to prove itself before the previous one is restored.", |x| Slot::Time(&mut x.agent.update_within, ms(100)..=HOUR);
    "agent.update_starts", "Starts of a fresh agent without proof before the previous one is restored.", |x| Slot::Count(&mut x.agent.update_starts, 1..=100);
    "agent.update_patience", "How long an update of the agent waits for operations to end.", |x| Slot::Time(&mut x.agent.update_patience, Duration::ZERO..=DAY);

    "restart.backoff", "Waits after the 1st, 2nd, … crash in a row; after the last the state is error.", |x| Slot::Times(&mut x.restart.backoff, Duration::ZERO..=DAY);
    "restart.reset_after", "Ready (or, without a probe, up) this long and the sequence begins anew.", |x| Slot::Time(&mut x.restart.reset_after, Duration::ZERO..=DAY);
    "restart.max_crashes_before_ready", "Crashes in a row that never became ready before error.", |x| Slot::Count(&mut x.restart.max_crashes_before_ready, 1..=1000);
    "restart.max_crashes_per_hour", "More crashes than this within an hour: error, whatever was reset.", |x| Slot::Count(&mut x.restart.max_crashes_per_hour, 1..=100_000);
    "restart.jitter", "Each wait is lengthened by up to this share.", |x| Slot::Share(&mut x.restart.jitter, 0.0..=0.1);
    "restart.port_wait", "How long a start waits for the old run's ports to become free.", |x| Slot::Time(&mut x.restart.port_wait, Duration::ZERO..=HOUR);

    "stop.grace", "Budget of the whole stop ladder, SIGKILL included; what the container's own host grants.", |x| Slot::Time(&mut x.stop.grace, ms(1)..=HOUR);

    "ready.within", "Start deadline where neither /config nor the game says one.", |x| Slot::Time(&mut x.ready.within, ms(1)..=DAY);
    "ready.interval", "Time between two probes while starting.", |x| Slot::Time(&mut x.ready.interval, ms(1)..=HOUR);
    "ready.timeout", "Time one probe may take.", |x| Slot::Time(&mut x.ready.timeout, ms(1)..=HOUR);
    "ready.settle", "After a ready line: how long the process must live on before it counts.", |x| Slot::Time(&mut x.ready.settle, Duration::ZERO..=HOUR);

    "hang.interval", "Time between two probes after ready; 0 = no hang detection.", |x| Slot::Time(&mut x.hang.interval, Duration::ZERO..=HOUR);
    "hang.after", "Probe dead and process alive for this long: hung.", |x| Slot::Time(&mut x.hang.after, ms(1)..=DAY);
    "hang.restart", "Restart a hung server after its threads were dumped; false = report only.", |x| Slot::Flag(&mut x.hang.restart);

    "console.scrollback_bytes", "Console output kept on disk.", |x| Slot::Size(&mut x.console.scrollback_bytes, 64 << 10..=16 << 30);
    "console.replay_bytes", "Scrollback sent to a plain viewer on connect.", |x| Slot::Size(&mut x.console.replay_bytes, 0..=64 << 20);
    "console.max_viewers", "Viewers of one console at a time.", |x| Slot::Count(&mut x.console.max_viewers, 1..=10_000);
    "console.max_input_frame", "Largest input frame of a viewer.", |x| Slot::Size(&mut x.console.max_input_frame, 128..=1 << 20);
    "console.ping", "Ping period of a viewer's connection.", |x| Slot::Time(&mut x.console.ping, ms(1)..=HOUR);
    "console.stall", "A viewer that took nothing for this long is cut off.", |x| Slot::Time(&mut x.console.stall, ms(1)..=DAY);
    "console.page_bytes", "Largest answer of GET /console/log.", |x| Slot::Size(&mut x.console.page_bytes, 4 << 10..=64 << 20);
    "console.columns", "Width of a new console.", |x| Slot::Count(&mut x.console.columns, 20..=1000);
    "console.rows", "Height of a new console.", |x| Slot::Count(&mut x.console.rows, 5..=1000);

    "terminal.linger", "How long a dev shell lives on after its last viewer left.", |x| Slot::Time(&mut x.terminal.linger, Duration::ZERO..=DAY);
    "terminal.max_sessions", "Shell sessions of a dev container at a time.", |x| Slot::Count(&mut x.terminal.max_sessions, 1..=1000);
    "terminal.scrollback_bytes", "Output kept on disk per shell session.", |x| Slot::Size(&mut x.terminal.scrollback_bytes, 64 << 10..=1 << 30);
    "terminal.columns", "Width of a shell's terminal until a viewer says its own.", |x| Slot::Count(&mut x.terminal.columns, 20..=1000);
    "terminal.rows", "Height of a shell's terminal until a viewer says its own.", |x| Slot::Count(&mut x.terminal.rows, 5..=1000);

    "dev.provision_within", "Longest time the set-up of a dev container may take, installs included.", |x| Slot::Time(&mut x.dev.provision_within, s(1)..=DAY);
    "dev.max_processes", "Processes and threads each shell, and the editor, may have.", |x| Slot::Count(&mut x.dev.max_processes, 16..=4_194_304);
    "dev.repair_entries", "Files and folders of the workspace whose owner is looked at during the set-up.", |x| Slot::Count(&mut x.dev.repair_entries, 1..=1_000_000_000);

    "codeserver.port", "Port of the editor in the browser.", |x| Slot::Count(&mut x.codeserver.port, 1..=65_535);
    "codeserver.bind", "Address the editor listens on: all of this machine's (0.0.0.0, ::), or loopback.", |x| Slot::OwnAddress(&mut x.codeserver.bind);
    "codeserver.ready_within", "Start deadline of the editor.", |x| Slot::Time(&mut x.codeserver.ready_within, ms(1)..=HOUR);
    "codeserver.settle", "During the set-up: how long the editor must stay up before it counts.", |x| Slot::Time(&mut x.codeserver.settle, Duration::ZERO..=HOUR);
    "codeserver.abs_proxy_base_path", "Path before /absproxy/ as browsers see it; {vmid} is filled in.", |x| Slot::OptionalPath(&mut x.codeserver.abs_proxy_base_path);
    "codeserver.idle_stop", "The editor is stopped when nobody has used it for so long; 0 = never.", |x| Slot::Time(&mut x.codeserver.idle_stop, Duration::ZERO..=DAY * 30);
    "codeserver.idle_sample", "Time between two looks whether the editor is used.", |x| Slot::Time(&mut x.codeserver.idle_sample, ms(100)..=HOUR);
    "codeserver.idle_traffic", "Bytes a minute that a browser may send while its page counts as merely open.", |x| Slot::Size(&mut x.codeserver.idle_traffic, 0..=1 << 30);
    "codeserver.idle_cpu", "Share of a core that the editor may take while it counts as idle.", |x| Slot::Share(&mut x.codeserver.idle_cpu, 0.0..=1.0);

    "sshd.port", "Port of the sshd addon where /config names none.", |x| Slot::Count(&mut x.sshd.port, 1..=65_535);
    "sshd.key_commands", "Keys in /config may bring options that act with every login (command, environment).", |x| Slot::Flag(&mut x.sshd.key_commands);
    "sshd.ready_within", "Start deadline of the sshd addon: until it greets.", |x| Slot::Time(&mut x.sshd.ready_within, ms(1)..=HOUR);
    "sshd.install_patience", "Installing openssh-server is ended when apt-get has said nothing for so long.", |x| Slot::Time(&mut x.sshd.install_patience, s(1)..=DAY);

    "tailscale.port", "UDP port of the tailscale addon for direct connections; 0: any that is free.", |x| Slot::Count(&mut x.tailscale.port, 0..=65_535);
    "tailscale.ready_within", "Start deadline of the tailscale addon's daemon.", |x| Slot::Time(&mut x.tailscale.ready_within, ms(1)..=HOUR);
    "tailscale.join_within", "Longest time that joining the private network may take.", |x| Slot::Time(&mut x.tailscale.join_within, s(1)..=HOUR);

    "game.user", "Account games run as when the agent is root; created if missing.", |x| Slot::Account(&mut x.game.user);
    "game.max_processes", "Processes and threads a server may have.", |x| Slot::Count(&mut x.game.max_processes, 16..=4_194_304);
    "game.min_disk_free_bytes", "Less free space than this where the server lies: no start.", |x| Slot::Size(&mut x.game.min_disk_free_bytes, 0..=1 << 50);
    "game.accept_eula", "The operator accepts the licences of games that ask for it in a file (Minecraft's eula.txt).", |x| Slot::Flag(&mut x.game.accept_eula);
    "game.prepare_patience", "Preparing a start (which may install things) without any sign of progress for this long has failed.", |x| Slot::Time(&mut x.game.prepare_patience, ms(100)..=DAY);
    "game.autostart", "Start the server with the agent after a reboot, if it was meant to run.", |x| Slot::Flag(&mut x.game.autostart);

    "install.max_entries", "Names one archive may hold.", |x| Slot::Count(&mut x.install.max_entries, 1..=10_000_000);
    "install.max_bytes", "Size of one archive once it is unpacked.", |x| Slot::Size(&mut x.install.max_bytes, 1 << 20..=1 << 42);
    "install.max_ratio", "Unpacked bytes for each packed one, once 64 MiB are unpacked.", |x| Slot::Count(&mut x.install.max_ratio, 2..=100_000);
    "install.max_path_bytes", "Longest path in an archive.", |x| Slot::Size(&mut x.install.max_path_bytes, 32..=4096);
    "install.max_path_levels", "Folders in folders in an archive.", |x| Slot::Count(&mut x.install.max_path_levels, 2..=256);
    "install.max_download_bytes", "Largest file that is fetched.", |x| Slot::Size(&mut x.install.max_download_bytes, 1 << 20..=1 << 42);
    "install.decoder_bytes", "Memory that unpacking .tar.xz or .tar.zst may ask for.", |x| Slot::Size(&mut x.install.decoder_bytes, 1 << 20..=2 << 30);
    "install.cache_bytes", "Fetched archives that are kept for repairs and other installs; 0 keeps none.", |x| Slot::Size(&mut x.install.cache_bytes, 0..=1 << 42);
    "install.connect_timeout", "How long connecting to the artifact server may take.", |x| Slot::Time(&mut x.install.connect_timeout, ms(10)..=HOUR);
    "install.stall", "An artifact server that sends nothing for this long counts as gone.", |x| Slot::Time(&mut x.install.stall, ms(10)..=HOUR);
    "install.backoff", "Waits before the 1st, 2nd, … further attempt when a transfer breaks off.", |x| Slot::Times(&mut x.install.backoff, Duration::ZERO..=HOUR);
    "install.redirect_hosts", "Hosts a redirect may lead to besides the one that was asked.", |x| Slot::Names(&mut x.install.redirect_hosts);
    "install.ca_file", "PEM file with certificate authorities that are trusted besides the system's.", |x| Slot::OptionalFile(&mut x.install.ca_file);
    "install.check_within", "How long the first run of what was just installed may take.", |x| Slot::Time(&mut x.install.check_within, ms(100)..=HOUR);
    "install.mirrors", "Addresses of servers that have the same artifacts, asked where the first fails.", |x| Slot::Urls(&mut x.install.mirrors);
    "install.parallel", "Installs that work at a time; more of them wait.", |x| Slot::Count(&mut x.install.parallel, 1..=4);
    "install.queue", "Orders to the installer that may be under way or waiting.", |x| Slot::Count(&mut x.install.queue, 1..=10_000);
    "install.patience", "An install step without any sign of progress for this long has failed.", |x| Slot::Time(&mut x.install.patience, ms(100)..=DAY);
    "install.tries", "How often an install that the agent's death cut short is begun again.", |x| Slot::Count(&mut x.install.tries, 1..=1000);
    "install.keep_previous", "Formerly active versions of each runtime that garbage collection leaves.", |x| Slot::Count(&mut x.install.keep_previous, 0..=64);
    "install.channel", "Channel of the catalog that versions are chosen from.", |x| Slot::Word(&mut x.install.channel);
    "install.min_release_age", "Releases younger than this are not taken; 0 = all are.", |x| Slot::Time(&mut x.install.min_release_age, Duration::ZERO..=s(31_536_000));

    "backups.keep", "Backups that are kept; the oldest beyond that are deleted. Checkpoints do not count.", |x| Slot::Count(&mut x.backups.keep, 1..=1000);
    "backups.keep_checkpoints", "Checkpoints that are kept: what there was before a backup was put back.", |x| Slot::Count(&mut x.backups.keep_checkpoints, 1..=1000);
    "backups.exclude", "What backups of a workspace leave out, as in a .gitignore; `.zlhignore` in the workspace adds to it, and folders with a CACHEDIR.TAG are left out anyway.", |x| Slot::Patterns(&mut x.backups.exclude);
    "backups.max_entries", "Names in one backup.", |x| Slot::Count(&mut x.backups.max_entries, 1..=100_000_000);
    "backups.max_bytes", "Bytes of all files in one backup.", |x| Slot::Size(&mut x.backups.max_bytes, 1 << 10..=16 << 40);
    "backups.min_free_bytes", "Disk space that making or restoring a backup leaves free.", |x| Slot::Size(&mut x.backups.min_free_bytes, 0..=1 << 40);
    "backups.hold_within", "How long a game may take to say that its world is saved.", |x| Slot::Time(&mut x.backups.hold_within, ms(100)..=HOUR);
    "backups.patience", "Work on a backup without any sign of progress for this long has failed.", |x| Slot::Time(&mut x.backups.patience, ms(100)..=DAY);

    "limits.body_bytes", "Largest JSON request body.", |x| Slot::Size(&mut x.limits.body_bytes, 1 << 10..=64 << 20);
    "limits.config_bytes", "Largest /config body.", |x| Slot::Size(&mut x.limits.config_bytes, 1 << 10..=1 << 20);
    "limits.header_bytes", "Largest request head.", |x| Slot::Size(&mut x.limits.header_bytes, 8 << 10..=1 << 20);
    "limits.headers", "Most header lines of a request.", |x| Slot::Count(&mut x.limits.headers, 10..=1000);
    "limits.connections", "Connections at a time.", |x| Slot::Count(&mut x.limits.connections, 8..=100_000);
    "limits.header_timeout", "Time for a whole request head to arrive.", |x| Slot::Time(&mut x.limits.header_timeout, ms(10)..=HOUR);
    "limits.body_timeout", "Time for a whole JSON request body to arrive.", |x| Slot::Time(&mut x.limits.body_timeout, ms(10)..=HOUR);
    "limits.stall", "A client that takes no byte of an answer for this long is cut off.", |x| Slot::Time(&mut x.limits.stall, ms(10)..=HOUR);
    "limits.drain", "Time open connections get to finish when the agent goes down.", |x| Slot::Time(&mut x.limits.drain, Duration::ZERO..=HOUR);
    "limits.command_timeout", "Time until a command is accepted or refused.", |x| Slot::Time(&mut x.limits.command_timeout, ms(10)..=HOUR);
    "limits.max_wait", "Longest ?wait= a client may ask for.", |x| Slot::Time(&mut x.limits.max_wait, ms(10)..=DAY);
    "limits.operations_kept", "Finished operations that can still be looked at.", |x| Slot::Count(&mut x.limits.operations_kept, 1..=10_000);
    "limits.crashes_kept", "Crash reports kept.", |x| Slot::Count(&mut x.limits.crashes_kept, 1..=1000);
    "limits.crash_file_bytes", "Bytes read of a crash report or hs_err file that the server wrote.", |x| Slot::Size(&mut x.limits.crash_file_bytes, 4 << 10..=64 << 20);
    "limits.watched_files", "Files (mods, plugins, configuration) remembered at each start, to say later what has changed.", |x| Slot::Count(&mut x.limits.watched_files, 0..=100_000);
    "limits.watched_hash_bytes", "Bytes of large watched files read at each start to notice a change of their content.", |x| Slot::Size(&mut x.limits.watched_hash_bytes, 0..=16 << 30);

    "status.interval", "Period of the resource sample and of the event stream's heartbeat.", |x| Slot::Time(&mut x.status.interval, ms(10)..=HOUR);
    "runtime.worker_threads", "Threads that serve requests.", |x| Slot::Count(&mut x.runtime.worker_threads, 1..=64);
};

/// The known key nearest to a misspelt one, if any is near.
pub fn nearest_of(key: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let (distance, best) = known.map(|known| (distance(key, known), known)).min()?;
    (distance <= 2.max(best.len() / 4)).then_some(best)
}

/// Edits that turn one text into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_reads_back_as_itself() {
        for setting in TABLE {
            let text = setting.shown(&Settings::default());
            let mut settings = Settings::default();
            if !text.is_empty() {
                (setting.slot)(&mut settings).set(&text).unwrap_or_else(|e| panic!("{}={text}: {e}", setting.key));
            }
            assert_eq!(settings, Settings::default(), "{}", setting.key);
        }
    }

    #[test]
    fn keys_are_unique_and_each_names_its_own_field() {
        let keys: BTreeSet<&str> = TABLE.iter().map(|setting| setting.key).collect();
        assert_eq!(keys.len(), TABLE.len());
        // Two rows that write to the same field would show: setting one changes exactly one row.
        for setting in TABLE {
            let key = format!("ed25519:{}=", "A".repeat(43));
            let candidates = [
                &key,
                "7s",
                "true",
                "false",
                "33",
                "3",
                "2MiB",
                "512KiB",
                "1KiB",
                "0.05",
                "/x",
                "127.0.0.1:9",
                "127.0.0.1",
                "http://x",
                "abc",
                "stop",
                "auto",
            ];
            let mut settings = Settings::default();
            let changed = candidates.iter().any(|text| {
                settings = Settings::default();
                (setting.slot)(&mut settings).set(text).is_ok() && settings != Settings::default()
            });
            assert!(changed, "{}: no candidate fits, extend the list", setting.key);
            let differing: Vec<&str> =
                TABLE.iter().filter(|s| s.shown(&settings) != s.shown(&Settings::default())).map(|s| s.key).collect();
            assert_eq!(differing, [setting.key]);
        }
    }

    #[test]
    fn every_field_of_settings_has_a_row() {
        // Debug of the defaults names each leaf field once per path; groups are those with braces.
        let text = format!("{:#?}", Settings::default());
        let mut path: Vec<String> = Vec::new();
        let mut leaves = BTreeSet::new();
        for line in text.lines().skip(1) {
            let indent = (line.len() - line.trim_start().len()) / 4;
            let Some((name, rest)) = line.trim().split_once(": ") else { continue };
            if indent == 0 || indent > 2 {
                continue;
            }
            path.truncate(indent - 1);
            path.push(name.to_owned());
            if !rest.ends_with('{') {
                leaves.insert(path.join("."));
            }
        }
        let keys: BTreeSet<String> = TABLE.iter().map(|setting| setting.key.to_owned()).collect();
        assert_eq!(leaves, keys);
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        let nearest = |key| nearest_of(key, TABLE.iter().map(|setting| setting.key));
        assert_eq!(nearest("restart.backof"), Some("restart.backoff"));
        assert_eq!(nearest("stop.graze"), Some("stop.grace"));
        assert_eq!(nearest("completely.different"), None);
    }
}
