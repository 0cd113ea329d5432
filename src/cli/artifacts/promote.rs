//! `zlh artifacts promote` and `rollback`: which version a channel means.
use super::desk::Desk;
use crate::{
    cli::failure::Failure,
    policy::publish::{
        edit::{self, Change},
        target::Target,
    },
};
use serde_json::json;

pub fn run(desk: &Desk, target: &Target, version: &str, channel: &str) -> Result<(), Failure> {
    let done = desk.edit(target.document(), |book, now| edit::promote(book, target, version, channel, now))?;
    told(desk, target, channel, done)
}

pub fn back(desk: &Desk, target: &Target, channel: &str) -> Result<(), Failure> {
    let done = desk.edit(target.document(), |book, now| edit::rollback(book, target, channel, now))?;
    told(desk, target, channel, done)
}

fn told(desk: &Desk, target: &Target, channel: &str, done: Change) -> Result<(), Failure> {
    let Change::Moved { from, to } = done else {
        let line = format!("{target}: {channel} means that already");
        return desk.say(&line, &json!({"target": target.to_string(), "channel": channel, "changed": false}));
    };
    let before = from.as_deref().map(|from| format!(" (before: {from})")).unwrap_or_default();
    desk.say(
        &format!("{target}: {channel} is {to} now{before}"),
        &json!({"target": target.to_string(), "channel": channel, "changed": true, "from": from, "to": to}),
    )
}
