//! `zlh doctor`: gathers facts from the machine, the configuration and the agent; `policy::doctor` judges them.
mod ide;

use super::{Session, agent::ANSWER_TIMEOUT, agent::causes, config, print, print_json, wire::Status};
use crate::{
    cli::{
        args::{DoctorArgs, DoctorVerb, SettingsArgs},
        failure::Failure,
        show,
    },
    host,
    model::{
        doctor::{AgentFacts, ArtifactFacts, ConfigurationFacts, Facts, WorkloadFacts},
        game::Games,
        machine::Machine,
        settings::Settings,
        snapshot::Warning,
    },
    policy,
};
use reqwest::redirect::Policy;
use std::time::{Duration, Instant};

pub async fn examine(session: &Session, args: DoctorArgs) -> Result<(), Failure> {
    if let Some(DoctorVerb::Ide { vmid }) = args.of {
        return ide::examine(session, vmid).await;
    }
    let (settings, configuration) = configuration(&args.settings, args.root.as_deref());
    let (agent, status) = agent(session).await;
    let (artifacts, ahead_of_server) = match &settings.artifacts_url {
        Some(url) => artifacts(url).await,
        None => (None, None),
    };
    let facts = look(&settings, configuration, agent, status.as_ref(), artifacts, ahead_of_server);
    let findings = policy::doctor::judge(&facts);
    match session.json {
        true => print_json(&serde_json::to_vec(&findings).unwrap_or_default())?,
        false => print(&show::doctor::report(&findings, session.look))?,
    }
    if policy::doctor::is_ill(&findings) { Err(Failure::No) } else { Ok(()) }
}

fn look(
    settings: &Settings,
    configuration: ConfigurationFacts,
    agent: AgentFacts,
    status: Option<&Status>,
    artifacts: Option<ArtifactFacts>,
    ahead_of_server: Option<i64>,
) -> Facts {
    let (workload, game_ports) = status.map(|s| workload(s, settings)).unwrap_or_default();
    let mut ports = vec![(settings.listen.port(), "agent")];
    ports.extend(game_ports.iter().map(|port| (*port, "game")));
    let ours = host::doctor::ports(&ports, workload.as_ref().and_then(|w| w.pid));
    let mut clock = host::doctor::clock();
    clock.ahead_of_server = ahead_of_server;
    Facts {
        agent,
        configuration,
        workload,
        cgroup: host::doctor::cgroup(),
        memory_bytes: host::doctor::memory_bytes(),
        disk: host::doctor::disk(&settings.root.join("opt/zlh")),
        ports: ours,
        clock,
        artifacts,
        token_file: settings.token_file.as_deref().map(host::doctor::file),
        account: host::doctor::account(&settings.game.user),
        terminal: host::doctor::terminal(),
        run: host::doctor::run(),
        kernel: host::doctor::kernel(),
        open_files: host::doctor::open_files(),
        init: host::doctor::init(),
    }
}

/// With faults the defaults are examined, so that the other checks still say something.
fn configuration(args: &SettingsArgs, root: Option<&std::path::Path>) -> (Settings, ConfigurationFacts) {
    let (settings, faults, notes) = match config::load(args, root, None) {
        Ok((settings, origins)) => (settings, Vec::new(), origins.notes),
        Err(faults) => {
            let root = root.map_or_else(|| Settings::default().root, Into::into);
            (Settings { root, ..Settings::default() }, faults.iter().map(ToString::to_string).collect(), Vec::new())
        }
    };
    let (grace, min_disk_free_bytes) = (settings.stop.grace, settings.game.min_disk_free_bytes);
    (settings, ConfigurationFacts { faults, notes, grace, min_disk_free_bytes })
}

async fn agent(session: &Session) -> (AgentFacts, Option<Status>) {
    let status = match session.agent.read("status").await {
        Ok(answer) => session.parse::<Status>(&answer.body),
        Err(failure) => Err(failure),
    };
    match status {
        Ok(s) => {
            let warnings = s.warnings.iter().map(|w| Warning { code: w.code.clone(), message: w.message.clone() });
            let facts = AgentFacts::Answers {
                version: s.agent_version.clone(),
                state: s.state.clone(),
                warnings: warnings.collect(),
            };
            (facts, Some(s))
        }
        Err(Failure::Refused(problem)) => (AgentFacts::Refuses(problem.to_string()), None),
        Err(failure) => {
            let said = failure.to_string();
            (AgentFacts::Unreachable(said.lines().next().unwrap_or_default().to_owned()), None)
        }
    }
}

