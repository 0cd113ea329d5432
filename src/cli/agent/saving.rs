//! What the agent must not forget, on disk: one writer, in the order of the calls.
//!
//! ```text
//! state/config.json   the saved /config body        state/good-start.json  watched files at the last good start
//! state/memory.json   intent, counters, operations  state/crashes/<id>.json  the last reports
//! ```
use crate::{
    host::{
        failpoint,
        store::{Durability, Store, StoreError},
    },
    model::crash::CrashReport,
    policy::game_server::{effect::Record, memory::Memory},
};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

const CONFIG: &str = "config";
const MEMORY: &str = "memory";

/// What earlier lives wrote down.
#[derive(Debug, Default)]
pub struct Recalled {
    pub memory: Memory,
    pub config: Option<Value>,
    /// Newest first.
    pub crashes: Vec<CrashReport>,
}

enum Job {
    Save(Vec<Record>, oneshot::Sender<Result<(), String>>),
    Recall(oneshot::Sender<Result<Recalled, String>>),
}

/// Handle to the writer. The queue is as long as the machine has saves under way: a handful.
#[derive(Clone)]
pub struct Saver {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Saver {
    /// `folder`: the agent's state folder. Needs a tokio runtime.
    pub fn start(folder: &Path, crashes_kept: usize) -> Result<Saver, StoreError> {
        let files =
            Files { records: Store::open(folder)?, crashes: Store::open(folder.join("crashes"))?, crashes_kept };
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(work(files, queue));
        Ok(Saver { jobs })
    }

    /// Carried out even if the future is dropped.
    pub fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>> {
        self.order(|done| Job::Save(records, done))
    }

    /// Sees every save that was ordered before.
    pub fn recall(&self) -> BoxFuture<'static, Result<Recalled, String>> {
        self.order(Job::Recall)
    }

    fn order<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Job,
    ) -> BoxFuture<'static, Result<T, String>> {
        let (done, outcome) = oneshot::channel();
        let sent = self.jobs.send(job(done));
        Box::pin(async move {
            match sent {
                Ok(()) => outcome.await.unwrap_or_else(|_| Err("the writer broke off".into())),
                Err(_) => Err("the writer has ended".into()),
            }
        })
    }
}

async fn work(files: Files, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut files = Some(files);
    while let (Some(job), Some(own)) = (queue.recv().await, files.take()) {
        // fsync may take as long as the disk likes; it must not do so on a thread that answers /health.
        let worked = tokio::task::spawn_blocking(move || {
            own.carry_out(job);
            own
        });
        match worked.await {
            Ok(own) => files = Some(own),
            Err(e) => tracing::error!("the state writer broke: {e}"),
        }
    }
}

struct Files {
    records: Store,
    crashes: Store,
    crashes_kept: usize,
}

impl Files {
    /// Whoever asked may be gone; the job is done all the same.
    fn carry_out(&self, job: Job) {
        match job {
            Job::Save(records, done) => {
                failpoint::reach("agent.before_save");
                let saved = records.iter().try_for_each(|record| self.save(record));
                failpoint::reach("agent.after_save");
                _ = done.send(saved.map_err(|e| e.to_string()));
            }
            Job::Recall(done) => _ = done.send(self.recall().map_err(|e| e.to_string())),
        }
    }

    fn save(&self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Config(body) => self.records.save(CONFIG, body, Durability::Machine),
            Record::Memory(memory) => self.records.save(MEMORY, memory, Durability::Machine),
            Record::Crash(report) => {
                tracing::warn!(
                    run = %report.run, reason = report.verdict.reason, decision = report.decision, "the game crashed"
                );
                // A report is for people: losing it to a power cut is no reason to wait for the disk.
                self.crashes.save(&report.id, report, Durability::Process)?;
                let names = self.crashes.names()?;
                let old = names.len().saturating_sub(self.crashes_kept);
                names.iter().take(old).try_for_each(|name| self.crashes.remove(name))
            }
        }
    }

    fn recall(&self) -> Result<Recalled, StoreError> {
        let mut crashes = Vec::new();
        for name in self.crashes.names()?.into_iter().rev().take(self.crashes_kept) {
            match self.crashes.load(&name) {
                Ok(report) => crashes.extend(report),
                Err(e) => tracing::warn!("a crash report is lost: {e}"),
            }
        }
        let memory = self.records.load(MEMORY)?.unwrap_or_default();
        Ok(Recalled { memory, config: self.records.load(CONFIG)?, crashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::RunId;
    use std::sync::Arc;

    fn report(id: &str) -> Record {
        let verdict = serde_json::json!({
            "id": id, "run": 1, "time": "2026-03-10T18:00:00.000Z", "exitCode": 1, "signal": 0, "coreDumped": false,
            "uptimeSeconds": 3, "wasReady": false, "peakMemoryBytes": 0, "classification": "nonzero_exit",
            "code": "exit.nonzero", "confidence": "weak", "retry": "ladder", "rule": "", "reason": "exit code 1",
            "hint": "", "captures": {}, "evidence": [], "suspectedMod": null, "crashFile": null,
            "crashFileText": null, "logTail": [], "changes": [], "decision": "restart"
        });
        Record::Crash(Arc::new(serde_json::from_value(verdict).unwrap()))
    }

    #[tokio::test]
    async fn what_was_ordered_is_recalled_even_if_nobody_waited() {
        let folder = tempfile::tempdir().unwrap();
        let saver = Saver::start(folder.path(), 2).unwrap();
        assert!(saver.recall().await.unwrap().config.is_none());
        let memory = Memory { accounted: RunId(7), ..Memory::default() };
        drop(
            saver.save(vec![Record::Config(serde_json::json!({"vmid": 1})), Record::Memory(Box::new(memory.clone()))]),
        );
        drop(saver.save(vec![report("a1"), report("a2"), report("a3")]));
        let recalled = saver.recall().await.unwrap();
        assert_eq!((recalled.memory, recalled.config), (memory, Some(serde_json::json!({"vmid": 1}))));
        let ids: Vec<_> = recalled.crashes.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["a3", "a2"], "newest first, the oldest gone");
    }

    #[tokio::test]
    async fn a_damaged_record_is_an_error_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("memory.json"), "{").unwrap();
        let saver = Saver::start(folder.path(), 2).unwrap();
        assert!(saver.recall().await.unwrap_err().contains("memory.json is damaged"));
        assert_eq!(saver.recall().await.unwrap().memory, Memory::default());
    }
}
