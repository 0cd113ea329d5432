//! Secrets never leave with a log line: known ones by their text, unknown ones by the way programs print them.
use regex::Regex;

const HIDDEN: &str = "[secret]";
/// A shorter "secret" would blacken every other word and tell more than it hides.
const SHORTEST: usize = 4;

/// What stands before a secret (kept), the secret, what stands behind it (kept).
const SHAPES: [&str; 4] = [
    // name=value, "name": "value", name: value
    r#"(?i)([\w.-]*(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|token)["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}()"#,
    // --name value, +name value
    r#"(?i)((?:^|\s)[+-]{1,2}[\w-]*(?:password|passwd|secret|token|api-?key|setsteamaccount)\s+["']?)[^\s"']{4,}()"#,
    // Authorization: Bearer value
    r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}()",
    // scheme://user:password@host
    r"(://[^\s/:@]*:)[^\s/@]+(@)",
];

/// Takes secrets out of text. Made once per report and dropped: it holds compiled patterns.
pub struct Redactor {
    known: Vec<String>,
    shapes: Vec<Regex>,
}

impl Redactor {
    /// `secrets`: texts that are known to be secret (tokens, passwords of the saved config).
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, regex::Error> {
        let mut known: Vec<String> = secrets.into_iter().filter(|s| s.len() >= SHORTEST).map(str::to_owned).collect();
        // The longest first: a secret that contains another one must vanish as a whole.
        known.sort_by_key(|s| std::cmp::Reverse(s.len()));
        let shapes = SHAPES.iter().map(|p| Regex::new(p)).collect::<Result<_, _>>()?;
        Ok(Redactor { known, shapes })
    }

    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.known {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), HIDDEN);
            }
        }
        for shape in &self.shapes {
            if shape.is_match(&clean) {
                clean = shape.replace_all(&clean, format!("${{1}}{HIDDEN}${{2}}")).into_owned();
            }
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_is_secret_and_nothing_else() {
        let redactor = Redactor::new(["hunter2-long", "hunter2", "abc"]).unwrap();
        for (line, clean) in [
            ("joined with hunter2-long.", "joined with [secret]."),
            ("abc is too short to be one", "abc is too short to be one"),
            ("rcon.password=s3cret!", "rcon.password=[secret]"),
            (r#"{"accessToken": "eyJhbGciOi", "x": 1}"#, r#"{"accessToken": "[secret]", "x": 1}"#),
            ("java -jar s.jar --accessToken deadbeef nogui", "java -jar s.jar --accessToken [secret] nogui"),
            ("./srcds +sv_setsteamaccount 0123456789ABCDEF +map x", "./srcds +sv_setsteamaccount [secret] +map x"),
            ("Authorization: Bearer eyJ0eXAi.OiJKV1Q", "Authorization: Bearer [secret]"),
            ("mysql://game:pa55@db:3306/x", "mysql://game:[secret]@db:3306/x"),
            ("SyntaxError: Unexpected token } in JSON", "SyntaxError: Unexpected token } in JSON"),
            ("Done (3.2s)! For help, type \"help\"", "Done (3.2s)! For help, type \"help\""),
        ] {
            assert_eq!(redactor.redact(line), clean);
        }
    }
}