/// The saved workload and its ports. What cannot be resolved here (a missing jar, say) is the agent's to tell.
fn workload(status: &Status, settings: &Settings) -> (Option<WorkloadFacts>, Vec<u16>) {
    let resolved = Games::embedded().ok().and_then(|games| {
        let machine = Machine { is_root: true, account: "root".into(), ..Machine::default() };
        let body = policy::launch::read(&status.config, &games, settings).ok()?;
        policy::launch::resolve(&body, &games, &machine, settings).ok()
    });
    let text = |name: &str| status.config.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let Some(game) = text("game") else { return (None, Vec::new()) };
    let spec = resolved.map(|r| r.spec);
    let facts = WorkloadFacts {
        game,
        memory_bytes: status.config.get("memory_mb").and_then(serde_json::Value::as_u64).map(|mb| mb << 20),
        heap_bytes: spec.as_ref().and_then(|s| heap(&s.argv)),
        ladder: spec.as_ref().map(|s| s.stop.iter().map(|step| step.wait()).sum()),
        pid: status.pid.filter(|_| status.process_running),
    };
    (Some(facts), spec.map(|s| s.ports).unwrap_or_default())
}

/// What `-Xmx` says, in bytes.
fn heap(argv: &[String]) -> Option<u64> {
    let size = argv.iter().find_map(|a| a.strip_prefix("-Xmx"))?;
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

/// Asks for the catalog, and what time it is over there.
async fn artifacts(url: &str) -> (Option<ArtifactFacts>, Option<i64>) {
    let began = Instant::now();
    let (catalog, ahead) = match ask(&format!("{}/_catalog.json", url.trim_end_matches('/'))).await {
        Err(why) => (Err(why), None),
        Ok(response) => {
            let ahead = response.headers().get("date").and_then(|d| d.to_str().ok()).and_then(ahead_of);
            match response.status() {
                status if status.is_success() => (Ok(millis(began.elapsed())), ahead),
                // Only from http to https; others were followed.
                status if status.is_redirection() => {
                    (Err("the server wants https: let artifacts_url begin with https://".into()), ahead)
                }
                status => (Err(format!("/_catalog.json: {status}")), ahead),
            }
        }
    };
    (Some(ArtifactFacts { url: url.to_owned(), catalog }), ahead)
}

async fn ask(url: &str) -> Result<reqwest::Response, String> {
    let url = reqwest::Url::parse(url).map_err(|e| e.to_string())?;
    let scheme = url.scheme().to_owned();
    let same_scheme = Policy::custom(move |next| match next.url().scheme() == scheme {
        true => Policy::default().redirect(next),
        false => next.stop(),
    });
    let builder = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).redirect(same_scheme);
    let answer = super::http::client(&url, builder)?.get(url).send().await;
    answer.map_err(|e| match e.is_timeout() {
        true => format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
        false => causes(&e),
    })
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds by which our clock is ahead of an HTTP date.
fn ahead_of(date: &str) -> Option<i64> {
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(jiff::Timestamp::now().as_second() - there.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps() {
        for (flag, bytes) in
            [("-Xmx512M", Some(512 << 20)), ("-Xmx2g", Some(2 << 30)), ("-Xmx7", Some(7)), ("-Xms1g", None)]
        {
            assert_eq!(heap(&["java".into(), flag.into()]), bytes, "{flag}");
        }
    }

    #[test]
    fn http_dates() {
        assert!(ahead_of("Sun, 06 Nov 1994 08:49:37 GMT").is_some_and(|s| s > 900_000_000));
        assert_eq!(ahead_of("yesterday"), None);
    }

    #[test]
    fn the_saved_workload_is_resolved() {
        let config = serde_json::json!({"vmid": 1, "game": "minecraft", "variant": "paper", "version": "1.21.4",
                                        "world": "world", "ports": [25570], "memory_mb": 2048});
        let status = Status { config, process_running: true, pid: Some(7), ..Default::default() };
        let (facts, ports) = workload(&status, &Settings::default());
        let facts = facts.unwrap();
        assert_eq!((facts.memory_bytes, facts.pid), (Some(2 << 30), Some(7)));
        assert!(facts.heap_bytes.is_some_and(|heap| heap < 2 << 30), "{facts:?}");
        assert!(facts.ladder.is_some_and(|ladder| ladder > Duration::ZERO), "{facts:?}");
        assert_eq!(ports, [25570]);
    }
}
