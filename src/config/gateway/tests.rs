//! The gateway's table is complete, and its sources come in the agent's order.
use super::*;
use std::collections::BTreeSet;

fn with(set: &[&str], env: &[(&str, &str)]) -> Result<(GatewaySettings, Origins), Vec<Fault>> {
    let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    load(&Sources { env, set: set.iter().map(ToString::to_string).collect(), ..Sources::default() })
}

#[test]
fn every_default_reads_back_as_itself() {
    for setting in TABLE {
        let text = setting.shown(&GatewaySettings::default());
        let mut settings = GatewaySettings::default();
        if !text.is_empty() {
            (setting.slot)(&mut settings).set(&text).unwrap_or_else(|e| panic!("{}={text}: {e}", setting.key));
        }
        assert_eq!(settings, GatewaySettings::default(), "{}", setting.key);
    }
}

#[test]
fn every_field_has_one_row() {
    let text = format!("{:#?}", GatewaySettings::default());
    let (mut path, mut leaves): (Vec<String>, BTreeSet<String>) = Default::default();
    for line in text.lines().skip(1) {
        let indent = (line.len() - line.trim_start().len()) / 4;
        let Some((name, rest)) = line.trim().split_once(": ").filter(|_| (1..=2).contains(&indent)) else { continue };
        path.truncate(indent - 1);
        path.push(name.to_owned());
        if !rest.ends_with('{') {
            leaves.insert(path.join("."));
        }
    }
    let keys: BTreeSet<String> = TABLE.iter().map(|setting| setting.key.to_owned()).collect();
    assert_eq!((leaves, TABLE.len()), (keys.clone(), keys.len()));
}

#[test]
fn later_sources_win_and_all_faults_are_told_at_once() {
    let (settings, _) =
        with(&["login.burst=9"], &[("ZLH_GATEWAY_LOGIN__BURST", "8"), ("ZLH_LISTEN", "nonsense")]).unwrap();
    assert_eq!(settings.login.burst, 9, "--set after the environment, and the agent's variables are not ours");
    let set = ["login.burst=0", "data=relative", "databse=x", "listen=127.0.0.1:5", "ide_listen=127.0.0.1:5"];
    let faults = with(&set, &[]).unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["login.burst", "data", "databse", "ide_listen"]);
    assert!(faults[2].to_string().contains("did you mean database?"));
    let origins = ["public_url=https://a.example", "ide_public_url=https://a.example"];
    assert_eq!(with(&origins, &[]).unwrap_err()[0].key, "ide_public_url");
}

#[test]
fn a_password_in_an_address_is_never_repeated() {
    let (settings, _) = with(&["database=postgres://u:hush@h/d"], &[]).unwrap();
    let shown = super::super::show_all(TABLE, &settings, &Origins::default());
    assert!(!shown.contains("hush") && shown.contains("[url]"), "{shown}");
    let faults = with(&["redis=http://u:hush@h"], &[]).unwrap_err();
    assert!(!faults[0].to_string().contains("hush") && faults[0].to_string().contains("redis://"));
}
