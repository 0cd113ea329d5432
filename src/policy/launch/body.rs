//! Reading a `/config` body: types, aliases, syntax of each field, and contradictions between fields.
use super::{checks, custom, runtime, unusable};
use crate::{
    model::{
        container::Kind,
        game::{ConfigBody, Games, ReadyText, StopText},
        refusal::Refusal,
        settings::{Secret, Settings},
    },
    policy::fields::{Fields, TYPE_FIELDS},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What a game's body may hold.
const GAME_FIELDS: [&str; 20] = [
    "vmid",
    "game",
    "variant",
    "version",
    "world",
    "ports",
    "artifact_path",
    "java_path",
    "memory_mb",
    "steam_user",
    "steam_pass",
    "steam_auth",
    "admin_user",
    "admin_pass",
    "command",
    "workdir",
    "env",
    "user",
    "stop",
    "ready",
];
/// What only a dev container's body may hold.
const DEV_FIELDS: [&str; 4] = ["runtime", "runtimeVersion", "enable_code_server", "addons"];
const STOP_FIELDS: [&str; 4] = ["stdin", "signal", "group", "wait"];
const READY_FIELDS: [&str; 7] = ["kind", "port", "pattern", "path", "send", "expect", "within"];

/// The known fields of `value`, each checked by itself; `null`, `""` and missing are the same.
pub fn read(value: &Value, games: &Games, settings: &Settings) -> Result<ConfigBody, Refusal> {
    let Value::Object(object) = value else { return Err(unusable("(body)", "it must be a JSON object")) };
    let fields = Fields(object);
    fields.check_size(settings.limits.config_bytes)?;
    if fields.kind()? == Kind::Dev {
        let named = fields.any_of(&TYPE_FIELDS)?.map_or("container_type", |(name, _)| name);
        return Err(unusable(named, "a dev container is no game; allowed: game"));
    }
    check_no_dev_fields(&fields)?;
    let mut unknown: Vec<String> = object.keys().filter(|name| !is_known(name)).cloned().collect();
    let body = ConfigBody {
        vmid: fields.vmid(settings)?,
        game: game(&fields, games)?,
        variant: fields.name("variant")?,
        version: fields.name("version")?,
        world: fields.name("world")?,
        ports: ports(&fields)?,
        memory_mb: fields.memory_mb()?,
        artifact_path: fields.text("artifact_path")?,
        java_path: fields.text("java_path")?,
        command: fields.typed("command", "a list of texts: program and arguments")?,
        workdir: fields.text("workdir")?,
        env: fields.typed("env", "an object of texts")?.unwrap_or_default(),
        user: fields.text("user")?,
        stop: stop(&fields, &mut unknown)?,
        ready: ready(&fields, &mut unknown)?,
        steam_user: fields.text("steam_user")?,
        steam_pass: fields.text("steam_pass")?.map(Secret),
        steam_auth: fields.text("steam_auth")?.map(Secret),
        admin_user: fields.text("admin_user")?,
        admin_pass: fields.text("admin_pass")?.map(Secret),
        unknown,
    };
    check_values(&body)?;
    check_fit(&body, games)?;
    Ok(body)
}

fn is_known(name: &str) -> bool {
    GAME_FIELDS.contains(&name) || TYPE_FIELDS.contains(&name) || DEV_FIELDS.contains(&name)
}

/// A dev container's fields in a game's body are a contradiction, not an extra.
fn check_no_dev_fields(fields: &Fields<'_>) -> Result<(), Refusal> {
    let means_nothing = |v: &Value| *v == Value::Bool(false) || v.as_array().is_some_and(Vec::is_empty);
    for name in DEV_FIELDS {
        if fields.value(name).is_some_and(|v| !means_nothing(v)) {
            return Err(unusable(name, "belongs to container_type \"dev\" and contradicts a game; leave it out"));
        }
    }
    Ok(())
}

fn game(fields: &Fields<'_>, games: &Games) -> Result<String, Refusal> {
    let allowed = || checks::listed(games.0.keys());
    let name = fields.text("game")?.ok_or_else(|| unusable("game", format!("missing; allowed: {}", allowed())))?;
    if games.0.contains_key(&name) {
        return Ok(name);
    }
    Err(unusable("game", format!("{:?} is not known; allowed: {}", checks::shortened(&name), allowed())))
}

fn ports(fields: &Fields<'_>) -> Result<Option<Vec<u16>>, Refusal> {
    let list: Option<Vec<u64>> = fields.typed("ports", "a list of whole numbers, 1 to 65535")?;
    list.filter(|ports| !ports.is_empty()).map(|ports| checks::ports(&ports)).transpose()
}

fn stop(fields: &Fields<'_>, unknown: &mut Vec<String>) -> Result<Option<Vec<StopText>>, Refusal> {
    let allowed =
        "a list of steps like {\"stdin\":\"stop\",\"wait\":\"20s\"} or {\"signal\":\"SIGTERM\",\"wait\":\"10s\"}";
    let steps: Option<Vec<Value>> = fields.typed("stop", allowed)?;
    let Some(steps) = steps else { return Ok(None) };
    let one = |(at, step): (usize, &Value)| nested(&format!("stop[{at}]"), step, &STOP_FIELDS, unknown);
    steps.iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
}

fn ready(fields: &Fields<'_>, unknown: &mut Vec<String>) -> Result<Option<ReadyText>, Refusal> {
    fields.value("ready").map(|value| nested("ready", value, &READY_FIELDS, unknown)).transpose()
}

fn nested<T: DeserializeOwned>(
    field: &str,
    value: &Value,
    known: &[&str],
    unknown: &mut Vec<String>,
) -> Result<T, Refusal> {
    let Value::Object(all) = value else {
        return Err(unusable(field, format!("it must be an object of {}", known.join(", "))));
    };
    let (ours, others): (Vec<_>, Vec<_>) = all.iter().partition(|(name, _)| known.contains(&name.as_str()));
    unknown.extend(others.iter().map(|(name, _)| format!("{field}.{name}")));
    let ours: Map<String, Value> = ours.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    T::deserialize(Value::Object(ours)).map_err(|why| unusable(field, why.to_string()))
}

fn check_values(body: &ConfigBody) -> Result<(), Refusal> {
    body.artifact_path.iter().try_for_each(|path| checks::artifact_path("artifact_path", path))?;
    body.java_path.iter().try_for_each(|path| runtime::check_java_path(path))?;
    body.command.iter().try_for_each(|command| custom::check_command(command))?;
    body.workdir.iter().try_for_each(|workdir| custom::check_workdir(workdir))?;
    body.user.iter().try_for_each(|user| checks::user(user))?;
    checks::environment(&body.env)
}

/// Do the fields belong to this kind of game?
fn check_fit(body: &ConfigBody, games: &Games) -> Result<(), Refusal> {
    let custom = games.0.get(&body.game).is_some_and(|game| game.launch.argv.is_empty());
    let (foreign, where_to) = if custom {
        let foreign = [
            ("variant", body.variant.is_some()),
            ("world", body.world.is_some()),
            ("java_path", body.java_path.is_some()),
        ];
        if body.command.is_none() {
            return Err(unusable("command", "a custom game needs a list: program and arguments"));
        }
        (foreign.to_vec(), "a custom game does not use it; leave it out")
    } else {
        let foreign = [("command", body.command.is_some()), ("workdir", body.workdir.is_some())];
        (foreign.to_vec(), "only game \"custom\" takes it; leave it out")
    };
    match foreign.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(unusable(*field, where_to)),
        None => Ok(()),
    }
}
