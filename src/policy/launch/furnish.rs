//! What has to be installed before a `/config` can be launched, and how its server root is made of it.
use super::{Choice, runtime, template::Variables};
use crate::model::{
    furnishing::{Furnishing, Lines, WantedExtra},
    game::{ConfigBody, Extra, InstallRule, Preset},
    install::Wanted,
    machine::Machine,
    refusal::Refusal,
    settings::Settings,
};
use std::collections::BTreeMap;

pub fn furnishing(
    body: &ConfigBody,
    choice: &Choice<'_>,
    machine: &Machine,
    variables: &Variables,
    settings: &Settings,
) -> Result<Furnishing, Refusal> {
    let rule = rule(choice);
    let source = source(body, choice, &rule);
    Ok(Furnishing {
        runtime: choice.game.runtime.as_ref().and_then(|rule| runtime::wanted(rule, body, machine)),
        unclear: source.as_ref().err().cloned(),
        files: source.ok().flatten(),
        file: rule.file.clone(),
        owners: choice.game.files.write.clone(),
        extras: extras(&rule.extras, body, choice, variables)?,
        run: rule.run.iter().map(|text| variables.expand(text)).collect::<Result<_, _>>()?,
        presets: presets(&rule.presets, variables, settings.game.accept_eula)?,
    })
}

/// The game's own, with what its variant says instead and in addition.
fn rule(choice: &Choice<'_>) -> InstallRule {
    let mut rule = choice.game.install.clone().unwrap_or_default();
    let Some(own) = choice.variant.map(|variant| variant.install.clone()) else { return rule };
    rule.file = own.file.or(rule.file);
    rule.path = own.path.or(rule.path);
    rule.version = own.version.or(rule.version);
    if !own.run.is_empty() {
        rule.run = own.run;
    }
    rule.extras.extend(own.extras);
    rule.presets.extend(own.presets);
    rule
}

/// `Ok(None)`: this game is not installed from artifacts.
fn source(body: &ConfigBody, choice: &Choice<'_>, rule: &InstallRule) -> Result<Option<Wanted>, String> {
    if body.artifact_path.is_none() && choice.game.install.is_none() {
        return Ok(None);
    }
    let game = choice.game.id.clone();
    let named = body.version.clone().or_else(|| body.artifact_path.as_deref().map(version_in));
    let unclear = || format!("which version of {game} is wanted? Name it in /config as \"version\"");
    let version = named.or_else(|| rule.version.clone()).ok_or_else(unclear)?;
    let path = body.artifact_path.clone().or_else(|| rule.path.clone());
    Ok(Some(Wanted::GameFiles { game, variant: choice.folder().to_owned(), version, path }))
}

/// `minecraft/paper/1.21.4/server.jar` is of version `1.21.4`; `games/squid-1.12.tar.gz` goes by its own name.
fn version_in(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let numbered = |part: &&&str| part.starts_with(|c: char| c.is_ascii_digit());
    let folders = &parts[..parts.len().saturating_sub(1)];
    folders.iter().rev().find(numbered).or(parts.last()).map_or_else(|| path.to_owned(), |part| (*part).to_owned())
}

/// None without a version: they belong to one.
fn extras(
    extras: &[Extra],
    body: &ConfigBody,
    choice: &Choice<'_>,
    variables: &Variables,
) -> Result<Vec<WantedExtra>, Refusal> {
    let Some(version) = &body.version else { return Ok(Vec::new()) };
    let wanted = extras.iter().map(|extra| {
        let path = variables.expand(&extra.path)?;
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let (game, variant) = (choice.game.id.clone(), format!("{}-{name}", choice.folder()));
        let wanted = Wanted::GameFiles { game, variant, version: version.clone(), path: Some(path) };
        Ok(WantedExtra { wanted, to: extra.to.clone() })
    });
    wanted.collect()
}

fn presets(presets: &[Preset], variables: &Variables, eula: bool) -> Result<Vec<Lines>, Refusal> {
    let lines = |texts: &BTreeMap<String, String>| -> Result<BTreeMap<String, String>, Refusal> {
        texts.iter().map(|(key, text)| Ok((key.clone(), variables.expand(text)?))).collect()
    };
    let wanted = presets.iter().filter(|preset| eula || !preset.eula);
    wanted.map(|p| Ok(Lines { file: p.file.clone(), set: lines(&p.set)?, once: lines(&p.once)? })).collect()
}
