//! The signature sets of `catalog/crash/`: what a rule says, and where its text lies in this program.
use crate::model::crash::Retry;
use serde::Deserialize;

/// Every set by name, the most specific first: of equally good rules on one line the first one decides.
const FILES: [(&str, &str); 23] = [
    ("flying_squid", include_str!("../../../catalog/crash/flying_squid.toml")),
    ("pocketmine", include_str!("../../../catalog/crash/pocketmine.toml")),
    ("bedrock", include_str!("../../../catalog/crash/bedrock.toml")),
    ("mixin", include_str!("../../../catalog/crash/mixin.toml")),
    ("forge", include_str!("../../../catalog/crash/forge.toml")),
    ("fabric", include_str!("../../../catalog/crash/fabric.toml")),
    ("paper", include_str!("../../../catalog/crash/paper.toml")),
    ("minecraft", include_str!("../../../catalog/crash/minecraft.toml")),
    ("factorio", include_str!("../../../catalog/crash/factorio.toml")),
    ("terraria", include_str!("../../../catalog/crash/terraria.toml")),
    ("minetest", include_str!("../../../catalog/crash/minetest.toml")),
    ("teeworlds", include_str!("../../../catalog/crash/teeworlds.toml")),
    ("openttd", include_str!("../../../catalog/crash/openttd.toml")),
    ("freeciv", include_str!("../../../catalog/crash/freeciv.toml")),
    ("steam", include_str!("../../../catalog/crash/steam.toml")),
    ("unity", include_str!("../../../catalog/crash/unity.toml")),
    ("dotnet", include_str!("../../../catalog/crash/dotnet.toml")),
    ("node", include_str!("../../../catalog/crash/node.toml")),
    ("python", include_str!("../../../catalog/crash/python.toml")),
    ("go", include_str!("../../../catalog/crash/go.toml")),
    ("rust", include_str!("../../../catalog/crash/rust.toml")),
    ("jvm", include_str!("../../../catalog/crash/jvm.toml")),
    ("common", include_str!("../../../catalog/crash/common.toml")),
];

/// The set that is always asked.
const ALWAYS: &str = "common";
/// The name that stands for every set: for programs nobody knows.
const EVERY: &str = "all";

/// What a rule says about the class; `Status` leaves it to the exit status. The order is the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    Oom,
    MissingDependency,
    ModOrPluginError,
    Status,
}

/// What a hit is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strength {
    /// This can end the process.
    Fatal,
    /// Speaks only if nothing fatal does.
    Evidence,
    /// Looks like a crash and is none: the line is not looked at.
    Never,
}

/// One row of a set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub id: String,
    pub class: Class,
    pub code: String,
    pub strength: Strength,
    pub retry: Retry,
    /// Exit codes (a signal n counts as 128+n) with which a fatal rule is fatal; empty = any.
    #[serde(default)]
    pub gate: Vec<i32>,
    /// May also be believed on a line of the set's `distrust`, as long as no player could have joined.
    #[serde(default)]
    pub info: bool,
    /// Only says that something broke: a rule that says what goes first.
    #[serde(default)]
    pub generic: bool,
    /// A line with this text in it is not meant.
    #[serde(default)]
    pub unless: Option<String>,
    /// Matched against one line; named groups become captures.
    pub pattern: String,
    /// A line that this rule matches; tests hold it to that.
    #[cfg_attr(not(test), allow(dead_code))]
    pub sample: String,
    /// For a person. `{name|otherwise}` is the capture, or the text after the bar.
    pub hint: String,
    /// Where the text is known from.
    #[cfg_attr(not(test), allow(dead_code))]
    pub source: String,
}

/// One file of `catalog/crash/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    /// Lines after which the server is up: what was said before did not end it.
    #[serde(default)]
    pub ready: Vec<String>,
    /// Lines that players write: never looked at.
    #[serde(default)]
    pub chat: Vec<String>,
    /// Lines into which a player can bring text: only rules with `info` look at them.
    #[serde(default)]
    pub distrust: Vec<String>,
    #[serde(rename = "rule", default)]
    pub rules: Vec<Rule>,
}

/// Is there a signature set of this name? Game definitions are checked with it.
pub fn is_signature_set(name: &str) -> bool {
    name == EVERY || FILES.iter().any(|(known, _)| *known == name)
}

/// The named sets and `common`, and a sentence for every one that could not be had.
pub(super) fn load(names: &[String]) -> (Vec<Set>, Vec<String>) {
    let mut faults: Vec<String> = names
        .iter()
        .filter(|n| !is_signature_set(n))
        .map(|n| format!("there is no set of crash signatures called {n:?}"))
        .collect();
    let wanted = |file: &str| file == ALWAYS || names.iter().any(|n| n == file || n == EVERY);
    let mut sets = Vec::new();
    for (name, text) in FILES.iter().filter(|(name, _)| wanted(name)) {
        match toml::from_str(text) {
            Ok(set) => sets.push(set),
            Err(e) => faults.push(format!("the set of crash signatures {name:?} cannot be read: {e}")),
        }
    }
    (sets, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn every_rule() -> Vec<Rule> {
        let (sets, faults) = load(&["all".into()]);
        assert_eq!(faults, Vec::<String>::new());
        sets.into_iter().flat_map(|s| s.rules).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/crash");
        let on_disk: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        let listed: BTreeSet<String> = FILES.iter().map(|(n, _)| format!("{n}.toml")).collect();
        assert_eq!(on_disk, listed);
    }

    #[test]
    fn every_rule_compiles_matches_its_sample_and_helps_a_person() {
        let rules = every_rule();
        assert!(rules.len() >= 150, "{}", rules.len());
        let mut ids = BTreeSet::new();
        for rule in &rules {
            let regex = regex::Regex::new(&rule.pattern).unwrap_or_else(|e| panic!("{}: {e}", rule.id));
            assert!(regex.is_match(&rule.sample), "{} does not match its sample", rule.id);
            assert!(rule.unless.as_ref().is_none_or(|u| !rule.sample.contains(u)), "{}", rule.id);
            assert!(ids.insert(rule.id.clone()), "{} is there twice", rule.id);
            assert!(rule.hint.len() > 20 && rule.hint.ends_with(['.', ')']), "{}: {}", rule.id, rule.hint);
            assert!(rule.code.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c)), "{}", rule.code);
            assert!(rule.source.len() > 2, "{}", rule.id);
        }
    }

    #[test]
    fn the_lists_of_every_set_compile() {
        for set in load(&["all".into()]).0 {
            for pattern in set.ready.iter().chain(&set.chat).chain(&set.distrust) {
                regex::Regex::new(pattern).unwrap();
            }
        }
    }

    #[test]
    fn an_unknown_set_is_named_and_the_others_are_there() {
        let (sets, faults) = load(&["jvm".into(), "jmv".into()]);
        assert_eq!(sets.len(), 2);
        assert_eq!(faults, ["there is no set of crash signatures called \"jmv\""]);
    }
}
