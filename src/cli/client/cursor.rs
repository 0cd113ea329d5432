//! Where a viewer of the console stands: no byte twice, every lost byte counted, across connections and epochs.
use serde::Deserialize;

/// Text frames the agent sends on `zlh.console.v1`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Note {
    #[serde(rename_all = "camelCase")]
    Hello {
        epoch: u64,
        /// Offset of the first byte that follows.
        offset: u64,
        #[serde(default)]
        read_only: bool,
    },
    /// Bytes `from..to` are not kept any more.
    Gap { from: u64, to: u64 },
    Exit {
        code: Option<i32>,
        #[serde(default)]
        signal: i32,
    },
    /// Offsets begin anew.
    Epoch {
        epoch: u64,
        #[serde(default)]
        offset: u64,
    },
    /// Input was not passed on.
    Refused { code: String },
    /// A frame of a later release.
    #[serde(other)]
    Unknown,
}

/// Position in the console: absolute offset within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub epoch: u64,
    pub offset: u64,
}

/// What a step did to continuity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Unbroken,
    /// So many bytes are gone for ever.
    Lost(u64),
    /// Another epoch: nobody can say how much is missing.
    Anew,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// What the viewer has seen so far; `None` before the first hello.
    seen: Option<Place>,
    /// Offset of the next byte of this connection; behind `seen` where the agent repeats something.
    next: u64,
}

impl Cursor {
    pub fn at(place: Place) -> Cursor {
        Cursor { seen: Some(place), next: place.offset }
    }

    /// Where to go on from after the connection broke.
    pub fn place(&self) -> Option<Place> {
        self.seen
    }

    /// A connection, or an epoch within one, begins at `place`.
    pub fn begin(&mut self, place: Place) -> Step {
        self.next = place.offset;
        match self.seen {
            Some(seen) if seen.epoch == place.epoch => self.skip_to(place.offset),
            // Epoch 0 is a console on which nothing was ever written.
            Some(seen) if seen.epoch != 0 || seen.offset != 0 => {
                self.seen = Some(place);
                Step::Anew
            }
            _ => {
                self.seen = Some(place);
                Step::Unbroken
            }
        }
    }

    /// The agent says that nothing before `to` is left.
    pub fn gap(&mut self, to: u64) -> Step {
        self.next = self.next.max(to);
        self.skip_to(to)
    }

    fn skip_to(&mut self, offset: u64) -> Step {
        match &mut self.seen {
            Some(seen) if offset > seen.offset => {
                let lost = offset - seen.offset;
                seen.offset = offset;
                Step::Lost(lost)
            }
            _ => Step::Unbroken,
        }
    }

    /// The part of `len` bytes just received that the viewer has not seen: how many to skip at the front.
    pub fn advance(&mut self, len: usize) -> usize {
        let Some(seen) = &mut self.seen else { return 0 };
        let begin = self.next;
        self.next += len as u64;
        let known = seen.offset.saturating_sub(begin).min(len as u64);
        seen.offset = seen.offset.max(self.next);
        known as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(epoch: u64, offset: u64) -> Place {
        Place { epoch, offset }
    }

    #[test]
    fn a_resumed_connection_loses_and_repeats_nothing() {
        let mut c = Cursor::default();
        assert_eq!(c.begin(place(7, 100)), Step::Unbroken);
        assert_eq!(c.advance(10), 0);
        assert_eq!(c.place(), Some(place(7, 110)));
        assert_eq!(c.begin(place(7, 110)), Step::Unbroken);
        assert_eq!(c.advance(5), 0);
        assert_eq!(c.place(), Some(place(7, 115)));
    }

    #[test]
    fn repeated_bytes_are_cut_off() {
        let mut c = Cursor::at(place(7, 110));
        assert_eq!(c.begin(place(7, 100)), Step::Unbroken);
        assert_eq!(c.advance(4), 4);
        assert_eq!(c.advance(10), 6);
        assert_eq!(c.place(), Some(place(7, 114)));
    }

    #[test]
    fn a_gap_is_told_once_whichever_frame_tells_it() {
        let mut c = Cursor::at(place(7, 110));
        assert_eq!(c.begin(place(7, 150)), Step::Lost(40));
        assert_eq!(c.gap(150), Step::Unbroken);
        let mut c = Cursor::at(place(7, 110));
        assert_eq!(c.begin(place(7, 110)), Step::Unbroken);
        assert_eq!(c.gap(150), Step::Lost(40));
        assert_eq!(c.advance(3), 0);
        assert_eq!(c.place(), Some(place(7, 153)));
    }

    #[test]
    fn another_epoch_begins_anew() {
        let mut c = Cursor::at(place(7, 110));
        assert_eq!(c.begin(place(8, 0)), Step::Anew);
        assert_eq!(c.advance(3), 0);
        let mut first_output = Cursor::at(place(0, 0));
        assert_eq!(first_output.begin(place(8, 0)), Step::Unbroken);
    }

    #[test]
    fn frames_of_the_wire() {
        let note = |text: &str| serde_json::from_str::<Note>(text).unwrap();
        let hello = r#"{"type":"hello","epoch":7,"offset":42,"start":0,"columns":200,"rows":24,"readOnly":true}"#;
        assert_eq!(note(hello), Note::Hello { epoch: 7, offset: 42, read_only: true });
        assert_eq!(note(r#"{"type":"gap","from":1,"to":9}"#), Note::Gap { from: 1, to: 9 });
        assert_eq!(note(r#"{"type":"exit","code":1,"signal":0}"#), Note::Exit { code: Some(1), signal: 0 });
        assert_eq!(note(r#"{"type":"exit","code":null,"signal":9}"#), Note::Exit { code: None, signal: 9 });
        assert_eq!(note(r#"{"type":"refused","code":"not_running"}"#), Note::Refused { code: "not_running".into() });
        assert_eq!(note(r#"{"type":"confetti","n":1}"#), Note::Unknown);
    }
}
