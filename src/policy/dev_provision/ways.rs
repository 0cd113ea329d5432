//! The fields of those addons that are ways in: `ssh` and `tailscale`. Judged also where the addon is not wanted: what
//! is wrong should be told before somebody turns it on.
use crate::{
    model::{
        dev::{Ssh, Tailscale},
        refusal::Refusal,
        settings::{Secret, Settings},
    },
    policy::{
        addons::{authorized_keys, sshd},
        fields::{Fields, unusable},
        launch::checks,
    },
};
use serde_json::{Map, Value};

const SSH_FIELDS: [&str; 2] = ["authorized_keys", "port"];
const TAILSCALE_FIELDS: [&str; 3] = ["login_server", "auth_key", "hostname"];
/// More people than work in one container.
const MOST_KEYS: usize = 256;
const LONGEST_HOSTNAME: usize = 63;
const LONGEST_KEY: usize = 512;

/// Who may come in by SSH; `wanted`: the addon is asked for.
pub fn ssh(fields: &Fields<'_>, wanted: bool, settings: &Settings) -> Result<Option<Ssh>, Refusal> {
    let Some(object) = object(fields, "ssh")? else {
        return if wanted { Err(nobody()) } else { Ok(None) };
    };
    let own = Fields(&object);
    let port = match own.typed::<u64>("port", "a port, 1 to 65535").map_err(|e| within("ssh", e))? {
        None => settings.sshd.port,
        Some(port) => u16::try_from(port).map_err(|_| unusable("ssh.port", "allowed: 1 to 65535"))?,
    };
    sshd::check_port(port, settings).map_err(|why| unusable("ssh.port", why))?;
    let keys: Option<Vec<String>> = own.typed("authorized_keys", "a list of texts").map_err(|e| within("ssh", e))?;
    let authorized_keys = keys.unwrap_or_default();
    if authorized_keys.len() > MOST_KEYS {
        return Err(unusable("ssh.authorized_keys", format!("{} keys; at most {MOST_KEYS}", authorized_keys.len())));
    }
    for (at, key) in authorized_keys.iter().enumerate() {
        let judged = authorized_keys::check(key, settings.sshd.key_commands);
        judged.map_err(|why| unusable(format!("ssh.authorized_keys[{at}]"), why))?;
    }
    match (wanted, authorized_keys.is_empty()) {
        (true, true) => Err(nobody()),
        (wanted, _) => Ok(wanted.then_some(Ssh { port, authorized_keys })),
    }
}

fn nobody() -> Refusal {
    unusable("ssh.authorized_keys", "missing: sshd lets in only who has one of these keys")
}

/// Which private network; `wanted`: the addon is asked for.
pub fn tailscale(fields: &Fields<'_>, wanted: bool, vmid: u32) -> Result<Option<Tailscale>, Refusal> {
    let missing = || unusable("tailscale.login_server", "missing: the address of the Headscale server");
    let Some(object) = object(fields, "tailscale")? else {
        return if wanted { Err(missing()) } else { Ok(None) };
    };
    let own = Fields(&object);
    let text = |name: &str| own.text(name).map_err(|e| within("tailscale", e));
    let login_server = text("login_server")?.ok_or_else(missing)?;
    check_address(&login_server).map_err(|why| unusable("tailscale.login_server", why))?;
    let hostname = text("hostname")?.unwrap_or_else(|| format!("dev-{vmid}"));
    check_hostname(&hostname).map_err(|why| unusable("tailscale.hostname", why))?;
    let auth_key = text("auth_key")?;
    let plain = |key: &String| key.len() <= LONGEST_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    if auth_key.as_ref().is_some_and(|key| !plain(key)) {
        let allowed = format!("allowed: at most {LONGEST_KEY} printable characters without blanks");
        return Err(unusable("tailscale.auth_key", allowed));
    }
    let auth_key = auth_key.map(Secret);
    Ok(wanted.then_some(Tailscale { login_server, auth_key, hostname }))
}

/// Fields within these two that mean nothing here, with their places.
pub fn unknown(fields: &Fields<'_>) -> Vec<String> {
    let known: [(&str, &[&str]); 2] = [("ssh", &SSH_FIELDS), ("tailscale", &TAILSCALE_FIELDS)];
    let each = known.iter().filter_map(|(name, known)| Some((name, known, fields.value(name)?.as_object()?)));
    each.flat_map(|(name, known, object)| {
        let foreign = object.keys().filter(|field| !known.contains(&field.as_str()));
        foreign.map(move |field| format!("{name}.{}", checks::shortened(field)))
    })
    .collect()
}

fn object(fields: &Fields<'_>, name: &str) -> Result<Option<Map<String, Value>>, Refusal> {
    fields.typed(name, "an object")
}

