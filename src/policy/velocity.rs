//! Which game servers a Velocity proxy should know, and what to tell it so that it does.
//!
//! A server is registered once players can really join it, and taken off when it says that they cannot. One that is not
//! heard of stays as it is: its agent may be away while the game goes on. The proxy forgets everything when it restarts;
//! comparing its list with ours brings all of it back.
use crate::model::{
    gateway::{ContainerType, Server},
    ids::Vmid,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Names of ours begin so: what others registered is left alone.
const PREFIX: &str = "vm-";
const USUAL_PORT: u16 = 25565;

/// A server as the proxy lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub address: String,
    pub port: u16,
}

/// What the proxy should know of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Listed(Entry),
    Unlisted,
    /// Nothing is known now.
    AsItIs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Register(Entry),
    Unregister(String),
}

pub fn name(vmid: Vmid) -> String {
    format!("{PREFIX}{vmid}")
}

/// `status`: the newest that was heard, `None` if that is old or there is none.
pub fn wish(server: &Server, status: Option<&Value>) -> Wish {
    if server.container_type != ContainerType::Game {
        return Wish::Unlisted;
    }
    let Some(status) = status else { return Wish::AsItIs };
    let minecraft = status["config"]["game"] == "minecraft";
    if !minecraft || status["ready"] != true {
        return Wish::Unlisted;
    }
    let port = status["config"]["ports"][0].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let (name, address) = (name(server.vmid), server.address.to_string());
    Wish::Listed(Entry { name, address, port: port.unwrap_or(USUAL_PORT) })
}

/// What to tell a proxy that lists `present`. An entry that moved is taken off before it is put on again.
pub fn calls(wishes: &BTreeMap<String, Wish>, present: &[Entry]) -> Vec<Call> {
    let is_right = |entry: &Entry| match wishes.get(&entry.name) {
        Some(Wish::Listed(wanted)) => wanted == entry,
        Some(Wish::AsItIs) => true,
        Some(Wish::Unlisted) | None => !entry.name.starts_with(PREFIX),
    };
    let wrong = present.iter().filter(|entry| !is_right(entry)).map(|entry| Call::Unregister(entry.name.clone()));
    let missing = wishes.values().filter_map(|wish| match wish {
        Wish::Listed(entry) if !present.contains(entry) => Some(Call::Register(entry.clone())),
        _ => None,
    });
    wrong.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{gateway::UserId, time::WallTime};
    use serde_json::json;

    fn server(container_type: ContainerType) -> Server {
        Server {
            vmid: Vmid(5001),
            name: "s".into(),
            container_type,
            owner: UserId("u".into()),
            address: [10, 0, 0, 7].into(),
            agent_port: 1,
            ide_port: 2,
            agent_token: None,
            created_at: WallTime(0),
        }
    }

    fn entry(name: &str, port: u16) -> Entry {
        Entry { name: name.into(), address: "10.0.0.7".into(), port }
    }

    #[test]
    fn only_a_game_that_players_can_join_is_listed() {
        let minecraft = json!({"game": "minecraft", "ports": [25570]});
        let of = |status: Option<Value>| wish(&server(ContainerType::Game), status.as_ref());
        assert_eq!(of(Some(json!({"ready": true, "config": minecraft}))), Wish::Listed(entry("vm-5001", 25570)));
        let usual = json!({"ready": true, "config": {"game": "minecraft"}});
        assert_eq!(of(Some(usual)), Wish::Listed(entry("vm-5001", USUAL_PORT)));
        assert_eq!(of(Some(json!({"ready": false, "state": "running", "config": minecraft}))), Wish::Unlisted);
        assert_eq!(of(Some(json!({"ready": true, "config": {"game": "valheim"}}))), Wish::Unlisted);
        assert_eq!(of(None), Wish::AsItIs);
        let dev = json!({"ready": true, "config": minecraft});
        assert_eq!(wish(&server(ContainerType::Dev), Some(&dev)), Wish::Unlisted);
    }

    #[test]
    fn the_proxys_list_becomes_ours_and_others_stay() {
        let (a, b) = (entry("vm-1", 1), entry("vm-2", 2));
        let wishes = BTreeMap::from([
            ("vm-1".to_owned(), Wish::Listed(a.clone())),
            ("vm-2".to_owned(), Wish::Listed(b.clone())),
            ("vm-3".to_owned(), Wish::AsItIs),
            ("vm-4".to_owned(), Wish::Unlisted),
        ]);
        let register = |e: &Entry| Call::Register(e.clone());
        let off = |name: &str| Call::Unregister(name.into());
        assert_eq!(calls(&wishes, &[]), [register(&a), register(&b)], "the proxy was restarted");
        let present =
            [a.clone(), entry("vm-2", 9), entry("vm-3", 3), entry("vm-4", 4), entry("vm-9", 9), entry("lobby", 5)];
        assert_eq!(calls(&wishes, &present), [off("vm-2"), off("vm-4"), off("vm-9"), register(&b)]);
        assert_eq!(calls(&wishes, &[a, b, entry("vm-3", 3), entry("lobby", 5)]), []);
    }
}
