//! Provisioning: what a person wants of a server, as the agent's `/config` takes it.
use super::{Gateway, forward::Onward, idempotency};
use crate::{
    http::{
        Response, body,
        problem::{Code, Problem},
    },
    model::{
        gateway::{ContainerType, Server},
        refusal::Refusal,
    },
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, header},
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Names under which a container's type may come (CONTRACT §1.10).
const TYPES: [&str; 3] = ["container_type", "ctype", "containerType"];

/// The body is what `/config` of the agent takes, without `vmid` and `container_type`, which the registry knows. The
/// agent judges the rest; its verdict passes through.
#[utoipa::path(post, path = "/api/servers/{id}/provision", tag = "servers", params(("id" = u32, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = serde_json::Value, responses((status = 202, body = serde_json::Value), (status = 409, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem), (status = 504, body = Problem)))]
pub async fn provision(
    State(gateway): State<Arc<Gateway>>,
    onward: Onward,
    request: Request,
) -> Result<Response, Problem> {
    let caller = onward.caller();
    idempotency::once(&gateway.clone(), caller, request, async move |request: Request| {
        let (mut parts, body) = request.into_parts();
        let wish: Map<String, Value> = body::json(Request::from_parts(parts.clone(), body), &gateway.limits).await?;
        let config = config(wish, onward.server())?;
        let text = serde_json::to_vec(&config).map_err(|e| Code::INTERNAL.because(e.to_string()))?;
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        onward.pass("/config", Request::from_parts(parts, Body::from(text))).await
    })
    .await
}

fn config(mut wish: Map<String, Value>, server: &Server) -> Result<Map<String, Value>, Problem> {
    if wish.get("vmid").is_some_and(|vmid| *vmid != server.vmid.0) {
        return Err(unusable("vmid", &format!("this server's is {}", server.vmid)));
    }
    let kind = server.container_type;
    for name in TYPES {
        if wish.remove(name).is_some_and(|told| told != kind.as_str()) {
            let why = format!(
                "this server is registered as a {kind} container; if it is another, correct its containerType first (PATCH /api/servers/{})",
                server.vmid
            );
            return Err(unusable(name, &why));
        }
    }
    let needed = match kind {
        ContainerType::Game => "game",
        ContainerType::Dev => "runtime",
    };
    if wish.get(needed).and_then(|value| value.as_str()).is_none_or(str::is_empty) {
        return Err(unusable(needed, "a text is needed"));
    }
    wish.insert("vmid".into(), server.vmid.0.into());
    wish.insert("container_type".into(), kind.as_str().into());
    Ok(wish)
}

fn unusable(field: &str, detail: &str) -> Problem {
    Refusal::Unusable { field: field.into(), detail: detail.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{gateway::UserId, ids::Vmid, time::WallTime};
    use serde_json::json;

    fn built(kind: ContainerType, wish: Value) -> Result<Value, String> {
        let server = Server {
            vmid: Vmid(6001),
            name: "s".into(),
            container_type: kind,
            owner: UserId("u".into()),
            address: [10, 0, 0, 1].into(),
            agent_port: 1,
            ide_port: 2,
            agent_token: None,
            created_at: WallTime(0),
        };
        let Value::Object(wish) = wish else { panic!("not an object") };
        config(wish, &server).map(Value::Object).map_err(|p| p.field.clone().unwrap_or_default())
    }

    #[test]
    fn the_registry_says_which_container_it_is() {
        let dev = json!({"runtime": "node", "version": "22", "enable_code_server": true});
        let full = json!({"vmid": 6001, "container_type": "dev", "runtime": "node", "version": "22", "enable_code_server": true});
        assert_eq!(built(ContainerType::Dev, dev), Ok(full.clone()));
        assert_eq!(built(ContainerType::Dev, full.clone()), Ok(full));
        for (kind, wish, field) in [
            (ContainerType::Dev, json!({"runtime": "node", "vmid": 6002}), "vmid"),
            (ContainerType::Dev, json!({"runtime": "node", "vmid": "6001"}), "vmid"),
            (ContainerType::Dev, json!({"runtime": "node", "ctype": "game"}), "ctype"),
            (ContainerType::Game, json!({"game": "minecraft", "containerType": "dev"}), "containerType"),
            (ContainerType::Dev, json!({}), "runtime"),
            (ContainerType::Dev, json!({"runtime": 22}), "runtime"),
            (ContainerType::Game, json!({"game": ""}), "game"),
        ] {
            assert_eq!(built(kind, wish.clone()), Err(field.to_owned()), "{wish}");
        }
    }
}
