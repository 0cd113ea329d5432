//! `/game/players`: asked of the server itself, now.
use super::Agent;
use crate::{
    http::problem::{Code, Problem},
    model::snapshot::Players,
};
use axum::{Json, extract::State};
use std::sync::Arc;

#[utoipa::path(get, path = "/game/players", tag = "game", responses((status = 200, body = Players), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn players(State(agent): State<Arc<Agent>>) -> Result<Json<Players>, Problem> {
    agent.game.players().await?.map(Json).ok_or(Code::PLAYERS_UNKNOWN.into())
}
