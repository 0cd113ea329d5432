//! `zlh players`: who is playing.
use super::{Session, print, wire::Players};
use crate::cli::{failure::Failure, show};

pub async fn show(session: &Session) -> Result<(), Failure> {
    match session.view::<Players>("game/players").await? {
        Some(players) => print(&show::lists::players(&players)),
        None => Ok(()),
    }
}
