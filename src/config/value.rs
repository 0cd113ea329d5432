//! One setting's place in `Settings`: how its text is read, checked and written.
use crate::model::{
    exclude::Excludes,
    network::Network,
    settings::{OnAgentStop, Secret, UpdateMode},
};
use data_encoding::BASE64;
use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

/// Whole numbers of any width.
pub trait Whole {
    fn put(&mut self, value: u64) -> bool;
    fn shown(&self) -> u64;
}

macro_rules! whole {
    ($($t:ty),*) => {$(
        impl Whole for $t {
            fn put(&mut self, value: u64) -> bool {
                <$t>::try_from(value).map(|v| *self = v).is_ok()
            }
            fn shown(&self) -> u64 {
                *self as u64
            }
        }
    )*};
}
whole!(u16, u32, u64, usize);

/// A setting and its bounds. One accessor of the table gives both: reading and writing.
pub enum Slot<'a> {
    Flag(&'a mut bool),
    Count(&'a mut dyn Whole, RangeInclusive<u64>),
    OptionalCount(&'a mut Option<u32>, RangeInclusive<u64>),
    Size(&'a mut dyn Whole, RangeInclusive<u64>),
    Share(&'a mut f64, RangeInclusive<f64>),
    Time(&'a mut Duration, RangeInclusive<Duration>),
    Times(&'a mut Vec<Duration>, RangeInclusive<Duration>),
    Folder(&'a mut PathBuf),
    OptionalFile(&'a mut Option<PathBuf>),
    Address(&'a mut SocketAddr),
    OptionalUrl(&'a mut Option<String>),
    /// The address of a store, which may hold a password; with the schemes it may have.
    StoreUrl(&'a mut Option<Secret>, &'static [&'static str]),
    /// True, false, or left to the program.
    AutoFlag(&'a mut Option<bool>),
    HostName(&'a mut Option<String>),
    /// Where this machine itself can reach what listens there.
    OwnAddress(&'a mut IpAddr),
    /// Path of a URL, with `{vmid}` for the container's number.
    OptionalPath(&'a mut Option<String>),
    Account(&'a mut String),
    Word(&'a mut String),
    Names(&'a mut Vec<String>),
    /// What a backup leaves out.
    Patterns(&'a mut Vec<String>),
    Keys(&'a mut Vec<String>),
    Urls(&'a mut Vec<String>),
    Networks(&'a mut Vec<Network>),
    AgentStop(&'a mut OnAgentStop),
    Update(&'a mut UpdateMode),
    Secret(&'a mut Option<Secret>),
}

/// More entries than this no list has.
const LONGEST_LIST: usize = 64;

impl Slot<'_> {
    /// The error says what is allowed.
    pub fn set(self, text: &str) -> Result<(), String> {
        let text = text.trim();
        match self {
            Slot::Flag(to) => flag(text).map(|v| *to = v),
            Slot::Count(to, range) => store(to, count(text, &range)?),
            Slot::OptionalCount(to, range) => {
                let value = if text.is_empty() { None } else { Some(count(text, &range)?) };
                *to = value.and_then(|v| u32::try_from(v).ok());
                Ok(())
            }
            Slot::Size(to, range) => store(to, size(text, &range)?),
            Slot::Share(to, range) => share(text, &range).map(|v| *to = v),
            Slot::Time(to, range) => time(text, &range).map(|v| *to = v),
            Slot::Times(to, range) => times(text, &range).map(|v| *to = v),
            Slot::Folder(to) => folder(text).map(|v| *to = v),
            Slot::OptionalFile(to) => {
                *to = (!text.is_empty()).then(|| PathBuf::from(text));
                Ok(())
            }
            Slot::Address(to) => address(text).map(|v| *to = v),
            Slot::OptionalUrl(to) => url(text).map(|v| *to = v),
            Slot::StoreUrl(to, schemes) => store_url(text, schemes).map(|v| *to = v),
            Slot::AutoFlag(to) if text.eq_ignore_ascii_case("auto") => {
                *to = None;
                Ok(())
            }
            Slot::AutoFlag(to) => flag(text).map(|v| *to = Some(v)),
            Slot::HostName(to) => host_name(text).map(|v| *to = v),
            Slot::OwnAddress(to) => own_address(text).map(|v| *to = v),
            Slot::OptionalPath(to) => url_path(text).map(|v| *to = v),
            Slot::Account(to) => account(text).map(|v| *to = v),
            Slot::Word(to) => account(text).map(|v| *to = v).map_err(|_| "not a plain word".into()),
            Slot::Names(to) => names(text).map(|v| *to = v),
            Slot::Patterns(to) => patterns(text).map(|v| *to = v),
            Slot::Keys(to) => keys(text).map(|v| *to = v),
            Slot::Urls(to) => urls(text).map(|v| *to = v),
            Slot::Networks(to) => networks(text).map(|v| *to = v),
            Slot::AgentStop(to) => agent_stop(text).map(|v| *to = v),
            Slot::Update(to) => update_mode(text).map(|v| *to = v),
            Slot::Secret(to) => secret(text).map(|v| *to = Some(v)),
        }
    }

    /// The text that would set this value again; secrets read `[secret]`.
    pub fn shown(&self) -> String {
        match self {
            Slot::Flag(v) => v.to_string(),
            Slot::Count(v, _) => v.shown().to_string(),
            Slot::OptionalCount(v, _) => v.map(|v| v.to_string()).unwrap_or_default(),
            Slot::Size(v, _) => size_text(v.shown()),
            Slot::Share(v, _) => v.to_string(),
            Slot::Time(v, _) => time_text(v),
            Slot::Times(v, _) => v.iter().map(time_text).collect::<Vec<_>>().join(","),
            Slot::Folder(v) => v.display().to_string(),
            Slot::OptionalFile(v) => v.as_ref().map(|v| v.display().to_string()).unwrap_or_default(),
            Slot::Address(v) => v.to_string(),
            Slot::OptionalUrl(v) => v.as_deref().unwrap_or_default().to_owned(),
            Slot::StoreUrl(v, _) => if v.is_some() { "[url]" } else { "" }.to_owned(),
            Slot::AutoFlag(v) => v.map_or("auto".to_owned(), |v| v.to_string()),
            Slot::HostName(v) | Slot::OptionalPath(v) => v.as_deref().unwrap_or_default().to_owned(),
            Slot::OwnAddress(v) => v.to_string(),
            Slot::Account(v) | Slot::Word(v) => (*v).clone(),
            Slot::Names(v) | Slot::Patterns(v) | Slot::Keys(v) | Slot::Urls(v) => v.join(","),
            Slot::Networks(v) => v.iter().map(Network::to_string).collect::<Vec<_>>().join(","),
            Slot::AgentStop(v) => agent_stop_text(**v).to_owned(),
            Slot::Update(v) => update_mode_text(**v).to_owned(),
            Slot::Secret(v) => if v.is_some() { "[secret]" } else { "" }.to_owned(),
        }
    }

    /// May the text hold a secret? Then no fault quotes it.
    pub fn may_hide(&self) -> bool {
        matches!(self, Slot::Secret(_) | Slot::StoreUrl(..))
    }

    /// What may be written here, for people.
    pub fn allowed(&self) -> String {
        match self {
            Slot::Flag(_) => "true or false".into(),
            Slot::Count(_, r) | Slot::OptionalCount(_, r) => format!("a whole number, {} to {}", r.start(), r.end()),
            Slot::Size(_, r) => {
                format!("bytes, or 64KiB, 8MiB; {} to {}", size_text(*r.start()), size_text(*r.end()))
            }
            Slot::Share(_, r) => format!("a number, {} to {}", r.start(), r.end()),
            Slot::Time(_, r) => format!("a time, {} to {}", time_text(r.start()), time_text(r.end())),
            Slot::Times(_, r) => {
                format!("times divided by commas, each {} to {}", time_text(r.start()), time_text(r.end()))
            }
            Slot::Folder(_) => "an absolute path".into(),
            Slot::OptionalFile(_) => "a path".into(),
            Slot::Address(_) => "address:port, e.g. 127.0.0.1:18888; port 0 = any free one".into(),
            Slot::OptionalUrl(_) => "an http:// or https:// address".into(),
            Slot::StoreUrl(_, schemes) => format!("an address that begins with {}", schemes.join(" or ")),
            Slot::AutoFlag(_) => "true, false or auto".into(),
            Slot::HostName(_) => "a host name".into(),
            Slot::OwnAddress(_) => "0.0.0.0, :: or a loopback address".into(),
            Slot::OptionalPath(_) => "a path that begins with /; {vmid} is filled in".into(),
            Slot::Account(_) => "an account name".into(),
            Slot::Word(_) => "a word of a-z, 0-9, _ and -".into(),
            Slot::Names(_) => "names divided by commas".into(),
            Slot::Patterns(_) => "patterns as in a .gitignore, divided by commas".into(),
            Slot::Urls(_) => "http:// or https:// addresses divided by commas".into(),
            Slot::Networks(_) => "addresses and ranges like 10.0.0.0/8, divided by commas".into(),
            Slot::Keys(_) => "keys as `zlh artifacts keygen` prints them, divided by commas".into(),
            Slot::AgentStop(_) => "leave, stop or auto".into(),
            Slot::Update(_) => "notify, auto or off".into(),
            Slot::Secret(_) => "text without spaces".into(),
        }
    }
}

fn store(to: &mut dyn Whole, value: u64) -> Result<(), String> {
    if to.put(value) { Ok(()) } else { Err(format!("{value} is too large for this machine")) }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("not true or false".into()),
    }
}

fn count(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    within(text.replace('_', "").parse().map_err(|_| "not a whole number".to_owned())?, range)
}

fn within<T: PartialOrd>(value: T, range: &RangeInclusive<T>) -> Result<T, String> {
    if range.contains(&value) { Ok(value) } else { Err("out of range".into()) }
}

const UNITS: [(&str, u64); 7] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase().replace('_', "");
    let unit = UNITS.iter().find_map(|(name, factor)| lower.strip_suffix(name).map(|digits| (digits.trim(), *factor)));
    let (digits, factor) = unit.unwrap_or((&lower, 1));
    let number: u64 = digits.parse().map_err(|_| "not a size".to_owned())?;
    within(number.checked_mul(factor).ok_or("out of range")?, range)
}

fn size_text(bytes: u64) -> String {
    let fits = UNITS[..3].iter().zip(["GiB", "MiB", "KiB"]).find(|((_, f), _)| bytes >= *f && bytes.is_multiple_of(*f));
    fits.map_or(bytes.to_string(), |((_, factor), name)| format!("{}{name}", bytes / factor))
}

fn share(text: &str, range: &RangeInclusive<f64>) -> Result<f64, String> {
    within(text.parse().map_err(|_| "not a number".to_owned())?, range)
}

fn time(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
    within(value.map_err(|why| format!("not a time like 30s, 1m30s, 250ms: {why}"))?, range)
}

fn time_text(value: &Duration) -> String {
    humantime::format_duration(*value).to_string().replace(' ', "")
}

fn times(text: &str, range: &RangeInclusive<Duration>) -> Result<Vec<Duration>, String> {
    let all = entries(text)?;
    if all.is_empty() {
        return Err("the list is empty".into());
    }
    all.into_iter().map(|one| time(one, range).map_err(|why| format!("{one:?}: {why}"))).collect()
}

fn entries(text: &str) -> Result<Vec<&str>, String> {
    let all: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if all.len() > LONGEST_LIST { Err(format!("more than {LONGEST_LIST} entries")) } else { Ok(all) }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') { Ok(path) } else { Err("not an absolute path".into()) }
}

/// Also `:18888` (every address) and `localhost:18888`, as people write them.
fn address(text: &str) -> Result<SocketAddr, String> {
    let spelled = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    spelled.parse().map_err(|_| "not an address with a port".to_owned())
}

fn url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err("not an http:// or https:// address".into()),
    }
}

/// It may hold a password: the text itself never appears in the error.
fn store_url(text: &str, schemes: &[&str]) -> Result<Option<Secret>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match schemes.iter().any(|scheme| text.starts_with(scheme)) {
        true => secret(text).map(Some),
        false => Err(format!("does not begin with {}", schemes.join(" or "))),
    }
}

fn host_name(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.trim_start_matches('.').to_ascii_lowercase();
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (name, port) = text.split_once(':').unwrap_or((&text, "0"));
    let fits = name.len() <= 240 && name.split('.').all(label) && port.parse::<u16>().is_ok();
    if fits { Ok(Some(text)) } else { Err("not a host name".into()) }
}

fn own_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "not an address".to_owned())?;
    match address.is_unspecified() || address.is_loopback() {
        true => Ok(address),
        false => Err("the agent would not reach the editor there".into()),
    }
}

fn url_path(text: &str) -> Result<Option<String>, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '\\');
    match text.is_empty() || (text.starts_with('/') && text.len() <= 256 && text.chars().all(plain)) {
        true => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
        false => Err("not a path of a URL".into()),
    }
}

fn urls(text: &str) -> Result<Vec<String>, String> {
    entries(text)?.into_iter().filter_map(|one| url(one).transpose()).collect()
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    entries(text)?.into_iter().map(|one| one.parse().map_err(|why| format!("{one:?}: {why}"))).collect()
}

fn account(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    if first && rest && text.len() <= 32 { Ok(text.into()) } else { Err("not [a-z_][a-z0-9_-]{0,31}".into()) }
}

fn names(text: &str) -> Result<Vec<String>, String> {
    entries(text)?
        .into_iter()
        .map(|one| {
            let fits = one.len() <= 253 && one.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]*".contains(&b));
            if fits { Ok(one.to_owned()) } else { Err(format!("{one:?} is not a host name")) }
        })
        .collect()
}

fn patterns(text: &str) -> Result<Vec<String>, String> {
    let all: Vec<String> = entries(text)?.into_iter().map(str::to_owned).collect();
    Excludes::parse(&all).map(|_| all)
}

/// `ed25519:` and 32 bytes in base64.
fn keys(text: &str) -> Result<Vec<String>, String> {
    let sound = |one: &str| {
        let bytes = BASE64.decode(one.strip_prefix("ed25519:")?.as_bytes()).ok()?;
        (bytes.len() == 32).then(|| one.to_owned())
    };
    entries(text)?.into_iter().map(|one| sound(one).ok_or_else(|| format!("{one:?} is not a key"))).collect()
}

fn agent_stop(text: &str) -> Result<OnAgentStop, String> {
    match text {
        "leave" => Ok(OnAgentStop::Leave),
        "stop" => Ok(OnAgentStop::Stop),
        "auto" => Ok(OnAgentStop::Auto),
        _ => Err("not one of the three words".into()),
    }
}

fn agent_stop_text(value: OnAgentStop) -> &'static str {
    match value {
        OnAgentStop::Leave => "leave",
        OnAgentStop::Stop => "stop",
        OnAgentStop::Auto => "auto",
    }
}

fn update_mode(text: &str) -> Result<UpdateMode, String> {
    match text {
        "notify" => Ok(UpdateMode::Notify),
        "auto" => Ok(UpdateMode::Auto),
        "off" => Ok(UpdateMode::Off),
        _ => Err("not one of the three words".into()),
    }
}

fn update_mode_text(value: UpdateMode) -> &'static str {
    match value {
        UpdateMode::Notify => "notify",
        UpdateMode::Auto => "auto",
        UpdateMode::Off => "off",
    }
}

/// The text itself never appears in the error.
pub fn secret(text: &str) -> Result<Secret, String> {
    let fits = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(Secret(text.to_owned())) } else { Err("must be 1 to 4096 printable ASCII characters".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write() {
        let all = 0..=u64::MAX;
        for (text, bytes) in [("8MiB", 8 << 20), ("8 mib", 8 << 20), ("1KB", 1000), ("65_536", 65536), ("7b", 7)] {
            assert_eq!(size(text, &all), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5MiB", "99999999999GiB", "8 apples"] {
            assert!(size(bad, &all).is_err(), "{bad}");
        }
        for bytes in [0, 1, 1023, 1024, 1500, 8 << 20, 3 << 30] {
            assert_eq!(size(&size_text(bytes), &all), Ok(bytes));
        }
    }

    #[test]
    fn times_read_and_write() {
        let range = Duration::ZERO..=Duration::from_secs(3600);
        let ms = Duration::from_millis;
        assert_eq!(times("30s, 1m30s,250ms", &range), Ok(vec![ms(30_000), ms(90_000), ms(250)]));
        assert_eq!(time("0", &range), Ok(Duration::ZERO));
        for bad in ["", ",", "30", "2h", "-1s", "1s,x"] {
            assert!(times(bad, &range).is_err(), "{bad:?}");
        }
        assert_eq!(time_text(&ms(90_500)), "1m30s500ms");
        assert_eq!(time(&time_text(&ms(90_500)), &range), Ok(ms(90_500)));
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (text, full) in [
            (":18888", "0.0.0.0:18888"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.5:1", "10.0.0.5:1"),
        ] {
            assert_eq!(address(text).map(|a| a.to_string()).as_deref(), Ok(full));
        }
        for bad in ["18888", "host:1", "127.0.0.1", "127.0.0.1:99999", ""] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
