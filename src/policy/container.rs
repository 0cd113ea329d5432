//! What kind of container this is, and what may be asked of it: the one place that tells games and dev containers apart.
use super::fields::{Fields, unusable};
use crate::{
    model::{container::Kind, operation::Operation, phase::State, refusal::Refusal},
    policy::status::{DevPart, GamePart},
};
use serde_json::Value;

/// The kind that a `/config` body asks for.
pub fn asked(body: &Value) -> Result<Kind, Refusal> {
    let Value::Object(object) = body else { return Err(unusable("(body)", "it must be a JSON object")) };
    Fields(object).kind()
}

/// May a container that is `is` be configured as `asked`? Its first configuration decides: whatever runs in it belongs
/// to the one or to the other, and somebody who sends the wrong body should not lose it.
pub fn may_become(is: Option<Kind>, asked: Kind) -> Result<(), Refusal> {
    match is {
        Some(is) if is != asked => {
            Err(unusable("container_type", format!("this is a {is} container already; allowed: {is}")))
        }
        _ => Ok(()),
    }
}

/// May something that only containers of kind `needed` have be asked for? A game server answers for itself that it is
/// not configured yet.
pub fn admits(is: Option<Kind>, needed: Kind) -> Result<(), Refusal> {
    match (is, needed) {
        (Some(Kind::Dev), Kind::Game) => Err(Refusal::NotAGame),
        (Some(Kind::Game), Kind::Dev) => Err(Refusal::NotADevContainer),
        (None, Kind::Dev) => Err(Refusal::NoConfig),
        (None | Some(Kind::Game), Kind::Game) | (Some(Kind::Dev), Kind::Dev) => Ok(()),
    }
}

/// May a copy be made now, or (`restore`) put back? One operation at a time changes the workload.
pub fn free_for_backup(kind: Kind, restore: bool, game: &GamePart, dev: &DevPart) -> Result<(), Refusal> {
    let (recovering, operations) = match kind {
        Kind::Game => (game.recovering, &game.operations),
        Kind::Dev => (dev.recovering, &dev.operations),
    };
    if recovering {
        return Err(Refusal::Recovering);
    }
    if let Some(refusal) = operations.iter().find(|row| !row.state.is_final()).map(busy) {
        return Err(refusal);
    }
    // What has given up or waits for nothing does not start by itself.
    let at_rest = game.process.is_none() && matches!(game.state, State::Idle | State::Error);
    if kind == Kind::Game && restore && !at_rest { Err(Refusal::NotStopped) } else { Ok(()) }
}

fn busy(row: &Operation) -> Refusal {
    Refusal::OperationInProgress { holder: row.id.clone(), kind: row.kind, deadline_at: row.deadline_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_type_has_three_names_and_no_type_means_game() {
        for (body, kind) in [
            (json!({}), Kind::Game),
            (json!({"game": "minecraft"}), Kind::Game),
            (json!({"container_type": "game", "game": "x"}), Kind::Game),
            (json!({"container_type": "dev"}), Kind::Dev),
            (json!({"containerType": "dev"}), Kind::Dev),
            (json!({"ctype": "dev", "container_type": ""}), Kind::Dev),
            (json!({"ctype": "dev", "containerType": "dev", "container_type": "dev"}), Kind::Dev),
            (json!({"container_type": null, "runtime": "node"}), Kind::Game),
        ] {
            assert_eq!(asked(&body), Ok(kind), "{body}");
        }
    }

    #[test]
    fn a_backup_waits_for_nobody_and_a_restore_wants_a_game_at_rest() {
        use crate::{
            model::ids::OperationId,
            policy::operations::{By, Journal, Outcome},
        };
        let part = |state| GamePart { configured: true, state, ..GamePart::default() };
        let ask = |kind, restore, game: &GamePart| free_for_backup(kind, restore, game, &DevPart::default());
        for (state, may_restore) in [
            (State::Idle, true),
            (State::Error, true),
            (State::Installing, false),
            (State::Starting, false),
            (State::Running, false),
            (State::Stopping, false),
            (State::Crashed, false),
        ] {
            assert_eq!(ask(Kind::Game, false, &part(state)), Ok(()), "{state:?}");
            let expected = if may_restore { Ok(()) } else { Err(Refusal::NotStopped) };
            assert_eq!(ask(Kind::Game, true, &part(state)), expected, "{state:?}");
            assert_eq!(ask(Kind::Dev, true, &part(state)), Ok(()), "shells go on");
        }
        let mut journal = Journal::default();
        let by = By { id: OperationId("op-1".into()), holder: "api".into() };
        let kind = crate::model::operation::OperationKind::Start;
        journal.open(kind, by, Default::default(), Default::default(), 9);
        let busy = GamePart { operations: journal.rows(), ..part(State::Idle) };
        assert!(
            matches!(ask(Kind::Game, false, &busy), Err(Refusal::OperationInProgress { holder, .. }) if holder.0 == "op-1")
        );
        journal.end(Outcome::Done, Default::default());
        let free = GamePart { operations: journal.rows(), ..part(State::Idle) };
        assert_eq!(ask(Kind::Game, true, &free), Ok(()));
        let unknown = GamePart { recovering: true, ..part(State::Idle) };
        assert_eq!(ask(Kind::Game, false, &unknown), Err(Refusal::Recovering));
    }

    #[test]
    fn contradictions_name_the_field() {
        for (body, field) in [
            (json!({"container_type": "dev", "ctype": "game"}), "ctype"),
            (json!({"container_type": "dev", "game": "minecraft"}), "game"),
            (json!({"ctype": "vm"}), "ctype"),
            (json!({"container_type": 7}), "container_type"),
            (json!([]), "(body)"),
        ] {
            let Err(Refusal::Unusable { field: named, .. }) = asked(&body) else { panic!("accepted: {body}") };
            assert_eq!(named, field, "{body}");
        }
    }

    #[test]
    fn the_first_configuration_decides_and_verbs_fit_or_are_refused() {
        use Kind::{Dev, Game};
        for (is, asked, may) in [
            (None, Game, true),
            (None, Dev, true),
            (Some(Game), Game, true),
            (Some(Dev), Dev, true),
            (Some(Game), Dev, false),
            (Some(Dev), Game, false),
        ] {
            assert_eq!(may_become(is, asked).is_ok(), may, "{is:?} {asked:?}");
        }
        assert_eq!(admits(Some(Dev), Game), Err(Refusal::NotAGame));
        assert_eq!(admits(Some(Game), Dev), Err(Refusal::NotADevContainer));
        assert_eq!(admits(None, Dev), Err(Refusal::NoConfig));
        for (is, needed) in [(None, Game), (Some(Game), Game), (Some(Dev), Dev)] {
            assert_eq!(admits(is, needed), Ok(()));
        }
    }
}
