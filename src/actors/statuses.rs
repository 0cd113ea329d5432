//! Statuses: the newest known status of every server, for whoever asks; collectors write, requests and events read.
use crate::model::{ids::Vmid, time::WallTime};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::watch;

/// One cached status, the JSON of CONTRACT §3 ready to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached {
    pub json: Bytes,
    /// When the agent was last heard.
    pub last_seen: WallTime,
}

type Newest = Option<Arc<Cached>>;

/// Clones share one state.
#[derive(Clone, Default)]
pub struct Statuses {
    by_vmid: Arc<RwLock<HashMap<Vmid, watch::Sender<Newest>>>>,
}

impl Statuses {
    pub fn read(&self, vmid: Vmid) -> Newest {
        let all = self.by_vmid.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&vmid).and_then(|newest| newest.borrow().clone())
    }

    /// Every change of one server's status, only the newest kept.
    pub fn watch(&self, vmid: Vmid) -> watch::Receiver<Newest> {
        let mut all = self.by_vmid.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(vmid).or_default().subscribe()
    }

    pub fn publish(&self, vmid: Vmid, cached: Cached) {
        let mut all = self.by_vmid.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(vmid).or_default().send_replace(Some(Arc::new(cached)));
    }

    /// The server left the registry; who watches sees it end.
    pub fn forget(&self, vmid: Vmid) {
        self.by_vmid.write().unwrap_or_else(PoisonError::into_inner).remove(&vmid);
    }
}
