//! The plan: which steps make a bare container a dev container.
use crate::model::dev::{Addon, DevConfig};

/// Each finds out for itself what is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// What runs and is no longer wanted is stopped: first of all, since it may be a door.
    Withdraw,
    /// User and group, with home and shell.
    Account,
    /// Home and workspace exist and belong to the account.
    Workspace,
    Runtime,
    Addon(Addon),
    /// What every shell finds in its environment.
    Environment,
    /// The runtime starts, as the account, in a login shell.
    SmokeTest,
    /// An addon that runs is started and stays up.
    Service(Addon),
}

impl Step {
    /// What `installStep` says meanwhile.
    pub fn title(self, config: &DevConfig) -> String {
        let DevConfig { runtime, version, .. } = config;
        match self {
            Step::Withdraw => "stopping what is no longer wanted".into(),
            Step::Account => "creating the user".into(),
            Step::Workspace => "preparing the workspace".into(),
            Step::Runtime => format!("installing {runtime} {version}"),
            Step::Addon(addon) => format!("installing {addon}"),
            Step::Environment => "setting up the shells".into(),
            Step::SmokeTest => format!("trying {runtime} {version}"),
            Step::Service(addon) => format!("starting {addon}"),
        }
    }
}

/// In this order: everything later needs what comes before it.
pub fn steps(config: &DevConfig) -> Vec<Step> {
    let mut steps = vec![Step::Withdraw, Step::Account, Step::Workspace, Step::Runtime];
    steps.extend(config.addons.iter().map(|addon| Step::Addon(*addon)));
    steps.extend([Step::Environment, Step::SmokeTest]);
    steps.extend(config.addons.iter().map(|addon| Step::Service(*addon)));
    steps
}

/// What shows that a runtime works, and whether its answer names the version that was asked for.
pub fn smoke_test(runtime: &str) -> &'static [&'static str] {
    match runtime {
        "python" => &["python3", "--version"],
        "go" => &["go", "version"],
        "java" => &["java", "-version"],
        // `--version` needs an SDK; the runtime alone has this.
        "dotnet" => &["dotnet", "--list-runtimes"],
        "node" => &["node", "--version"],
        _ => &[],
    }
}

/// Does what the runtime said of itself fit? Versions that are no numbers (`lts`) say nothing.
pub fn fits(said: &str, version: &str) -> bool {
    let is_number = version.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let mut words = said.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '+'));
    let begins = |word: &str| {
        let word = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        word.strip_prefix(version).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    !is_number || words.any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_believed_by_its_own_words() {
        for (said, version, fit) in [
            ("v22.22.3\n", "22", true),
            ("v20.20.2\n", "22", false),
            ("v2.2.0\n", "22", false),
            ("v220.1.0\n", "22", false),
            ("go version go1.25.5 linux/amd64", "1.25", true),
            ("go version go1.2.5 linux/amd64", "1.25", false),
            ("openjdk version \"21.0.8\" 2025-07-15", "21", true),
            ("openjdk version \"1.8.0_402\"", "21", false),
            ("Python 3.12.1", "3.12", true),
            ("Microsoft.NETCore.App 8.0.4 [/opt/x]", "8.0", true),
            ("nothing at all", "8.0", false),
            ("nothing at all", "lts", true),
        ] {
            assert_eq!(fits(said, version), fit, "{said:?} {version}");
        }
    }

    #[test]
    fn services_come_last_and_only_if_wanted() {
        let mut config = DevConfig {
            vmid: 1,
            runtime: "node".into(),
            version: "22".into(),
            memory_mb: None,
            addons: Vec::new(),
            ssh: None,
            tailscale: None,
            unknown: Vec::new(),
        };
        let plain = [Step::Withdraw, Step::Account, Step::Workspace, Step::Runtime, Step::Environment, Step::SmokeTest];
        assert_eq!(steps(&config), plain);
        config.addons = vec![Addon::CodeServer];
        let all = steps(&config);
        assert_eq!(all.len(), plain.len() + 2);
        assert_eq!(all.last(), Some(&Step::Service(Addon::CodeServer)));
        let titles: Vec<String> = all.iter().map(|s| s.title(&config)).collect();
        assert!(titles.contains(&"installing node 22".to_owned()), "{titles:?}");
    }
}
