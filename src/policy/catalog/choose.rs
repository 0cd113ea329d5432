//! Which release is meant by a wish: an exact version, a channel, or the beginning of a version (`22`, `3.12`).
use crate::model::{
    catalog::{Product, Release, STABLE},
    time::WallTime,
};
use std::{cmp::Ordering, time::Duration};

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish<'a> {
    /// A version, its beginning, or a channel; absent: what is promoted to `channel`, else the newest.
    pub version: Option<&'a str>,
    pub channel: &'a str,
    /// Releases younger than this are not taken; those without a date always are.
    pub minimum_age: Duration,
    pub now: WallTime,
}

impl<'a> Wish<'a> {
    /// For `version` in the stable channel, of any age.
    pub fn of(version: Option<&'a str>) -> Wish<'a> {
        Wish { version, channel: STABLE, minimum_age: Duration::ZERO, now: WallTime(0) }
    }
}

/// Why no release is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRelease {
    #[error("{product} has no version {wish:?}; there are: {}", listed(offered))]
    Unknown { product: String, wish: String, offered: Vec<String> },
    #[error(
        "{product} {version} is too new: it was released at {released_at}, and the minimum age is {} \
         (install.min_release_age)", in_words(*minimum_age)
    )]
    TooYoung { product: String, version: String, released_at: WallTime, minimum_age: Duration },
}

/// Exactly named goes first, then a channel of that name, then what is promoted among those that begin with it, then
/// the newest of them. Pre-releases are taken only by their exact name. Where what is meant is too young, an older one
/// is taken, unless it was named exactly.
pub fn choose<'a>(product: &'a Product, wish: Wish<'_>) -> Result<&'a Release, NoRelease> {
    let by_name = |version: &str| product.versions.iter().find(|release| release.version == version);
    let promoted = |channel: &str| product.current.get(channel).and_then(|version| by_name(version));
    if let Some(release) = wish.version.and_then(|version| by_name(version).or_else(|| promoted(version))) {
        return old_enough(product, release, wish);
    }
    let begins = |release: &&Release| wish.version.is_none_or(|start| begins_with(&release.version, start));
    let best = promoted(wish.channel).filter(begins);
    let mut fitting: Vec<&Release> = best.into_iter().collect();
    fitting.extend(below(best, newest_first(product, wish.channel).into_iter().filter(begins)));
    let meant = fitting.first().ok_or_else(|| unknown(product, wish))?;
    let found = fitting.iter().find_map(|release| old_enough(product, release, wish).ok());
    found.map_or_else(|| old_enough(product, meant, wish), Ok)
}

/// What a channel offers, pre-releases aside.
fn newest_first<'a>(product: &'a Product, channel: &str) -> Vec<&'a Release> {
    let offered = |release: &&Release| release.channel.as_deref().is_none_or(|only| only == channel);
    let mut found: Vec<&Release> = product.versions.iter().filter(offered).collect();
    found.retain(|release| !is_prerelease(&release.version));
    found.sort_by(|a, b| compare(&b.version, &a.version));
    found
}

/// Nobody is given something newer than what was promoted.
fn below<'a>(
    best: Option<&'a Release>,
    releases: impl Iterator<Item = &'a Release>,
) -> impl Iterator<Item = &'a Release> {
    releases.filter(move |release| best.is_none_or(|best| compare(&release.version, &best.version).is_lt()))
}

fn old_enough<'a>(product: &Product, release: &'a Release, wish: Wish<'_>) -> Result<&'a Release, NoRelease> {
    let minimum_age = wish.minimum_age;
    let needed = i64::try_from(minimum_age.as_millis()).unwrap_or(i64::MAX);
    match release.released_at {
        // A date in the future is younger than any age; no clock is asked where none is wanted.
        Some(released_at) if needed > 0 && wish.now.0.saturating_sub(released_at.0) < needed => {
            Err(NoRelease::TooYoung {
                product: product.id.clone(),
                version: release.version.clone(),
                released_at,
                minimum_age,
            })
        }
        _ => Ok(release),
    }
}

fn unknown(product: &Product, wish: Wish<'_>) -> NoRelease {
    NoRelease::Unknown {
        product: product.id.clone(),
        wish: wish.version.unwrap_or(wish.channel).to_owned(),
        offered: product.versions.iter().map(|release| release.version.clone()).collect(),
    }
}

/// `22.1.0` begins with `22` and `22.1`, not with `2`.
pub fn begins_with(version: &str, start: &str) -> bool {
    version.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '-', '_']))
}

/// `1.21-pre1`, `25w14a`, `3.13.0rc1`, `10.0.100-preview.1`. Forge's `1.20.1-47.2.0` is none.
pub fn is_prerelease(version: &str) -> bool {
    const MARKS: &str = " a b alpha beta pre preview next rc snapshot nightly dev experimental ea canary ";
    let letters = |c: char| !c.is_ascii_alphabetic();
    let word = |word: &str| !word.is_empty() && MARKS.contains(&format!(" {} ", word.to_ascii_lowercase()));
    version.split(letters).any(word) || is_minecraft_snapshot(version)
}

fn is_minecraft_snapshot(version: &str) -> bool {
    let b = version.as_bytes();
    b.len() >= 6 && b[..2].iter().chain(&b[3..5]).all(u8::is_ascii_digit) && b[2] == b'w'
}

/// Numbers as numbers, all else as text; a pre-release comes before its release, `1.21` before `1.21.1`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (x, y): (Vec<Part>, Vec<Part>) = (split(a).map(Part::of).collect(), split(b).map(Part::of).collect());
    for i in 0..x.len().max(y.len()) {
        let order = match (x.get(i), y.get(i)) {
            (Some(p), Some(q)) => p.cmp(q),
            // What goes on with a word (`rc1`) is a pre-release of what ends here; with a number it is more.
            (Some(Part::Word(_)), None) | (None, Some(Part::Number(..))) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Runs of digits and runs of letters.
fn split(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let other = |c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != digits;
        let (part, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// Words come before numbers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Word(&'a str),
    /// Without leading zeros; the longer is the greater.
    Number(usize, &'a str),
}

impl Part<'_> {
    fn of(text: &str) -> Part<'_> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = text.trim_start_matches('0');
            Part::Number(digits.len(), digits)
        } else {
            Part::Word(text)
        }
    }
}

/// At most ten of them.
fn listed(versions: &[String]) -> String {
    let shown = versions.iter().rev().take(10).rev().cloned().collect::<Vec<_>>().join(", ");
    if versions.len() > 10 { format!("…, {shown}") } else { shown }
}

fn in_words(age: Duration) -> String {
    match age.as_secs() {
        s if s >= 86_400 => format!("{} days", s / 86_400),
        s if s >= 3_600 => format!("{} hours", s / 3_600),
        s => format!("{s} seconds"),
    }
}

#[cfg(test)]
mod tests;
