//! Precedence, faults and notes of loading.
use super::*;
use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(toml: &str) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/zlh-agent")).unwrap();
        fs::write(folder.path().join("etc/zlh-agent/agent.toml"), toml).unwrap();
        Machine { folder }
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    /// `env` and `set` as `NAME=value`; the root is this machine's folder and the agent listens on loopback.
    fn load(
        &self,
        env: &[(&str, &str)],
        set: &[&str],
        flags: &[(&'static str, &str)],
    ) -> Result<(Settings, Origins), Vec<Fault>> {
        let mut all = vec![("root", self.folder.path().display().to_string()), ("listen", "127.0.0.1:0".into())];
        all.extend(flags.iter().map(|(key, value)| (*key, (*value).to_owned())));
        load(Sources {
            file: None,
            env: env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            set: set.iter().map(|s| (*s).into()).collect(),
            flags: all,
        })
    }
}

#[test]
fn later_sources_win_and_the_origin_is_known() {
    let machine = Machine::new("[restart]\nbackoff = [\"1s\", \"2s\"]\njitter = 0.05\n[stop]\ngrace = \"10s\"\n");
    let (s, o) = machine
        .load(
            &[("ZLH_RESTART__JITTER", "0.02"), ("ZLH_STOP__GRACE", "20s"), ("PATH", "/bin"), ("ZLH_VMID", "")],
            &["stop.grace=30s", "stop.grace = 31s"],
            &[("vmid", "7")],
        )
        .unwrap();
    assert_eq!(s.restart.backoff, [Duration::from_secs(1), Duration::from_secs(2)]);
    assert_eq!((s.restart.jitter, s.stop.grace, s.vmid), (0.02, Duration::from_secs(31), Some(7)));
    let file = machine.folder.path().join("etc/zlh-agent/agent.toml");
    assert_eq!(o.of("restart.backoff"), Origin::File { path: file, line: 2 });
    assert_eq!(o.of("restart.jitter").to_string(), "environment ZLH_RESTART__JITTER");
    assert_eq!((o.of("stop.grace"), o.of("vmid")), (Origin::Set, Origin::Flag("--vmid".into())));
    assert_eq!(o.of("ready.within"), Origin::Default);
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let machine =
        Machine::new("[restart]\nbackof = \"1s\"\njitter = 0.5\n\n[nonsense]\nx = 1\n[stop]\ngrace = 1979-05-27\n");
    let faults = machine
        .load(
            &[("ZLH_CONSOLE__MAX_VIEWERS", "many"), ("ZLH_READY__WITHN", "3s"), ("ZLH_OTHER_PART", "x")],
            &["limits.body_bytes=1", "no-equals-sign", "token=hush"],
            &[("listen", "nowhere")],
        )
        .unwrap_err();
    let text = faults.iter().map(|f| f.to_string()).collect::<Vec<_>>().join("\n");
    for expected in [
        "agent.toml:2: restart.backof: no such setting; did you mean restart.backoff?",
        "agent.toml:3: restart.jitter: \"0.5\": out of range; allowed: a number, 0 to 0.1",
        "agent.toml:6: nonsense.x: no such setting",
        "agent.toml:8: stop.grace: a datetime cannot be a setting",
        "environment ZLH_CONSOLE__MAX_VIEWERS: console.max_viewers: \"many\": not a whole number",
        "environment ZLH_READY__WITHN: ready.withn: no such setting; did you mean ready.within?",
        "--set: limits.body_bytes: \"1\": out of range",
        "--set: no-equals-sign: write it as key=value",
        "--set: token: others could read it there",
        "--listen: listen: \"nowhere\": not an address",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin:\n{text}");
    }
    assert_eq!(faults.len(), 10, "{text}");
    assert!(!text.contains("hush") && !text.contains("ZLH_OTHER_PART"), "{text}");
}

#[test]
fn syntax_faults_have_their_line_and_do_not_hide_others() {
    let machine = Machine::new("[stop]\ngrace = \n[restart]\njitter = 7\n");
    let text =
        format!("{:?}", machine.load(&[], &[], &[]).unwrap_err().iter().map(|f| f.to_string()).collect::<Vec<_>>());
    assert!(text.contains("agent.toml:2: (syntax)") && text.contains("agent.toml:4: restart.jitter"), "{text}");
}

#[test]
fn foreign_variables_are_noted_not_refused() {
    let machine = Machine::new("");
    let env = [("ZLH_AGENT_UPDATE_MODE", "off"), ("ZLH_GATEWAY_SECRET", "x"), ("ZLH_ARTIFACTS_URL", "http://a/")];
    let (s, o) = machine.load(&env, &["agent.update_interval=6h"], &[]).unwrap();
    assert_eq!(s.artifacts_url.as_deref(), Some("http://a"));
    assert_eq!(s.agent.update_mode, crate::model::settings::UpdateMode::Off);
    assert!(o.notes.len() == 1 && o.notes[0].contains("ZLH_GATEWAY_SECRET"), "{:?}", o.notes);
}

#[test]
fn the_token_comes_from_the_flags_file_then_the_environment_then_the_other_file() {
    let machine = Machine::new("");
    let mine = machine.write("mine", "from-the-flag-0123\n", 0o600);
    let other = machine.write("other", "from-agent-toml-0123", 0o644);
    machine.write("etc/zlh-agent/agent.toml", &format!("token_file = {other:?}\n"), 0o644);
    let env = [("ZLH_AGENT_TOKEN", "from-the-environment")];
    let token = |env: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        let (s, o) = machine.load(env, &[], flags).unwrap();
        (s.token.unwrap().0, o.of("token").to_string(), o.notes)
    };
    assert_eq!(token(&env, &[("token_file", &mine)]), ("from-the-flag-0123".into(), mine.clone(), vec![]));
    assert_eq!(token(&env, &[]).0, "from-the-environment");
    let (text, origin, notes) = token(&[], &[]);
    assert_eq!((text.as_str(), origin), ("from-agent-toml-0123", other));
    assert!(notes[0].contains("mode 644"), "{notes:?}");
}

