//! `zlh status`: the page once, or followed by long-poll.
use super::{
    Session, now, print, print_json,
    wire::{Crash, Status},
};
use crate::cli::{failure::Failure, show};
use std::{io::IsTerminal, time::Duration};

/// One long poll.
const WAIT: Duration = Duration::from_secs(30);
/// How long after a failed poll the next one begins.
const RETRY: Duration = Duration::from_secs(1);
/// How often the page is drawn anew, so that its relative times stay true.
const REDRAW: Duration = Duration::from_secs(1);

pub async fn once(session: &Session) -> Result<(), Failure> {
    let Some(status) = session.view::<Status>("status").await? else { return Ok(()) };
    let crash = last_crash(session, &status).await;
    print(&show::status::page(&status, crash.as_ref(), session.look, now()))
}

/// The newest report, for its hint. The page is worth showing without it, so a failure only leaves the hint out.
pub async fn last_crash(session: &Session, status: &Status) -> Option<Crash> {
    status.last_crash_time?;
    let answer = session.agent.read("crashes").await.ok()?;
    let crashes: Vec<Crash> = session.parse_list(&answer.body).ok()?;
    crashes.into_iter().max_by_key(|c| c.time)
}

/// Follows changes until Ctrl-C, through agent restarts.
pub async fn watch(session: &Session) -> Result<(), Failure> {
    tokio::select! {
        ended = follow(session) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn follow(session: &Session) -> Result<(), Failure> {
    let mut view = View { session, page: String::new(), seen: None };
    view.take(session.agent.read("status").await?.body).await?;
    loop {
        match view.poll().await {
            Ok(body) => view.take(body).await?,
            Err(Failure::Unreachable { why, .. }) => {
                view.gone(&why)?;
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

struct View<'a> {
    session: &'a Session,
    page: String,
    /// Last status shown, `None` before the first and after the agent went away.
    seen: Option<(Status, Option<Crash>)>,
}

impl View<'_> {
    /// The next revision. On a terminal the page is drawn while waiting, for its clock.
    async fn poll(&mut self) -> Result<bytes::Bytes, Failure> {
        let path = match &self.seen {
            Some((status, _)) => format!("status?wait={}s&since={}", WAIT.as_secs(), status.revision),
            None => "status".into(),
        };
        let agent = self.session.agent.clone();
        let answer = async move { agent.read_or(&path, &[], 2 * WAIT).await };
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer.map(|a| a.body),
                () = tokio::time::sleep(REDRAW) => self.draw()?,
            }
        }
    }

    async fn take(&mut self, body: bytes::Bytes) -> Result<(), Failure> {
        let status: Status = self.session.parse(&body)?;
        let same =
            |(seen, _): &(Status, _)| (&seen.instance_id, seen.revision) == (&status.instance_id, status.revision);
        if self.seen.as_ref().is_some_and(same) {
            return Ok(());
        }
        if self.session.json {
            print_json(&body)?;
            self.seen = Some((status, None));
            return Ok(());
        }
        let crash = last_crash(self.session, &status).await;
        self.seen = Some((status, crash));
        self.draw()
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let Some((status, crash)) = self.seen.as_ref().filter(|_| !self.session.json) else { return Ok(()) };
        let screen = std::io::stdout().is_terminal();
        let page = match screen {
            true => show::status::page(status, crash.as_ref(), self.session.look, now()),
            false => show::status::line(status, now()) + "\n",
        };
        // Without its clock a plain line would repeat itself for ever.
        let same = if screen { page == self.page } else { untimed(&page) == untimed(&self.page) };
        if same {
            return Ok(());
        }
        self.page = page;
        match screen {
            true => print(&format!("\x1b[H\x1b[2J{}", self.page)),
            false => print(&self.page),
        }
    }

    fn gone(&mut self, why: &str) -> Result<(), Failure> {
        if self.seen.take().is_some() {
            self.page.clear();
            eprintln!("agent gone ({why}), reconnecting…");
        }
        Ok(())
    }
}

/// A plain line without its two relative parts.
fn untimed(line: &str) -> &str {
    let line = line.split_once(" UTC ").map_or(line, |(_, rest)| rest);
    line.split_once(", restart ").map_or(line, |(rest, _)| rest)
}
