//! Why a client command did not end with 0, and the exit code that says so to a script.
use serde::Deserialize;
use std::{fmt, io, process::ExitCode};

/// Exit codes as `--help` documents them.
pub mod code {
    pub const NO: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const UNREACHABLE: u8 = 3;
    pub const REFUSED: u8 = 4;
    pub const CONFIGURATION: u8 = 78;
}

/// An `application/problem+json` body (RFC 9457), as much of it as a person needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Stable snake_case name.
    pub code: String,
    pub retry_after_ms: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The question was answered with no; the answer itself is already printed.
    #[error("")]
    No,
    /// The same, with a sentence still to be printed.
    #[error("{0}")]
    Answer(String),
    #[error("{0}")]
    Usage(String),
    #[error("no agent can be reached at {url}: {why}\n  Is it running (systemctl status zlh-agent)? Is --url right?")]
    Unreachable { url: String, why: String },
    #[error("{0}")]
    Refused(Problem),
    /// A signal ended the command; shells say 128 + its number.
    #[error("{said}")]
    Signalled { signal: u8, said: String },
    /// Something came back that is not the agent's protocol.
    #[error("{url} does not answer like an agent: {why}")]
    Foreign { url: String, why: String },
    #[error("the configuration is bad:\n{}", .0.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<String>),
    #[error("could not use the terminal: {0}")]
    Terminal(#[from] io::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        let said = if said.is_empty() { "the agent gave no reason" } else { said };
        write!(f, "refused: {said} ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")?;
        match self.cure() {
            "" => Ok(()),
            cure => write!(f, "\n  {cure}"),
        }
    }
}

impl Problem {
    /// What the caller can do about the refusals that everyone meets once.
    fn cure(&self) -> &'static str {
        match (self.status, self.code.as_str()) {
            (401, _) => "Give the agent's token with --token-file or ZLH_AGENT_TOKEN.",
            (_, "no_config") => "Send a configuration first: `zlh configure FILE`.",
            (_, "operation_in_progress") => {
                "`zlh operations` shows it; `zlh stop` replaces a start, `zlh kill` always passes."
            }
            (_, "not_running") => "`zlh start` starts the server.",
            (_, "not_a_game") => "This is a dev container; it has no server to start or stop.",
            (503 | 429, _) => "Try again in a moment.",
            _ => "",
        }
    }
}

impl Failure {
    /// The number the process ends with.
    pub fn code(&self) -> u8 {
        match self {
            Failure::No | Failure::Answer(_) | Failure::Terminal(_) => code::NO,
            Failure::Usage(_) => code::USAGE,
            Failure::Unreachable { .. } | Failure::Foreign { .. } => code::UNREACHABLE,
            Failure::Refused(_) => code::REFUSED,
            Failure::Configuration(_) => code::CONFIGURATION,
            Failure::Signalled { signal, .. } => 128 + signal,
        }
    }

    /// Says on stderr what happened, if that is still to be said, and turns into the exit code. A reader of our
    /// output that went away (`zlh logs | head`) is no failure.
    pub fn report(self) -> ExitCode {
        if matches!(&self, Failure::Terminal(e) if e.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let said = self.to_string();
        if !said.is_empty() {
            eprintln!("error: {said}");
        }
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let problem = Problem {
            title: "Conflict".into(),
            status: 409,
            detail: "no configuration was ever accepted".into(),
            code: "no_config".into(),
            retry_after_ms: None,
        };
        let failure = Failure::Refused(problem);
        assert_eq!(failure.code(), 4);
        assert_eq!(
            failure.to_string(),
            "refused: no configuration was ever accepted (409 no_config)\n  Send a configuration first: `zlh configure FILE`."
        );
    }

    #[test]
    fn configuration_faults_are_all_listed() {
        let failure = Failure::Configuration(vec!["a: bad".into(), "b: worse".into()]);
        assert_eq!(failure.code(), 78);
        assert_eq!(failure.to_string(), "the configuration is bad:\n  a: bad\n  b: worse");
    }
}