#[test]
fn an_open_agent_is_a_fault_that_says_what_to_do() {
    let machine = Machine::new("");
    for (listen, open) in [("0.0.0.0:18888", true), ("[::]:0", true), ("127.0.0.1:0", false), ("[::1]:0", false)] {
        let result = machine.load(&[], &[], &[("listen", listen)]);
        assert_eq!(result.is_err(), open, "{listen}");
        if let Err(faults) = result {
            assert!(faults[0].problem.contains("--token-file") && faults.len() == 1, "{faults:?}");
        }
    }
    assert!(machine.load(&[], &["allow_unauthenticated=true"], &[("listen", "0.0.0.0:0")]).is_ok());
    assert!(machine.load(&[("ZLH_AGENT_TOKEN", "x")], &[], &[("listen", "0.0.0.0:0")]).is_ok());
    let absent = machine.load(&[], &[], &[("listen", "0.0.0.0:0"), ("token_file", "/no/such/file")]).unwrap_err();
    assert_eq!(absent.len(), 1, "only the real reason: {absent:?}");
    let empty = machine.write("empty", "\n", 0o600);
    assert!(machine.load(&[], &[], &[("token_file", &empty)]).unwrap_err()[0].problem.contains("1 to 4096"));
}

#[test]
fn a_file_asked_for_by_name_must_exist() {
    let sources = || Sources { flags: vec![("listen", "127.0.0.1:0".into())], ..Default::default() };
    let missing = Sources { file: Some("/no/such/agent.toml".into()), ..sources() };
    assert_eq!(load(missing).unwrap_err()[0].key, "(file)");
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Sources { set: vec![format!("root={}", folder.path().display())], ..sources() };
    assert!(load(elsewhere).is_ok(), "no agent.toml under the root is no fault");
}

#[test]
fn values_that_contradict_each_other_are_faults() {
    let machine = Machine::new("");
    let set = ["console.scrollback_bytes=64KiB", "console.replay_bytes=1MiB", "limits.body_bytes=2KiB"];
    let keys: Vec<String> = machine.load(&[], &set, &[]).unwrap_err().into_iter().map(|f| f.key).collect();
    assert_eq!(keys, ["console.replay_bytes", "limits.config_bytes"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_panic(toml in "(?s).{0,200}", key in "[a-z._]{0,20}", value in ".{0,40}") {
        let machine = Machine::new(&toml);
        let known = &table()[value.len() % table().len()];
        let _ = machine.load(&[(&known.variable(), &value)], &[&format!("{key}={value}"), &key], &[]);
    }
}
