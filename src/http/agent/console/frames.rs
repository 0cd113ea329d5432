//! The JSON frames of `zlh.console.v1`. New kinds may come; a client ignores those it does not know.
use crate::model::{console::Epoch, exit::ExitStatus};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;

/// From the agent, as a text frame. Binary frames between them are output and advance the offset by their length.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Told {
    /// The first frame: output follows from `offset`; `start` is the oldest byte kept.
    Hello { epoch: Epoch, offset: u64, start: u64, columns: u16, rows: u16, read_only: bool },
    /// Bytes `from..to` are no longer kept; output goes on at `to`.
    Gap { from: u64, to: u64 },
    /// A run ended, after all its output. `signal` 0 = none.
    Exit { code: Option<i32>, signal: i32 },
    /// Offsets begin anew: output goes on at `offset` of `epoch`.
    Epoch { epoch: Epoch, offset: u64 },
    /// Input was not passed on; `code` as in docs/errors.md, or `read_only`.
    Refused { code: &'static str },
}

impl Told {
    pub fn exit(status: ExitStatus) -> Told {
        Told::Exit { code: status.code(), signal: status.signal() }
    }

    pub fn message(&self) -> Message {
        // A plain enum of numbers always has a JSON form; an empty object is what a client ignores.
        Message::text(serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned()))
    }
}

/// From a client, as a text frame.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Said {
    Input { data: String },
    Resize { columns: u16, rows: u16 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_these_names() {
        let hello = Told::Hello { epoch: Epoch(7), offset: 5, start: 2, columns: 200, rows: 24, read_only: false };
        let json = r#"{"type":"hello","epoch":7,"offset":5,"start":2,"columns":200,"rows":24,"readOnly":false}"#;
        assert_eq!(hello.message().to_text().unwrap(), json);
        let killed = Told::exit(ExitStatus::Signal { signal: 9, core_dumped: false });
        assert_eq!(killed.message().to_text().unwrap(), r#"{"type":"exit","code":null,"signal":9}"#);
    }

    #[test]
    fn what_is_said_must_be_exact() {
        assert_eq!(
            serde_json::from_str::<Said>(r#"{"type":"input","data":"x"}"#).unwrap(),
            Said::Input { data: "x".into() }
        );
        for wrong in [
            "",
            "[]",
            "{}",
            "null",
            "\"input\"",
            r#"{"type":"input"}"#,
            r#"{"type":"input","data":1}"#,
            r#"{"type":"input","data":"x","more":1}"#,
            r#"{"type":"resize","columns":-1,"rows":1}"#,
            r#"{"type":"resize","columns":99999,"rows":1}"#,
            r#"{"type":"kill"}"#,
            r#"{"data":"x"}"#,
        ] {
            assert!(serde_json::from_str::<Said>(wrong).is_err(), "{wrong}");
        }
    }
}
