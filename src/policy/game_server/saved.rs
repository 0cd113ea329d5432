//! What became of a save. A disk that refuses stops nothing that runs; what it did not take is offered again.
use super::{Machine, command::Moment, effect::Record, fact::Ticket, memory::Desired};
use crate::model::ids::RunId;
use std::time::Duration;

/// Between two tries to save what the disk refused.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// A save that is out.
#[derive(Clone)]
pub(super) struct Saving {
    pub ticket: Ticket,
    /// Run ids up to this one are never drawn again once it is on disk.
    pub reserved: RunId,
    pub desired: Desired,
    /// What goes with the memory, which is saved as it is by then.
    pub records: Vec<Record>,
}

impl Machine {
    pub(super) fn on_stored(&mut self, now: Moment, ticket: Ticket, result: Result<(), String>) {
        let Some(at) = self.saving.iter().position(|saving| saving.ticket == ticket) else { return };
        let saving = self.saving.remove(at);
        match &result {
            Ok(()) => {
                (self.durable, self.durably) = (self.durable.max(saving.reserved), saving.desired);
                // Later saves hold what earlier ones lacked, except for records that came back meanwhile.
                if self.records.is_empty() {
                    self.timers.save = None;
                    self.unwarn("state_not_saved");
                }
            }
            Err(why) => self.save_later(saving.records, why),
        }
        self.settling.take_if(|awaited| *awaited == ticket);
        self.on_saved_for_start(now, ticket, &result);
        self.on_saved_for_stop(now, ticket);
        self.on_done_aside(now, ticket, &result);
        self.on_saved_for_close(ticket);
    }

    fn save_later(&mut self, mut refused: Vec<Record>, why: &str) {
        self.warn("state_not_saved", format!("what must survive a restart could not be saved: {why}"));
        refused.append(&mut self.records);
        let is_config = |record: &Record| matches!(record, Record::Config(_));
        let newest = refused.iter().rposition(is_config);
        let surplus = refused.len().saturating_sub(self.rules.limits.crashes_kept + 1);
        let wanted = refused.into_iter().enumerate().skip(surplus);
        let wanted = wanted.filter(|(at, record)| !is_config(record) || Some(*at) == newest);
        self.records = wanted.map(|(_, record)| record).collect();
        if self.timers.save.is_none() {
            self.timers.save = Some(self.arm(SAVE_AGAIN));
        }
    }
}