/// A refusal of a field of `of`.
fn within(of: &str, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Unusable { field, detail } => Refusal::Unusable { field: format!("{of}.{field}"), detail },
        other => other,
    }
}

fn check_address(text: &str) -> Result<(), String> {
    let allowed = "allowed: https://HOST[:PORT], or http:// on a network of one's own, without a user";
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(allowed)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    match !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.chars().all(plain) {
        true => Ok(()),
        false => Err(allowed.into()),
    }
}

/// One label of RFC 1123.
fn check_hostname(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=LONGEST_HOSTNAME).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
    match fits && !text.ends_with('-') {
        true => Ok(()),
        false => Err(format!("allowed: 1 to {LONGEST_HOSTNAME} of a-z 0-9 -, not at an end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::dev::{Addon, DevConfig},
        policy::dev_provision::read,
    };
    use serde_json::json;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB61Lmv4ZvxnPPFKAXWuTNOpwtwJgUFjP0FzFt2F3Qsf a comment";

    fn judge(fields: Value) -> Result<DevConfig, Refusal> {
        let mut body = json!({"vmid": 6001, "runtime": "node", "version": "22"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        read(&body, &Settings::default())
    }

    #[test]
    fn both_are_read_and_have_their_defaults() {
        let config = judge(json!({"addons": ["tailscale", "sshd"], "ssh": {"authorized_keys": [KEY]},
            "tailscale": {"login_server": "https://hs.example:8443", "auth_key": "S3CRET"}}))
        .unwrap();
        assert_eq!(config.addons, [Addon::Sshd, Addon::Tailscale]);
        assert_eq!(config.ssh, Some(Ssh { port: 22, authorized_keys: vec![KEY.into()] }));
        let tailscale = config.tailscale.clone().unwrap();
        assert_eq!((tailscale.hostname.as_str(), tailscale.auth_key), ("dev-6001", Some(Secret("S3CRET".into()))));
        assert!(!format!("{config:?}", config = config.tailscale).contains("S3CRET"));
        let both = json!({"ssh": {"authorized_keys": [KEY], "port": 2222, "x": 1},
            "tailscale": {"login_server": "http://10.0.0.2", "hostname": "a-1", "y": {}}});
        let config = judge(both).unwrap();
        assert_eq!((config.ssh, config.tailscale), (None, None), "nobody asked for the addons");
        assert_eq!(config.unknown, ["ssh.x", "tailscale.y"]);
    }

    #[test]
    fn refusals_name_the_place() {
        let long = "a".repeat(64);
        for (fields, field, hint) in [
            (json!({"addons": ["sshd"]}), "ssh.authorized_keys", "missing"),
            (json!({"addons": ["sshd"], "ssh": {"authorized_keys": []}}), "ssh.authorized_keys", "missing"),
            (json!({"ssh": [KEY]}), "ssh", "an object"),
            (json!({"ssh": {"authorized_keys": KEY}}), "ssh.authorized_keys", "a list"),
            (json!({"ssh": {"authorized_keys": [KEY, "x"]}}), "ssh.authorized_keys[1]", "type of key"),
            (json!({"ssh": {"authorized_keys": vec![KEY; 257]}}), "ssh.authorized_keys", "at most 256"),
            (json!({"ssh": {"port": 0}}), "ssh.port", "not a port"),
            (json!({"ssh": {"port": 70000}}), "ssh.port", "1 to 65535"),
            (json!({"ssh": {"port": "22"}}), "ssh.port", "a port"),
            (json!({"ssh": {"port": 8080}}), "ssh.port", "editor's"),
            (json!({"addons": ["tailscale"]}), "tailscale.login_server", "missing"),
            (json!({"tailscale": {}}), "tailscale.login_server", "missing"),
            (json!({"tailscale": {"login_server": "hs.example"}}), "tailscale.login_server", "https://"),
            (json!({"tailscale": {"login_server": "https://u:p@h"}}), "tailscale.login_server", "without a user"),
            (json!({"tailscale": {"login_server": "https://"}}), "tailscale.login_server", "https://"),
            (json!({"tailscale": {"login_server": "https://h", "auth_key": "a b"}}), "tailscale.auth_key", "blanks"),
            (json!({"tailscale": {"login_server": "https://h", "hostname": "A"}}), "tailscale.hostname", "a-z"),
            (json!({"tailscale": {"login_server": "https://h", "hostname": long}}), "tailscale.hostname", "63"),
            (json!({"addons": ["vpn"]}), "addons[0]", "codeserver, sshd, tailscale"),
        ] {
            let Err(Refusal::Unusable { field: named, detail }) = judge(fields.clone()) else {
                panic!("accepted: {fields}")
            };
            assert_eq!(named, field, "{fields}: {detail}");
            assert!(detail.contains(hint), "{fields}: {detail}");
        }
    }
}
