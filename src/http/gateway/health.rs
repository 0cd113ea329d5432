//! Is the gateway there? From memory, for load balancers.

#[utoipa::path(get, path = "/healthz", tag = "gateway", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok"
}
