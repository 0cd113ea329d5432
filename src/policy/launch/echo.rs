//! The saved `/config` body as `/status` may show it: without anything that opens a door.
use serde_json::{Map, Value};

const REDACTED: &str = "[secret]";
/// A field, variable or option with one of these words in its name is secret.
const WORDS: [&str; 14] = [
    "pass",
    "passwd",
    "password",
    "passphrase",
    "pwd",
    "token",
    "secret",
    "secrets",
    "auth",
    "credential",
    "credentials",
    "key",
    "apikey",
    "cookie",
];
/// Texts that begin like this are tokens, whatever their name.
const PREFIXES: [&str; 9] = ["Bearer ", "Basic ", "eyJ", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-"];

/// `body` without secret fields; secret parts within other texts read `[secret]`.
pub fn echo(body: &Value) -> Value {
    match body {
        Value::Object(fields) => Value::Object(object(fields)),
        Value::Array(items) => Value::Array(array(items)),
        Value::String(text) => Value::String(redacted(text)),
        other => other.clone(),
    }
}

fn object(fields: &Map<String, Value>) -> Map<String, Value> {
    let shown = fields.iter().filter(|(name, _)| !is_secret(name));
    shown.map(|(name, value)| (name.clone(), echo(value))).collect()
}

/// In a command line the word after `--token` is the secret.
fn array(items: &[Value]) -> Vec<Value> {
    let mut out = Vec::with_capacity(items.len());
    let mut secret_next = false;
    for item in items {
        let text = item.as_str();
        out.push(if secret_next && text.is_some() { Value::String(REDACTED.into()) } else { echo(item) });
        secret_next = !secret_next && text.is_some_and(|t| t.starts_with('-') && !t.contains('=') && is_secret(t));
    }
    out
}

fn redacted(text: &str) -> String {
    if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return REDACTED.into();
    }
    // `--token=abc`, `password=abc`, and the `ec_password abc` of Teeworlds' one-argument commands.
    if let Some((name, value)) = text.split_once(['=', ' '])
        && !value.is_empty()
        && is_secret(name)
    {
        return format!("{}{REDACTED}", &text[..=name.len()]);
    }
    without_userinfo(text)
}

/// `https://user:pass@host/` → `https://[secret]@host/`.
fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// Looks at the words of `api_key`, `API-KEY`, `apiKey`.
fn is_secret(name: &str) -> bool {
    let mut divided = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            divided.push(' ');
        }
        divided.extend(c.to_lowercase());
        after_small = c.is_lowercase();
    }
    divided.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_gone_and_the_rest_stays() {
        let body = json!({
            "vmid": 5072, "game": "minecraft", "steam_user": "u", "steam_pass": "S3CRET", "steam_auth": "S3CRET",
            "admin_user": "a", "admin_pass": "S3CRET", "agentToken": "S3CRET", "unknown": {"apiKey": "S3CRET", "x": 1},
            "env": {"DB_PASSWORD": "S3CRET", "LEVEL": "flat", "UPSTREAM": "https://u:S3CRET@host/p?q"},
            "command": ["/bin/x", "--token", "S3CRET", "--password=S3CRET", "ec_password S3CRET", "--port", "1",
                        "Bearer S3CRET"],
            "monkey": "stays", "author": "stays", "passenger": "stays"
        });
        let shown = echo(&body);
        assert!(!shown.to_string().contains("S3CRET"), "{shown}");
        assert_eq!(
            shown,
            json!({
                "vmid": 5072, "game": "minecraft", "steam_user": "u", "admin_user": "a", "unknown": {"x": 1},
                "env": {"LEVEL": "flat", "UPSTREAM": "https://[secret]@host/p?q"},
                "command": ["/bin/x", "--token", "[secret]", "--password=[secret]", "ec_password [secret]", "--port",
                            "1", "[secret]"],
                "monkey": "stays", "author": "stays", "passenger": "stays"
            })
        );
    }

    #[test]
    fn names_are_read_word_by_word() {
        for secret in ["token", "API_KEY", "apiKey", "x-auth-token", "--api-key", "STEAM_PASS", "clientSecret"] {
            assert!(is_secret(secret), "{secret}");
        }
        for plain in ["monkey", "keyboard", "tokens_used_not", "author", "passive", "world", ""] {
            assert!(!is_secret(plain), "{plain}");
        }
    }
}
