//! Reading one program's settings from all their sources; which program's, its [`Rules`] say.
use super::{Fault, Origin, Origins, file, table};
use std::path::Path;

/// One `key = value` with the place it was found.
pub struct Entry {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

/// What is special about one program's settings.
pub struct Rules<S: 'static> {
    pub table: &'static [table::Setting<S>],
    /// How the names of its variables begin.
    pub prefix: &'static str,
    /// Names that do not follow the rule, and the key each stands for.
    pub names: &'static [(&'static str, &'static str)],
}

impl<S> Rules<S> {
    fn find(&self, key: &str) -> Option<&'static table::Setting<S>> {
        self.table.iter().find(|setting| setting.key == key)
    }

    fn knows(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// `restart.backof`: the group is ours, so it is a slip and not somebody else's variable.
    fn has_group(&self, key: &str) -> bool {
        let group = |key: &str| key.split_once('.').map(|(group, _)| group.to_owned());
        group(key).is_some_and(|own| self.table.iter().any(|setting| group(setting.key).as_ref() == Some(&own)))
    }

    fn no_such(&self, key: &str) -> String {
        match table::nearest_of(key, self.table.iter().map(|setting| setting.key)) {
            Some(near) => format!("no such setting; did you mean {near}?"),
            None => "no such setting; `zlh config show --default` lists all".into(),
        }
    }
}

/// Flags of their own, as entries.
pub fn flag_entries(flags: &[(&'static str, String)]) -> impl Iterator<Item = Entry> {
    flags.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: value.clone(),
        origin: Origin::Flag(format!("--{}", key.replace(['_', '.'], "-"))),
    })
}

pub struct Loading<S: 'static> {
    pub settings: S,
    pub origins: Origins,
    pub faults: Vec<Fault>,
    rules: Rules<S>,
}

impl<S: Clone + Default> Loading<S> {
    pub fn new(rules: Rules<S>) -> Loading<S> {
        Loading { settings: S::default(), origins: Origins::default(), faults: Vec::new(), rules }
    }

    pub fn environment(&mut self, env: &[(String, String)]) -> Vec<Entry> {
        let mut out = Vec::new();
        let prefix = self.rules.prefix;
        let mut ours: Vec<&(String, String)> =
            env.iter().filter(|(k, v)| k.starts_with(prefix) && !v.is_empty()).collect();
        ours.sort();
        for (name, value) in ours {
            let named = self.rules.names.iter().find(|(known, _)| known == name).map(|(_, key)| (*key).to_owned());
            let key = named.unwrap_or_else(|| name[prefix.len()..].to_ascii_lowercase().replace("__", "."));
            let origin = Origin::Environment(name.clone());
            if self.rules.knows(&key) || self.rules.has_group(&key) {
                out.push(Entry { key, value: value.clone(), origin });
            } else {
                // Other parts of the platform have variables of this prefix too.
                self.origins.notes.push(format!("{name} is no setting of this program and was ignored"));
            }
        }
        out
    }

    pub fn set_flags(&mut self, set: &[String]) -> Vec<Entry> {
        let mut out = Vec::new();
        for text in set {
            match text.split_once('=') {
                Some((key, value)) => {
                    out.push(Entry { key: key.trim().into(), value: value.into(), origin: Origin::Set });
                }
                None => self.faults.push(Fault::new(Origin::Set, text, "write it as key=value")),
            }
        }
        out
    }

    /// `usual`: the key that names the folder the file lies under, that folder's default, and the file's path in it.
    pub fn file(&mut self, named: Option<&Path>, late: &[Entry], usual: (&str, &str, &str)) -> Vec<Entry> {
        let (key, default, path) = usual;
        let folder = late.iter().rev().find(|entry| entry.key == key).map_or(default, |entry| &entry.value);
        let usual = Path::new(folder).join(path);
        file::entries(named.unwrap_or(&usual), named.is_some(), &mut self.faults)
    }

    pub fn apply(&mut self, entry: &Entry) {
        let fault = |problem: String| Fault::new(entry.origin.clone(), &entry.key, problem);
        let Some(setting) = self.rules.find(&entry.key) else {
            self.faults.push(fault(self.rules.no_such(&entry.key)));
            return;
        };
        if setting.is_secret() && !matches!(entry.origin, Origin::Environment(_)) {
            self.faults
                .push(fault("others could read it there; write it to a file and name that by token_file".into()));
            return;
        }
        let slot = (setting.slot)(&mut self.settings);
        let (allowed, hidden) = (slot.allowed(), slot.may_hide());
        match slot.set(&entry.value) {
            Ok(()) => self.origins.set(setting.key, entry.origin.clone()),
            Err(_) if hidden => self.faults.push(fault(format!("unusable; allowed: {allowed}"))),
            Err(why) => self.faults.push(fault(format!("{:?}: {why}; allowed: {allowed}", shortened(&entry.value)))),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
