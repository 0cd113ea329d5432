//! Filling `{variables}` into the texts of a game definition.
use super::unusable;
use crate::model::refusal::Refusal;
use std::collections::BTreeMap;

/// What each name stands for in one launch.
#[derive(Debug, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `text` with each `{name}` replaced. A name without a value refuses the field it comes from.
    pub fn expand(&self, text: &str) -> Result<String, Refusal> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('{') {
            let (name, after) = tail.split_once('}').unwrap_or((tail, ""));
            out.push_str(before);
            out.push_str(self.get(name).ok_or_else(|| lacking(name, text))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn lacking(name: &str, text: &str) -> Refusal {
    let (field, what) = match name {
        "port" | "econ_port" => ("ports", "name at least one port"),
        "version" => ("version", "name the version"),
        "memory_mb" | "heap_mb" => ("memory_mb", "name the memory in MiB"),
        _ => ("game", "the game's definition is faulty"),
    };
    unusable(field, format!("nothing is known to put into {text:?} for {{{name}}}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_a_missing_one_names_the_field() {
        let mut v = Variables::default();
        v.set("port", Some("25565".into()));
        v.set("world", Some("{port}".into()));
        assert_eq!(v.expand("sv_port {port}").ok().as_deref(), Some("sv_port 25565"));
        assert_eq!(v.expand("{world}{port}").ok().as_deref(), Some("{port}25565"), "values are not expanded again");
        assert_eq!(v.expand("plain").ok().as_deref(), Some("plain"));
        for (text, field) in
            [("-Xmx{heap_mb}M", "memory_mb"), ("{version}", "version"), ("{oops}", "game"), ("{port", "")]
        {
            match v.expand(text) {
                Err(Refusal::Unusable { field: named, .. }) => assert_eq!(named, field, "{text}"),
                other => assert!(field.is_empty(), "{text}: {other:?}"),
            }
        }
    }
}
