//! What holds whenever everything has come to rest, whoever was killed before; and at any moment: never two games.
//!
//! - at most one game, at most one keeper; a process if and only if the state is `running`, and it is the one shown
//! - every accepted operation has exactly one outcome, and it never changes
//! - every crash is counted once and has exactly one report
//! - the console's offsets go on without a gap: what was read once is read again
use super::rig::{PATIENCE, Rig};
use crate::{keeper::harness::status_field, support::eventually};
use reqwest::Method;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far, for what must never change afterwards.
#[derive(Default)]
pub struct Seen {
    /// Operations that were acknowledged.
    pub accepted: Vec<String>,
    outcomes: BTreeMap<String, String>,
    console: Vec<u8>,
}

impl Rig {
    /// Waits until everything has come to rest and `wanted` holds, then checks everything. The status, or `None` if the
    /// agent died meanwhile.
    pub async fn quiet(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut last = String::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        let status = eventually("", PATIENCE * 2, async || {
            assert!(std::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}; {last}");
            if self.is_dead() {
                return Some(None);
            }
            match self.at_rest().await {
                Ok(status) if wanted(&status) => Some(Some(status)),
                Ok(status) => {
                    last = format!("at rest otherwise: {status}");
                    None
                }
                Err(why) => {
                    last = why;
                    None
                }
            }
        });
        let status = status.await?;
        self.check_operations().await?;
        self.check_console().await?;
        Some(status)
    }

    /// Nothing is under way, and what the status says is what /proc says.
    async fn at_rest(&self) -> Result<Value, String> {
        let before = self.games();
        assert!(before.len() <= 1, "two live games: {before:?}");
        let keepers = self.keepers();
        let status = self.get("/status").await.ok_or("no status")?;
        let crashes = self.get("/crashes").await.ok_or("no crashes")?;
        let state = status["state"].as_str().unwrap_or_default().to_owned();
        let calm = status["operationInProgress"] == false && ["idle", "running", "error"].contains(&state.as_str());
        let shown: Vec<i32> = status["pid"].as_i64().map(|pid| pid as i32).into_iter().collect();
        if !calm || shown != before || self.games() != before || (state == "running") == before.is_empty() {
            return Err(format!("games {before:?}, keepers {keepers:?}, status {status}"));
        }
        let runs: Vec<u64> = crashes["crashes"].as_array().iter().flat_map(|c| c.iter()).map(run_of).collect();
        let once: BTreeSet<u64> = runs.iter().copied().collect();
        assert_eq!(once.len(), runs.len(), "a run with two crash reports: {runs:?}");
        // Those that find the folder locked, and those that nobody needs any more, are on their way out.
        // A keeper that takes over for a lost one has not done so before it has the terminal.
        let kept = match state.as_str() {
            "running" => keepers.len() == 1 && holds_a_terminal(keepers[0]),
            _ => keepers.len() <= 1,
        };
        if status["crashCount"] != runs.len() || !kept {
            // A keeper whose parent is a keeper is no keeper yet: it waits to be the next run.
            let parents: Vec<_> = keepers.iter().map(|pid| status_field(*pid, "PPid")).collect();
            let crashes = &status["crashCount"];
            return Err(format!("{crashes} crashes, reports of {runs:?}, keepers {keepers:?} of {parents:?}"));
        }
        Ok(status)
    }

    async fn check_operations(&mut self) -> Option<()> {
        let rows = self.get("/operations").await?;
        let rows = rows["operations"].as_array().expect("a list of operations");
        let mut now = BTreeMap::new();
        for row in rows {
            let (id, outcome) = (row["id"].as_str().unwrap().to_owned(), outcome_of(row));
            assert!(now.insert(id, outcome).is_none(), "listed twice: {row}");
            assert!(["done", "failed", "superseded"].contains(&row["state"].as_str().unwrap()), "no outcome: {row}");
        }
        for id in &self.seen.accepted {
            assert!(now.contains_key(id), "operation {id} was accepted and is forgotten: {rows:?}");
        }
        for (id, outcome) in &self.seen.outcomes {
            assert_eq!(now.get(id), Some(outcome), "the outcome of {id} has changed");
        }
        self.seen.outcomes = now;
        Some(())
    }

    async fn check_console(&mut self) -> Option<()> {
        let agent = self.agent.as_ref()?;
        let log = agent.try_call(Method::GET, "/console/log?from=0", None).await.ok()?;
        let from = log.headers.get("log-from").and_then(|v| v.to_str().ok()).map(str::to_owned);
        assert_eq!(from.as_deref(), Some("0"), "{log:?}");
        let (text, before) = (log.body.into_bytes(), &self.seen.console);
        let kept = text.get(..before.len()).is_some_and(|start| start == before);
        let [was, is] = [before, &text].map(|b| String::from_utf8_lossy(b).into_owned());
        assert!(kept, "what was read before is not what is read now\n--- before\n{was}\n--- now\n{is}");
        self.seen.console = text;
        Some(())
    }
}

fn holds_a_terminal(pid: i32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target.ends_with("ptmx"))
}

fn run_of(report: &Value) -> u64 {
    report["run"].as_u64().expect("a report names its run")
}

/// Not when it ended: if the agent died between showing an outcome and saving it, the next one reached it again.
fn outcome_of(row: &Value) -> String {
    format!("{} {} {}", row["kind"], row["state"], row["error"])
}
