//! Reading a dev container's `/config` body, and holding it against what can be installed.
use super::ways;
use crate::{
    model::{
        dev::{Addon, DevConfig, RuntimeChoices},
        refusal::Refusal,
        settings::Settings,
    },
    policy::{
        fields::{Fields, TYPE_FIELDS, unusable},
        launch::checks,
    },
};
use serde_json::Value;

const FIELDS: [&str; 9] =
    ["vmid", "runtime", "version", "runtimeVersion", "memory_mb", "enable_code_server", "addons", "ssh", "tailscale"];
const VERSION_FIELDS: [&str; 2] = ["version", "runtimeVersion"];
/// Another spelling that the catalog uses.
const CODE_SERVER_TOO: &str = "code-server";

/// The known fields of `body`, each checked by itself. Whether the runtime exists is [`check`]'s question.
pub fn read(body: &Value, settings: &Settings) -> Result<DevConfig, Refusal> {
    let Value::Object(object) = body else { return Err(unusable("(body)", "it must be a JSON object")) };
    let fields = Fields(object);
    fields.check_size(settings.limits.config_bytes)?;
    let is_known = |name: &str| FIELDS.contains(&name) || TYPE_FIELDS.contains(&name);
    let (vmid, addons) = (fields.vmid(settings)?, addons(&fields)?);
    let unknown = object.keys().filter(|name| !is_known(name)).map(|name| checks::shortened(name));
    Ok(DevConfig {
        ssh: ways::ssh(&fields, addons.contains(&Addon::Sshd), settings)?,
        tailscale: ways::tailscale(&fields, addons.contains(&Addon::Tailscale), vmid)?,
        vmid,
        runtime: fields.name("runtime")?.unwrap_or_default(),
        version: version(&fields)?,
        memory_mb: fields.memory_mb()?,
        addons,
        unknown: unknown.chain(ways::unknown(&fields)).collect(),
    })
}

