//! Statuses: the newest known status of every server, for whoever asks; collectors write, requests and events read.
use crate::{
    model::{ids::Vmid, time::WallTime},
    policy::collector::{Entry, STALE_AFTER},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::{sync::watch, time::Instant};

/// One cached status, the JSON of CONTRACT §3 ready to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached {
    pub json: Bytes,
    /// When the agent was last heard.
    pub last_seen: WallTime,
    /// When this gateway learnt of it.
    learnt: Instant,
}

impl Cached {
    pub fn new(json: Bytes, last_seen: WallTime) -> Cached {
        Cached { json, last_seen, learnt: Instant::now() }
    }

    /// As it may be shown now: what nobody renewed for too long, whatever the reason, does not pass for fresh.
    pub fn shown(&self) -> Bytes {
        match self.learnt.elapsed() {
            age if age < STALE_AFTER => self.json.clone(),
            age => Entry::aged(&self.json, age).unwrap_or_else(|| self.json.clone()),
        }
    }
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
        let cached = Some(Arc::new(cached));
        let all = self.by_vmid.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = all.get(&vmid) {
            newest.send_replace(cached);
            return;
        }
        drop(all);
        let mut all = self.by_vmid.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(vmid).or_default().send_replace(cached);
    }

    /// The server left the registry; who watches sees it end.
    pub fn forget(&self, vmid: Vmid) {
        self.by_vmid.write().unwrap_or_else(PoisonError::into_inner).remove(&vmid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_renews_does_not_pass_for_fresh() {
        let json = br#"{"hostOnline":true,"instanceId":"a","revision":7,"timestamp":1,"lastSeen":9,"error":null,"agentError":null,"state":"running"}"#;
        let cached = Cached::new(Bytes::from_static(json), WallTime(9));
        assert_eq!(cached.shown(), cached.json);
        tokio::time::advance(STALE_AFTER + Duration::from_secs(5)).await;
        let shown: serde_json::Value = serde_json::from_slice(&cached.shown()).unwrap();
        assert_eq!(
            (&shown["hostOnline"], &shown["lastSeen"], &shown["state"]),
            (&false.into(), &9.into(), &"running".into())
        );
        assert!(shown["error"].as_str().unwrap().contains("for 20 s"), "{shown}");
    }
}
