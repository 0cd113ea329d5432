//! Settings for people: `zlh config show`, and docs/settings.md.
use super::{Origins, Setting, artifacts, gateway, table};
use crate::model::settings::Settings;
use std::fmt::Write;

/// One block a setting: `key = value`, its origin, its meaning and what is allowed. A secret reads `[secret]`.
/// The `key = "value"` lines are a valid agent.toml.
pub fn show(settings: &Settings, origins: &Origins) -> String {
    show_all(table(), settings, origins)
}

/// The same for any program's table.
pub fn show_all<S: Clone + Default>(table: &[Setting<S>], settings: &S, origins: &Origins) -> String {
    let mut out = String::new();
    for setting in table {
        let value = setting.shown(settings);
        let line = if value.is_empty() || setting.is_hidden() {
            format!("# {} = {}", setting.key, if value.is_empty() { "(none)" } else { &value })
        } else {
            format!("{} = {value:?}", setting.key)
        };
        let origin = origins.of(setting.key);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# {} ({})\n{line:<48} # {origin}\n", setting.meaning, setting.allowed());
    }
    out
}

/// docs/settings.md, generated: the table and how to set a value.
pub fn document() -> String {
    let mut out = String::from(
        "# Settings of the agent\n\n\
         Generated from `src/config/table.rs`; a test keeps it so (`UPDATE_GOLDEN=1 cargo test settings_document`).\n\n\
         A value comes from, later wins: the default, `/etc/zlh-agent/agent.toml` under the root (or `--config FILE`), the \
         environment, `--set key=value`, flags of their own. All faults are reported at once with their place, exit \
         code 78. Times are written `250ms`, `30s`, `1m30s`; sizes in bytes or `64KiB`, `8MiB`; lists with commas.\n\n\
         | key | default | environment | meaning | allowed |\n|---|---|---|---|---|\n",
    );
    for setting in table() {
        let default = setting.shown(&Settings::default());
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        let (key, variable) = (setting.key, setting.variable());
        let _ = writeln!(out, "| `{key}` | {default} | `{variable}` | {} | {} |", setting.meaning, setting.allowed());
    }
    document_gateway(&mut out);
    document_artifacts(&mut out);
    out
}

fn document_gateway(out: &mut String) {
    out.push_str(
        "\n# Settings of the gateway\n\n\
         From `src/config/gateway.rs`. The same sources and rules; the file is `gateway.toml` in the data folder, \
         variables begin with `ZLH_GATEWAY_` (`login.burst` is `ZLH_GATEWAY_LOGIN__BURST`), and \
         `zlh gateway settings` prints what is in force.\n\n\
         | key | default | meaning | allowed |\n|---|---|---|---|\n",
    );
    document_rows(out, gateway::table());
}

fn document_artifacts(out: &mut String) {
    out.push_str(
        "\n# Settings of the artifact server\n\n\
         From `src/config/artifacts.rs`, for `zlh artifacts serve`: by `--set key=value`, or by variables that begin with \
         `ZLH_ARTIFACTS_` (`limits.connections` is `ZLH_ARTIFACTS_LIMITS__CONNECTIONS`).\n\n\
         | key | default | meaning | allowed |\n|---|---|---|---|\n",
    );
    document_rows(out, artifacts::table());
}

fn document_rows<S: Clone + Default>(out: &mut String, table: &[Setting<S>]) {
    for setting in table {
        let default = setting.shown(&S::default());
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        let _ = writeln!(out, "| `{}` | {default} | {} | {} |", setting.key, setting.meaning, setting.allowed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Secret;

    #[test]
    fn settings_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, document()).unwrap();
        }
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        assert!(on_disk == document(), "docs/settings.md is stale: UPDATE_GOLDEN=1 cargo test settings_document");
    }

    #[test]
    fn what_is_shown_can_be_read_again_and_holds_no_secret() {
        let settings = Settings {
            token: Some(Secret("hush-hush".into())),
            listen: "127.0.0.1:1".parse().unwrap(),
            ..Settings::default()
        };
        let shown = show(&settings, &Origins::default());
        assert!(!shown.contains("hush") && shown.contains("[secret]"), "{shown}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, &shown).unwrap();
        let sources = super::super::Sources { file: Some(file), ..Default::default() };
        let (read, _) = super::super::load(sources).unwrap();
        assert_eq!(Settings { token: settings.token.clone(), ..read }, settings);
    }
}