/// Does the catalog have this runtime in this version? A refusal lists what it has.
pub fn check(config: &DevConfig, choices: &RuntimeChoices) -> Result<(), Refusal> {
    let DevConfig { runtime, version, .. } = config;
    let Some(versions) = choices.0.get(runtime) else {
        let allowed = checks::listed(choices.0.keys());
        return Err(unusable("runtime", said(runtime, &allowed)));
    };
    // `22` also asks for any 22.x.
    let meant = |offered: &String| {
        let rest = offered.strip_prefix(version.as_str()).filter(|_| !version.is_empty());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match versions.iter().any(meant) {
        true => Ok(()),
        false => Err(unusable("version", said(version, &format!("{runtime} {}", checks::listed(versions))))),
    }
}

fn said(given: &str, allowed: &str) -> String {
    match given {
        "" => format!("missing; allowed: {allowed}"),
        given => format!("{given:?} is not in the catalog; allowed: {allowed}"),
    }
}

fn version(fields: &Fields<'_>) -> Result<String, Refusal> {
    let Some((field, version)) = fields.any_of(&VERSION_FIELDS)? else { return Ok(String::new()) };
    checks::name(field, &version)?;
    Ok(version)
}

/// code-server is wanted if the flag is true or the list has it.
fn addons(fields: &Fields<'_>) -> Result<Vec<Addon>, Refusal> {
    let names: Vec<String> = fields.typed("addons", "a list of texts")?.unwrap_or_default();
    let mut addons = Vec::new();
    for (at, name) in names.iter().enumerate() {
        addons.push(addon(name).ok_or_else(|| {
            let allowed = checks::listed(Addon::ALL.map(Addon::as_str));
            unusable(format!("addons[{at}]"), format!("{:?} is not known; allowed: {allowed}", checks::shortened(name)))
        })?);
    }
    if fields.typed("enable_code_server", "true, false")?.unwrap_or(false) {
        addons.push(Addon::CodeServer);
    }
    addons.sort_unstable();
    addons.dedup();
    Ok(addons)
}

fn addon(name: &str) -> Option<Addon> {
    let name = if name == CODE_SERVER_TOO { Addon::CodeServer.as_str() } else { name };
    Addon::ALL.into_iter().find(|addon| addon.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn choices() -> RuntimeChoices {
        let node = ["20", "22", "24.1.0"].map(str::to_owned).to_vec();
        RuntimeChoices([("node".to_owned(), node), ("go".to_owned(), vec!["1.25".to_owned()])].into())
    }

    fn judge(body: &Value) -> Result<DevConfig, Refusal> {
        let config = read(body, &Settings::default())?;
        check(&config, &choices()).map(|()| config)
    }

    #[test]
    fn a_body_of_the_platform_is_understood() {
        let body = json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": "22",
            "memory_mb": 2048, "enable_code_server": true, "addons": ["codeserver"], "extra": 1});
        let want = DevConfig {
            vmid: 6001,
            runtime: "node".into(),
            version: "22".into(),
            memory_mb: Some(2048),
            addons: vec![Addon::CodeServer],
            ssh: None,
            tailscale: None,
            unknown: vec!["extra".into()],
        };
        assert_eq!(judge(&body), Ok(want));
    }

    #[test]
    fn the_beginning_of_a_version_will_do() {
        for version in ["24", "24.1", "24.1.0"] {
            assert!(judge(&json!({"vmid": 1, "runtime": "node", "version": version})).is_ok(), "{version}");
        }
    }

    #[test]
    fn code_server_is_wanted_by_either_field() {
        for (fields, wanted) in [
            (json!({}), false),
            (json!({"enable_code_server": false, "addons": []}), false),
            (json!({"enable_code_server": true}), true),
            (json!({"addons": ["codeserver"]}), true),
            (json!({"enable_code_server": false, "addons": ["code-server"]}), true),
        ] {
            let mut body = json!({"vmid": 1, "runtime": "go", "runtimeVersion": "1.25"});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert_eq!(judge(&body).unwrap().addons.contains(&Addon::CodeServer), wanted, "{body}");
        }
    }

    #[test]
    fn refusals_name_the_field_and_what_is_allowed() {
        let rows = [
            (json!({"vmid": 1}), "runtime", "allowed: go, node"),
            (json!({"vmid": 1, "runtime": "cobol", "version": "1"}), "runtime", "allowed: go, node"),
            (json!({"vmid": 1, "runtime": "../x", "version": "1"}), "runtime", "A-Z"),
            (json!({"vmid": 1, "runtime": "node"}), "version", "allowed: node 20, 22, 24.1.0"),
            (json!({"vmid": 1, "runtime": "node", "version": "21"}), "version", "allowed: node 20, 22, 24.1.0"),
            (json!({"vmid": 1, "runtime": "node", "version": "2"}), "version", "allowed: node 20, 22, 24.1.0"),
            (json!({"vmid": 1, "runtime": "node", "version": "24.1.00"}), "version", "allowed"),
            (json!({"vmid": 1, "runtime": "node", "version": 22}), "version", "a text"),
            (
                json!({"vmid": 1, "runtime": "node", "version": "22", "runtimeVersion": "20"}),
                "runtimeVersion",
                "contra",
            ),
            (json!({"vmid": 0, "runtime": "node", "version": "22"}), "vmid", "1 to 999999999"),
            (json!({"runtime": "node", "version": "22"}), "vmid", "missing"),
            (json!({"vmid": 1, "runtime": "node", "version": "22", "memory_mb": 1}), "memory_mb", "64 to"),
            (json!({"vmid": 1, "runtime": "node", "version": "22", "addons": ["x"]}), "addons[0]", "codeserver"),
            (json!({"vmid": 1, "runtime": "node", "version": "22", "addons": "x"}), "addons", "a list"),
            (
                json!({"vmid": 1, "runtime": "node", "version": "22", "enable_code_server": "yes"}),
                "enable_code_server",
                "true",
            ),
        ];
        for (body, field, hint) in rows {
            let Err(Refusal::Unusable { field: named, detail }) = judge(&body) else { panic!("accepted: {body}") };
            assert_eq!(named, field, "{body}: {detail}");
            assert!(detail.contains(hint), "{body}: {detail}");
        }
    }

    proptest! {
        /// Whatever is accepted can name folders.
        #[test]
        fn what_is_accepted_is_in_the_catalog(runtime in "[a-z./]{0,6}", version in "[0-9./]{0,4}") {
            let body = json!({"vmid": 1, "runtime": runtime, "version": version});
            if let Ok(config) = judge(&body) {
                let wanted = format!("{}.", config.version);
                let offered = choices().0[&config.runtime].iter().any(|v| [v, "."].concat().starts_with(&wanted));
                prop_assert!(offered);
            }
        }
    }
}
