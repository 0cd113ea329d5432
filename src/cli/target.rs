//! Whom a client command talks to: base URL and bearer token.
use super::{args::ClientArgs, failure::Failure};
use crate::model::settings::Secret;
use std::{net::IpAddr, path::Path};

/// A token file longer than this is not a token file.
const MAX_TOKEN_BYTES: u64 = 4096;

#[derive(Clone, Debug)]
pub struct Target {
    pub url: reqwest::Url,
    pub token: Option<Secret>,
}

impl Target {
    /// Token, first found: `--token-file`, `ZLH_AGENT_TOKEN`, and for an agent on this machine `local`, which reads
    /// the agent's own configuration. That last one never leaves the machine.
    pub fn resolve(args: &ClientArgs, local: impl FnOnce() -> Option<Secret>) -> Result<Target, Failure> {
        let url = parse_url(&args.url)?;
        let token = match (&args.token_file, std::env::var("ZLH_AGENT_TOKEN")) {
            (Some(file), _) => Some(read_token(file)?),
            (None, Ok(token)) if !token.is_empty() => Some(Secret(token)),
            _ if is_loopback(&url) => local(),
            _ => None,
        };
        Ok(Target { url, token })
    }
}

fn parse_url(text: &str) -> Result<reqwest::Url, Failure> {
    let bad =
        |why: &str| Failure::Usage(format!("--url {text:?}: {why}; expected something like http://10.0.0.5:18888"));
    let mut url = reqwest::Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("not an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a secret has no place in an address, use --token-file"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// All of a token file, without white space around it: as the agent reads its own.
fn read_token(file: &Path) -> Result<Secret, Failure> {
    let bad = |why: String| Failure::Usage(format!("token file {}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|e| bad(e.to_string()))?.len();
    if size > MAX_TOKEN_BYTES {
        return Err(bad(format!("{size} bytes is too long for a token")));
    }
    let text = std::fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("it holds no token (printable ASCII without spaces)".into()));
    }
    Ok(Secret(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, token_file: Option<&Path>) -> ClientArgs {
        ClientArgs { url: url.into(), token_file: token_file.map(Into::into), json: false }
    }

    #[test]
    fn a_path_prefix_is_kept() {
        let target = Target::resolve(&args("http://h:1/api/servers/7", None), || None).unwrap();
        assert_eq!(target.url.join("status").unwrap().as_str(), "http://h:1/api/servers/7/status");
    }

    #[test]
    fn useless_addresses_are_bad_usage() {
        for url in ["", "localhost:1", "ftp://h/", "http://user:secret@h/", "unix:/run/x"] {
            let failure = Target::resolve(&args(url, None), || None).unwrap_err();
            assert_eq!(failure.code(), 2, "{url}");
            assert!(!failure.to_string().contains("no place") || url.contains('@'));
        }
    }

    #[test]
    fn this_machines_token_goes_to_this_machine_only() {
        let local = || Some(Secret("local".into()));
        for (url, found) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
        ] {
            let target = Target::resolve(&args(url, None), local).unwrap();
            assert_eq!(target.token.is_some(), found, "{url}");
        }
    }

    #[test]
    fn the_token_is_all_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "  s3cret \n").unwrap();
        let target = Target::resolve(&args("http://h", Some(&file)), || None).unwrap();
        assert_eq!(target.token, Some(Secret("s3cret".into())));
        for bad in ["", "\n", "two words\n", "two\nlines\n"] {
            std::fs::write(&file, bad).unwrap();
            assert_eq!(Target::resolve(&args("http://h", Some(&file)), || None).unwrap_err().code(), 2, "{bad:?}");
        }
    }
}
