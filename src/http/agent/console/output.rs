//! The way out: what the log has past the cursor goes to the viewer as soon as it is there, one frame at a time.
use super::{
    Dialect, FRAME_BYTES,
    frames::Told,
    position::Cursor,
    viewer::{Leave, Pulse},
};
use crate::{
    actors::game_server::RunEnd,
    http::{agent::backend::ConsoleLog, websocket::Socket},
    model::{console::News, settings},
};
use bytes::Bytes;
use futures_util::{SinkExt, stream::SplitSink};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::tungstenite::Message;

pub type Sink = SplitSink<Socket, Message>;

pub struct Output<'a> {
    pub log: &'a dyn ConsoleLog,
    pub settings: &'a settings::Console,
    pub dialect: Dialect,
    pub cursor: Cursor,
    pub sink: &'a mut Sink,
    pub pulse: &'a Pulse,
    /// Counts bytes that were gone before this viewer got them.
    pub missed: &'a AtomicU64,
}

impl Output<'_> {
    /// `start`: the oldest byte kept now. Ends only with a reason to leave.
    pub async fn run(mut self, start: u64, read_only: bool, told: mpsc::Receiver<Told>) -> Leave {
        let Err(why) = self.flow(start, read_only, told).await;
        why
    }

    async fn flow(
        &mut self,
        start: u64,
        read_only: bool,
        mut told: mpsc::Receiver<Told>,
    ) -> Result<std::convert::Infallible, Leave> {
        let mut news = self.log.news();
        let mut ends = self.log.ends();
        ends.mark_unchanged();
        self.greet(start, read_only).await?;
        let mut ping = interval_at(Instant::now() + self.settings.ping, self.settings.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In this order: the rare ones first, or a flood would keep them waiting for ever.
            tokio::select! {
                biased;
                _ = ping.tick() => self.ping().await?,
                Some(note) = told.recv() => self.tell(note).await?,
                Ok(()) = ends.changed() => self.end(&mut ends).await?,
                news = past(&mut news, self.cursor) => self.forward(news).await?,
            }
        }
    }

    async fn greet(&mut self, start: u64, read_only: bool) -> Result<(), Leave> {
        let (columns, rows) = self.log.size();
        let Cursor { epoch, offset } = self.cursor;
        self.tell(Told::Hello { epoch, offset, start, columns, rows, read_only }).await
    }

    /// One frame of what is there past the cursor. Who keeps up sends the bytes that all viewers share.
    async fn forward(&mut self, news: News) -> Result<(), Leave> {
        let News { range, .. } = news;
        if range.epoch != self.cursor.epoch {
            self.cursor = Cursor { epoch: range.epoch, offset: range.start };
            return self.tell(Told::Epoch { epoch: range.epoch, offset: range.start }).await;
        }
        match news.since(self.cursor.offset) {
            Some(mut bytes) => {
                bytes.truncate(FRAME_BYTES);
                self.pass_on(bytes).await
            }
            None => self.catch_up().await,
        }
    }

    async fn catch_up(&mut self) -> Result<(), Leave> {
        let chunk = self.log.read(self.cursor.offset, FRAME_BYTES).await?;
        if self.log.range().epoch != self.cursor.epoch {
            return Ok(()); // these offsets meant something else already
        }
        if chunk.from > self.cursor.offset {
            let (from, to) = (self.cursor.offset, chunk.from);
            self.missed.fetch_add(to - from, Relaxed);
            self.cursor.offset = to;
            self.tell(Told::Gap { from, to }).await?;
        }
        self.pass_on(chunk.bytes).await
    }

    async fn pass_on(&mut self, bytes: Bytes) -> Result<(), Leave> {
        self.cursor.offset += bytes.len() as u64;
        match (&mut self.dialect, bytes) {
            (_, bytes) if bytes.is_empty() => {
                tokio::task::yield_now().await; // nothing after all: never a tight loop
                Ok(())
            }
            (Dialect::Text(utf8), bytes) => {
                let text = utf8.push(&bytes);
                if text.is_empty() { Ok(()) } else { self.send(Message::text(text)).await }
            }
            (Dialect::Raw | Dialect::V1, bytes) => self.send(Message::Binary(bytes)).await,
        }
    }

    /// All output that was there when the run ended, then the word that it ended.
    async fn end(&mut self, ends: &mut watch::Receiver<Option<RunEnd>>) -> Result<(), Leave> {
        let end = *ends.borrow_and_update();
        let last = self.log.range();
        while self.log.range().epoch == last.epoch && (self.cursor.epoch != last.epoch || self.cursor.offset < last.end)
        {
            self.forward(News { range: last, ..News::default() }).await?;
        }
        match end {
            Some(end) => self.tell(Told::exit(end.status)).await,
            None => Ok(()),
        }
    }

    async fn ping(&mut self) -> Result<(), Leave> {
        if self.pulse.silent_for() > self.settings.stall {
            return Err(Leave::Stalled);
        }
        self.hand_over(Message::Ping(Bytes::new())).await
    }

    /// JSON for those who speak it.
    async fn tell(&mut self, told: Told) -> Result<(), Leave> {
        match self.dialect {
            Dialect::V1 => self.send(told.message()).await,
            Dialect::Raw | Dialect::Text(_) => Ok(()),
        }
    }

    /// Handing a frame over is a sign of life. A ping's is not: the kernel takes it for a peer that is long dead.
    async fn send(&mut self, message: Message) -> Result<(), Leave> {
        self.hand_over(message).await?;
        self.pulse.beat();
        Ok(())
    }

    async fn hand_over(&mut self, message: Message) -> Result<(), Leave> {
        match timeout(self.settings.stall, self.sink.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Leave::Stalled),
        }
    }
}

/// Resolves when there is something for this cursor.
async fn past(news: &mut watch::Receiver<News>, cursor: Cursor) -> News {
    let more = |news: &News| news.range.epoch != cursor.epoch || news.range.end > cursor.offset;
    if news.wait_for(more).await.is_err() {
        // Nobody is left who could tell anything: the agent goes down, and so does this viewer.
        std::future::pending().await
    }
    news.borrow().clone()
}
