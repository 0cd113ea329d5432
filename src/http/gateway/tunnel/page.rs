//! What a person sees when the tunnel cannot lead anywhere: what is wrong, and what to do. Programs get a problem.
use super::{Response, Tunnel, place::Place};
use crate::http::problem::{Code, Problem};
use axum::{
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::IntoResponse,
};

/// Nothing but its own style, and forms to where it came from; no script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'self'";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 1rem;color:#222;\
    background:#fafafa}h1{font-size:1.4rem}code{color:#666}button{font:inherit;padding:.5rem 1.2rem}";

/// Who asks: a person who looks at a page, or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Person,
    Program,
}

impl Asks {
    pub(super) fn of<B>(request: &Request<B>) -> Asks {
        let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let visits = request.method() == Method::GET || request.method() == Method::POST;
        if visits && accept.contains("text/html") && !super::stream::asked(request) {
            Asks::Person
        } else {
            Asks::Program
        }
    }
}

/// The answer to a request that was not carried.
pub(super) fn turned(asks: Asks, problem: Problem, place: Option<&Place>, tunnel: &Tunnel) -> Response {
    if asks == Asks::Program {
        return problem.into_response();
    }
    let mut lines = vec![escaped(&problem.detail)];
    let mut offer = String::new();
    let is_down = [Code::IDE_UNREACHABLE.name, Code::IDE_TIMEOUT.name, Code::IDE_BROKE.name].contains(&problem.code);
    if let Some(place) = place.filter(|_| is_down) {
        lines.extend(tunnel.doors.condition(place.vmid).map(|sentence| escaped(&sentence)));
        let start = escaped(&format!("{}{}start", place.prefix, super::place::OWN));
        offer = format!(
            "<form method=post action=\"{start}\"><button>Start the IDE</button></form><p>This page looks again every 3 seconds."
        );
    }
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{text}\n{offer}\n<p><code>{code}</code></html>\n",
        title = escaped(problem.title),
        text = lines.join("\n<p>"),
        code = escaped(problem.code),
    );
    let mut response = (status, page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_down {
        headers.insert(header::REFRESH, HeaderValue::from_static("3"));
    }
    response
}

/// Fit for text and for quoted attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_page_is_markup_that_we_did_not_write() {
        assert_eq!(escaped("<a href=\"x\" onclick='y'>&"), "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;");
    }
}
