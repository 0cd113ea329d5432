//! What an actor has of a workload that a keeper holds: the keeper's verbs and the console's bytes. The same for a game,
//! a shell and the editor.
use crate::{
    host::keeping::Keeping,
    model::console::{LogRange, News},
};
use futures_util::future::BoxFuture;
use std::{io, sync::Arc};
use tokio::sync::watch;

/// One workload's keeper and console; clones are the same hold.
#[derive(Clone)]
pub struct Held {
    pub keeping: Arc<dyn Keeping>,
    pub output: Arc<dyn Output>,
}

/// The console's bytes. Reading involves neither the actor nor the keeper.
pub trait Output: Send + Sync + 'static {
    fn range(&self) -> LogRange;
    /// Up to `max` bytes from `from` on. The offset returned is that of the first byte: larger than `from` when older
    /// bytes are no longer kept.
    fn read(&self, from: u64, max: usize) -> BoxFuture<'static, io::Result<(u64, bytes::Bytes)>>;
    /// Newest value only, for as long as the receiver lives.
    fn news(&self) -> watch::Receiver<News>;
}
