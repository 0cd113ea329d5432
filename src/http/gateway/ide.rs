//! The IDE listener: an origin of its own.
use super::Gateway;
use crate::http::{
    problem::{Code, Problem},
    server::connection::{Answer, Connection, Face},
};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use std::sync::Arc;

/// Answers requests on the IDE's origin.
#[derive(Clone)]
pub struct IdeFace {
    pub gateway: Arc<Gateway>,
}

impl Face for IdeFace {
    fn answer(&self, _: &Arc<Connection>, request: hyper::Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/healthz" => Answer::now("ok".into_response()),
            _ => Answer::now(Problem::from(Code::NOT_FOUND).into_response()),
        }
    }
}
