//! Reading a `/config` body field by field: what all kinds of containers have in common. A refusal names the field and
//! what it may be.
use crate::{
    model::{container::Kind, refusal::Refusal, settings::Settings},
    policy::launch::checks,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// All names of the field that says `game` or `dev`: older callers use the other two.
pub const TYPE_FIELDS: [&str; 3] = ["container_type", "containerType", "ctype"];

const HIGHEST_VMID: u64 = 999_999_999;
const MEMORY_MB: std::ops::RangeInclusive<u64> = 64..=1_048_576;
const LONGEST_TEXT: usize = 1024;

pub fn unusable(field: impl Into<String>, detail: impl Into<String>) -> Refusal {
    Refusal::Unusable { field: field.into(), detail: detail.into() }
}

/// Access to fields by name; `null`, `""` and missing are the same.
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl Fields<'_> {
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null() && v.as_str() != Some(""))
    }

    pub fn typed<T: DeserializeOwned>(&self, name: &str, allowed: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(name) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|_| unusable(name, format!("allowed: {allowed}")))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        let text: Option<String> = self.typed(name, "a text")?;
        match text {
            Some(t) if t.len() > LONGEST_TEXT || t.chars().any(char::is_control) => {
                let detail = format!("allowed: a text of at most {LONGEST_TEXT} bytes without control characters");
                Err(unusable(name, detail))
            }
            other => Ok(other),
        }
    }

    pub fn name(&self, name: &str) -> Result<Option<String>, Refusal> {
        let text = self.text(name)?;
        text.iter().try_for_each(|t| checks::name(name, t))?;
        Ok(text)
    }

    /// One value under several names; two that differ are a contradiction.
    pub fn any_of<'n>(&self, names: &[&'n str]) -> Result<Option<(&'n str, String)>, Refusal> {
        let mut said: Option<(&str, String)> = None;
        for name in names {
            let Some(word) = self.text(name)? else { continue };
            match &said {
                Some((first, other)) if *other != word => {
                    return Err(unusable(*name, format!("{:?} contradicts {first}", checks::shortened(&word))));
                }
                _ => said = Some((name, word)),
            }
        }
        Ok(said)
    }

    /// No type means a game. A dev container that names a game contradicts itself.
    pub fn kind(&self) -> Result<Kind, Refusal> {
        match self.any_of(&TYPE_FIELDS)? {
            Some((name, word)) if word == Kind::Dev.as_str() => match self.value("game") {
                Some(_) => Err(unusable("game", format!("contradicts {name} \"dev\""))),
                None => Ok(Kind::Dev),
            },
            Some((name, word)) if word != Kind::Game.as_str() => {
                Err(unusable(name, format!("{:?} is not known; allowed: game, dev", checks::shortened(&word))))
            }
            _ => Ok(Kind::Game),
        }
    }

    pub fn check_size(&self, limit: usize) -> Result<(), Refusal> {
        match serde_json::to_vec(self.0) {
            Ok(bytes) if bytes.len() <= limit => Ok(()),
            _ => Err(unusable("(body)", format!("larger than limits.config_bytes, {limit} bytes"))),
        }
    }

    pub fn vmid(&self, settings: &Settings) -> Result<u32, Refusal> {
        let allowed = format!("a whole number, 1 to {HIGHEST_VMID}");
        let given: Option<u64> = self.typed("vmid", &allowed)?;
        let vmid = given.or(settings.vmid.map(u64::from));
        let vmid = vmid.ok_or_else(|| unusable("vmid", format!("missing: {allowed}")))?;
        let fits = (1..=HIGHEST_VMID).contains(&vmid);
        let number = u32::try_from(vmid).ok().filter(|_| fits);
        number.ok_or_else(|| unusable("vmid", format!("{vmid}: allowed is {allowed}")))
    }

    pub fn memory_mb(&self) -> Result<Option<u64>, Refusal> {
        let allowed = format!("a whole number of MiB, {} to {}", MEMORY_MB.start(), MEMORY_MB.end());
        let given: Option<u64> = self.typed("memory_mb", &allowed)?;
        match given {
            Some(mb) if !MEMORY_MB.contains(&mb) => Err(unusable("memory_mb", format!("{mb}: allowed is {allowed}"))),
            other => Ok(other),
        }
    }
}
