//! What readers of the status get: whole revisions, without asking any actor.
use crate::model::{crash::CrashReport, operation::Operation, snapshot::Snapshot, time::WallTime};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

/// One revision of everything readers may see, with the JSON of `/status` ready to serve.
#[derive(Clone, Debug)]
pub struct Published {
    pub snapshot: Snapshot,
    /// `snapshot` as JSON.
    pub json: Bytes,
    /// Operations of earlier lives may still be missing.
    pub recovering: bool,
    /// Newest first, at most `limits.operations_kept`.
    pub operations: Arc<Vec<Operation>>,
    /// Newest first, at most `limits.crashes_kept`.
    pub crashes: Arc<Vec<Arc<CrashReport>>>,
    /// Readiness checks behind `/ready`, in order.
    pub checks: Arc<Vec<Check>>,
}

/// One row of `/ready`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    /// Since when it has been so.
    #[schema(value_type = String, format = DateTime)]
    pub at: WallTime,
}

/// Reads the newest revision without asking any actor; clones share one channel.
#[derive(Clone)]
pub struct StatusReader {
    published: watch::Receiver<Arc<Published>>,
}

impl StatusReader {
    pub fn new(published: watch::Receiver<Arc<Published>>) -> StatusReader {
        StatusReader { published }
    }

    /// The newest revision.
    pub fn current(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    /// Resolves with the first revision later than `revision`; at once if there is one already.
    pub async fn past(&mut self, revision: u64) -> Arc<Published> {
        let newer = self.published.wait_for(|p| p.snapshot.revision.0 > revision).await.map(|p| p.clone());
        newer.unwrap_or_else(|_| self.current())
    }
}
