//! The table of codes: complete, unambiguous, and the same as in docs/errors.md.
use super::*;
use crate::model::{ids::OperationId, operation::OperationKind};
use std::{collections::BTreeSet, fmt::Write, path::Path};

fn document() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` and a stable `code`; where it\n\
         helps also `operation`, `holder`, `deadlineAt`, `field`, `limit`, `retryAfterMs`. Programs should decide by `code`.\n\
         A request head that cannot be parsed at all (RFC 9112) or exceeds `limits.headers` or `limits.header_bytes` is answered\n\
         with a bare 400, 414 or 431 and the connection is closed: there is no request yet to which a problem could belong.\n\n\
         Generated from `src/http/problem.rs`; `UPDATE_GOLDEN=1 cargo test problem` rewrites it.\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        writeln!(text, "| `{}` | {} | {} | {} |", code.name, code.status.as_u16(), code.title, code.remedy).unwrap();
    }
    text
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, document()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == document(), "docs/errors.md is stale: run UPDATE_GOLDEN=1 cargo test problem");
}

#[test]
fn names_are_unique_and_statuses_ascend() {
    let names: BTreeSet<_> = Code::ALL.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), Code::ALL.len());
    assert!(Code::ALL.is_sorted_by_key(|c| c.status));
    assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
}

#[test]
fn every_refusal_has_its_row_and_status() {
    let in_progress = Refusal::OperationInProgress {
        holder: OperationId("op-1".into()),
        kind: OperationKind::Start,
        deadline_at: WallTime(1_773_165_600_007),
    };
    let refusals = [
        Refusal::NoConfig,
        Refusal::NotAGame,
        in_progress,
        Refusal::NotRunning,
        Refusal::Unusable { field: "version".into(), detail: "unknown".into() },
        Refusal::Recovering,
        Refusal::ShuttingDown,
    ];
    for refusal in refusals {
        let problem = Problem::from(refusal.clone());
        assert_eq!((problem.code, problem.status), (refusal.code(), refusal.status()));
    }
}

#[test]
fn the_operation_in_the_way_is_named_with_its_deadline() {
    let problem = Problem::from(Refusal::OperationInProgress {
        holder: OperationId("op-1".into()),
        kind: OperationKind::Restart,
        deadline_at: WallTime(1_773_165_600_007),
    });
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!(json["operation"], "op-1");
    assert_eq!(json["holder"], "restart");
    assert_eq!(json["deadlineAt"], "2026-03-10T18:00:00.007Z");
    assert_eq!(json.get("field"), None);
}

#[test]
fn a_bare_error_of_the_framework_is_dressed_and_keeps_allow() {
    let bare = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,HEAD")]).into_response();
    let dressed = dress(bare);
    assert_eq!(dressed.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
    assert_eq!(dressed.headers()[header::ALLOW], "GET,HEAD");
    let own = (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "application/json")]).into_response();
    assert_eq!(dress(own).headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(dress(StatusCode::OK.into_response()).headers().get(header::CONTENT_TYPE), None);
}
