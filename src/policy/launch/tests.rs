//! Bodies, good and bad, and what becomes of them.
mod bodies;
mod definitions;
mod resolved;

use super::*;
use crate::model::machine::Runtime;
use serde_json::{Value, json};

fn games() -> Games {
    Games::embedded().unwrap()
}

/// A machine as root with 8 GiB, Java 17 and 21, Node 20, and nothing installed yet.
fn machine() -> Machine {
    let runtime = |name: &str, major, program: &str| Runtime {
        name: name.into(),
        major: Some(major),
        program: program.into(),
        ours: true,
    };
    Machine {
        memory_limit_bytes: Some(8192 * MIB),
        is_root: true,
        account: "root".into(),
        timezone: "Europe/Berlin".into(),
        runtimes: vec![
            runtime("java", 17, "/opt/zlh/runtimes/java/17/bin/java"),
            runtime("java", 21, "/opt/zlh/runtimes/java/21/bin/java"),
            runtime("node", 20, "/opt/zlh/runtimes/node/20/bin/node"),
        ],
        files: BTreeMap::new(),
        secret: "0123456789abcdef01234567".into(),
    }
}

fn accept(body: &Value) -> Result<Resolved, Refusal> {
    accept_on(body, &machine(), &Settings::default())
}

fn accept_on(body: &Value, machine: &Machine, settings: &Settings) -> Result<Resolved, Refusal> {
    let games = games();
    let body = read(body, &games, settings)?;
    questions(&body, &games, settings)?;
    resolve(&body, &games, machine, settings)
}

/// `base` with the fields of `patch` put over it.
fn with(base: Value, patch: Value) -> Value {
    let (Value::Object(mut base), Value::Object(patch)) = (base, patch) else { panic!("both are objects") };
    base.extend(patch);
    Value::Object(base)
}

fn minecraft(patch: Value) -> Value {
    let base = json!({
        "vmid": 5072, "game": "minecraft", "variant": "paper", "version": "1.21.4", "world": "world", "ports": [25565],
        "memory_mb": 2048
    });
    with(base, patch)
}

fn custom(patch: Value) -> Value {
    with(json!({"vmid": 5100, "game": "custom", "command": ["/usr/games/minetestserver"], "ports": [30000]}), patch)
}

fn codes(resolved: &Resolved) -> Vec<&str> {
    resolved.warnings.iter().map(|w| w.code.as_str()).collect()
}
