//! Lines of authorized_keys(5) that somebody else sends. The SSH server passes over a line that it does not understand,
//! without a word to whoever waits outside, so each is understood here first: its options, its type, and that the
//! encoded key is one of that type (RFC 4253 §6.6, RFC 5656, RFC 8709, and OpenSSH's PROTOCOL.u2f).
use data_encoding::BASE64;

/// Longer than an RSA key of 16384 bits with a long comment.
const LONGEST: usize = 8 << 10;
/// Shorter ones can be broken, and OpenSSH refuses them.
const FEWEST_RSA_BITS: usize = 2048;
const MOST_RSA_BITS: usize = 16_384;

/// Options that only take something away.
const SAFE: [&str; 15] = [
    "restrict",
    "from",
    "expiry-time",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-x11-forwarding",
    "agent-forwarding",
    "port-forwarding",
    "pty",
    "permitopen",
    "permitlisten",
    "verify-required",
    "no-touch-required",
];
/// Options that have the server do something of the key's own.
const ACTING: [&str; 2] = ["command", "environment"];

/// What is wrong with a line, for a person; nothing of the key itself is repeated. `acting`: options that run programs
/// or set variables are welcome.
pub fn check(line: &str, acting: bool) -> Result<(), String> {
    if line.len() > LONGEST || line.chars().any(char::is_control) {
        return Err(format!("allowed: one line of at most {LONGEST} bytes, as a .pub file holds it"));
    }
    let line = line.trim();
    if line.starts_with("-----BEGIN") {
        return Err("this is a private key: send what the .pub file holds, and make a new key".into());
    }
    let rest = match kind(line) {
        Some(_) => line,
        None => past_options(line, acting)?,
    };
    let (kind, rest) = kind(rest).ok_or_else(|| format!("no type of key; allowed: {}", names()))?;
    let encoded = rest.split_whitespace().next().unwrap_or_default();
    let blob = BASE64.decode(encoded.as_bytes()).map_err(|_| format!("what follows {} is not base64", kind.name))?;
    (kind.holds)(&mut Blob(&blob), kind.name).ok_or_else(|| format!("the encoded key is not a whole {}", kind.name))?
}

struct Kind {
    name: &'static str,
    /// `None`: it does not have the form; `Err`: it has, and is not good enough.
    holds: fn(&mut Blob<'_>, &str) -> Option<Result<(), String>>,
}

const KINDS: [Kind; 7] = [
    Kind { name: "ssh-ed25519", holds: ed25519 },
    Kind { name: "ssh-rsa", holds: rsa },
    Kind { name: "ecdsa-sha2-nistp256", holds: ecdsa },
    Kind { name: "ecdsa-sha2-nistp384", holds: ecdsa },
    Kind { name: "ecdsa-sha2-nistp521", holds: ecdsa },
    Kind { name: "sk-ssh-ed25519@openssh.com", holds: sk_ed25519 },
    Kind { name: "sk-ecdsa-sha2-nistp256@openssh.com", holds: sk_ecdsa },
];

fn names() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// The type that a line begins with, and what follows it.
fn kind(line: &str) -> Option<(&'static Kind, &str)> {
    let (word, rest) = line.split_once([' ', '\t'])?;
    KINDS.iter().find(|kind| kind.name == word).map(|kind| (kind, rest))
}

/// Options end at the first blank outside of quotes.
fn past_options(line: &str, acting: bool) -> Result<&str, String> {
    let mut rest = line;
    loop {
        let name = rest.split(['=', ',', ' ', '\t']).next().unwrap_or_default();
        admit(name, acting)?;
        rest = &rest[name.len()..];
        if let Some(value) = rest.strip_prefix('=') {
            rest = past_value(value).ok_or_else(|| format!("the value of option {name} has no end"))?;
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(rest.trim_start()),
        }
    }
}

fn admit(name: &str, acting: bool) -> Result<(), String> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    if SAFE.iter().any(is) || (acting && ACTING.iter().any(is)) {
        return Ok(());
    }
    if ACTING.iter().any(is) {
        return Err(format!("option {} acts with every login: set sshd.key_commands to allow it", name.to_lowercase()));
    }
    Err(format!("it begins with no type of key ({}) and no option of one ({})", names(), SAFE.join(", ")))
}

/// Past `"…"`, in which `\"` is a quote.
fn past_value(text: &str) -> Option<&str> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(&text[end + 1..])
}

/// The wire form of a key, taken apart from the front.
struct Blob<'a>(&'a [u8]);

impl<'a> Blob<'a> {
    fn text(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(text)
    }

    fn is(&mut self, name: &str) -> Option<()> {
        (self.text()? == name.as_bytes()).then_some(())
    }

    fn end(&self) -> Option<Result<(), String>> {
        self.0.is_empty().then_some(Ok(()))
    }
}

fn ed25519(blob: &mut Blob<'_>, name: &str) -> Option<Result<(), String>> {
    blob.is(name)?;
    (blob.text()?.len() == 32).then_some(())?;
    blob.end()
}

fn rsa(blob: &mut Blob<'_>, name: &str) -> Option<Result<(), String>> {
    blob.is(name)?;
    let exponent = blob.text()?;
    let modulus = blob.text()?;
    blob.end()?.ok()?;
    (!exponent.is_empty()).then_some(())?;
    let digits = modulus.iter().position(|byte| *byte != 0).map(|first| &modulus[first..])?;
    let bits = digits.len() * 8 - digits[0].leading_zeros() as usize;
    Some(match bits {
        FEWEST_RSA_BITS..=MOST_RSA_BITS => Ok(()),
        _ => Err(format!("an RSA key of {bits} bits; allowed: {FEWEST_RSA_BITS} to {MOST_RSA_BITS}, or ssh-ed25519")),
    })
}

fn ecdsa(blob: &mut Blob<'_>, name: &str) -> Option<Result<(), String>> {
    blob.is(name)?;
    point(blob, name.strip_prefix("ecdsa-sha2-")?)?;
    blob.end()
}

fn sk_ed25519(blob: &mut Blob<'_>, name: &str) -> Option<Result<(), String>> {
    blob.is(name)?;
    (blob.text()?.len() == 32).then_some(())?;
    (!blob.text()?.is_empty()).then_some(())?;
    blob.end()
}

fn sk_ecdsa(blob: &mut Blob<'_>, name: &str) -> Option<Result<(), String>> {
    blob.is(name)?;
    point(blob, "nistp256")?;
    (!blob.text()?.is_empty()).then_some(())?;
    blob.end()
}

/// Curve, and an uncompressed point on it.
fn point(blob: &mut Blob<'_>, curve: &str) -> Option<()> {
    blob.is(curve)?;
    let point = blob.text()?;
    let bytes = match curve {
        "nistp256" => 32,
        "nistp384" => 48,
        "nistp521" => 66,
        _ => return None,
    };
    (point.len() == 1 + 2 * bytes && point[0] == 4).then_some(())
}

#[cfg(test)]
mod tests;
