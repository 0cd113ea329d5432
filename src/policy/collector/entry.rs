//! An entry of the status cache, made from what an agent said in one pass over its bytes: thousands come each second.
use crate::model::{
    ids::{InstanceId, Revision},
    time::WallTime,
};
use bytes::Bytes;
use memchr::memmem;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, io::Write, time::Duration};

/// An entry of the status cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub instance: InstanceId,
    pub revision: Revision,
    pub last_seen: WallTime,
    /// Shared by all who show it.
    pub json: Bytes,
    /// The agent's own `timestamp`.
    made: i64,
    /// Where in `json` the agent's own fields begin.
    tail: usize,
}

/// What an agent answered to `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// A sentence for a person.
    NotReady(String),
}

/// The head of a status, the rest left as text. An old agent tells neither life nor revision: what was heard last counts.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    instance_id: InstanceId,
    revision: Revision,
    timestamp: i64,
}

impl Entry {
    /// From the body of an agent's `/status`. Where `/ready` was asked, its answer stands for the status' own word on that.
    /// The error says what is wrong with it.
    pub fn of_status(status: &[u8], ready: Option<&Readiness>, seen: WallTime) -> Result<Entry, String> {
        let unusable = |e: &dyn fmt::Display| format!("its status cannot be read: {e}");
        let text = std::str::from_utf8(status).map_err(|e| unusable(&e))?;
        let mut json = serde_json::Deserializer::from_str(text);
        let pass = Pass { without_ready: ready.is_some(), room: status.len() };
        let split = pass.deserialize(&mut json).and_then(|split| json.end().map(|()| split));
        let Split { head, agent_error, mut rest } = split.map_err(|e| unusable(&e))?;
        match ready {
            None => {}
            Some(Readiness::Ready) => rest.push_str(",\"ready\":true,\"readyError\":\"\""),
            Some(Readiness::NotReady(why)) => {
                rest.push_str(&format!(",\"ready\":false,\"readyError\":{}", quoted(why)))
            }
        }
        let tail = [",\"agentError\":", agent_error, &rest, "}"];
        Ok(Entry::join(head, seen, None, &tail))
    }

    /// Of nobody who was ever heard.
    pub fn unheard(why: &str) -> Entry {
        Entry::join(Head::default(), WallTime(0), Some(why), &[",\"agentError\":null}"])
    }

    fn join(head: Head, seen: WallTime, error: Option<&str>, tail: &[&str]) -> Entry {
        let Head { instance_id: instance, revision, timestamp: made } = head;
        let mut json = Vec::with_capacity(256 + tail.iter().map(|part| part.len()).sum::<usize>());
        // Writing into memory does not fail.
        _ = write!(
            json,
            "{{\"hostOnline\":{},\"instanceId\":{},\"revision\":{},\"timestamp\":{made},\"lastSeen\":{},\"error\":",
            error.is_none(),
            quoted(&instance.0),
            revision.0,
            seen.0,
        );
        json.extend_from_slice(error.map_or("null".to_owned(), quoted).as_bytes());
        let at = json.len();
        tail.iter().for_each(|part| json.extend_from_slice(part.as_bytes()));
        Entry { instance, revision, last_seen: seen, json: json.into(), made, tail: at }
    }

    /// From Redis, where another gateway wrote it; `None` for what is no entry.
    pub fn of_cache(json: Bytes) -> Option<Entry> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Seen {
            last_seen: i64,
        }
        let Head { instance_id: instance, revision, timestamp: made } = serde_json::from_slice(&json).ok()?;
        let seen: Seen = serde_json::from_slice(&json).ok()?;
        let tail = memmem::find(&json, b",\"agentError\":")?;
        Some(Entry { instance, revision, last_seen: WallTime(seen.last_seen), json, made, tail })
    }

    /// The same, as one that does not answer any more.
    pub fn offline(&self, why: &str) -> Entry {
        let head = Head { instance_id: self.instance.clone(), revision: self.revision, timestamp: self.made };
        let tail = std::str::from_utf8(&self.json[self.tail..]).unwrap_or(",\"agentError\":null}");
        Entry::join(head, self.last_seen, Some(why), &[tail])
    }

    /// What an entry that says "there" is to be shown as when nobody has renewed it for `age`.
    pub fn aged(json: &Bytes, age: Duration) -> Option<Bytes> {
        let entry = json.starts_with(b"{\"hostOnline\":true").then(|| Entry::of_cache(json.clone()))??;
        Some(entry.offline(&format!("nothing was heard for {} s", age.as_secs())).json)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A status taken apart: what orders it, its own `error`, and `,"name":value` of all fields that are not the collector's.
struct Split<'a> {
    head: Head,
    agent_error: &'a str,
    rest: String,
}

struct Pass {
    /// Somebody else says whether it is ready.
    without_ready: bool,
    room: usize,
}

impl<'de> DeserializeSeed<'de> for Pass {
    type Value = Split<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Split<'de>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pass {
    type Value = Split<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Split<'de>, M::Error> {
        let mut split =
            Split { head: Head::default(), agent_error: "null", rest: String::with_capacity(self.room + 64) };
        while let Some(name) = fields.next_key::<&str>()? {
            match name {
                "instanceId" => split.head.instance_id = fields.next_value()?,
                "revision" => split.head.revision = fields.next_value()?,
                "timestamp" => split.head.timestamp = fields.next_value()?,
                "error" => split.agent_error = fields.next_value::<&RawValue>()?.get(),
                "hostOnline" | "lastSeen" | "agentError" => _ = fields.next_value::<IgnoredAny>()?,
                "ready" | "readyError" if self.without_ready => _ = fields.next_value::<IgnoredAny>()?,
                name => {
                    let value: &RawValue = fields.next_value()?;
                    [",\"", name, "\":", value.get()].iter().for_each(|part| split.rest.push_str(part));
                }
            }
        }
        Ok(split)
    }
}
