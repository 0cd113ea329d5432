//! What a person sees who opens the gateway's address in a browser: what this is, and how to go on.
use crate::http::Response;
use axum::{
    http::{HeaderValue, header},
    response::{Html, IntoResponse},
};

const PAGE: &str = include_str!("welcome.html");
/// Nothing but its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

#[utoipa::path(get, path = "/", tag = "gateway", responses((status = 200, content_type = "text/html", body = String)))]
pub async fn welcome() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
