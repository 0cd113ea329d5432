//! `zlh config show`, and the agent's own settings for commands on its machine.
use super::{print, print_json};
use crate::{
    cli::{
        args::{ClientArgs, ConfigVerb, SettingsArgs},
        failure::Failure,
    },
    config::{self, Fault, Origins, Sources},
    model::settings::{Secret, Settings},
};
use std::path::Path;

/// The token of the agent on this machine, if we may read its configuration.
pub fn local_token() -> Option<Secret> {
    let (settings, _) = load(&SettingsArgs::default(), None, None).ok()?;
    settings.token
}

/// As `zlh agent` with the same flags would load them.
pub fn load(args: &SettingsArgs, root: Option<&Path>, token: Option<&Path>) -> Result<(Settings, Origins), Vec<Fault>> {
    let text = |path: &Path| path.display().to_string();
    let flags = [("root", root.map(text)), ("token_file", token.map(text))];
    let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    config::load(Sources::of_process(args.config.clone(), args.set.clone(), flags))
}

pub fn show(args: &ClientArgs, verb: ConfigVerb) -> Result<(), Failure> {
    let ConfigVerb::Show { default, root, settings } = verb;
    let (settings, origins) = match default {
        true => (Settings::default(), Origins::default()),
        false => load(&settings, root.as_deref(), args.token_file.as_deref())
            .map_err(|faults| Failure::Configuration(faults.iter().map(ToString::to_string).collect()))?,
    };
    for note in &origins.notes {
        eprintln!("note: {note}");
    }
    match args.json {
        true => print_json(json(&settings, &origins).to_string().as_bytes()),
        false => print(&config::show(&settings, &origins)),
    }
}

/// One object a setting, in the order of the table.
fn json(settings: &Settings, origins: &Origins) -> serde_json::Value {
    let row = |setting: &config::Setting| {
        serde_json::json!({
            "key": setting.key,
            "value": setting.shown(settings),
            "origin": origins.of(setting.key).to_string(),
            "meaning": setting.meaning,
            "allowed": setting.allowed(),
            "environment": setting.variable(),
        })
    };
    config::table().iter().map(row).collect()
}
