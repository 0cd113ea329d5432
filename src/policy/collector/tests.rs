//! The fold by table: what replaces what, and what is shown when nobody answers.
use super::*;
use bytes::Bytes;
use serde_json::{Value, json};

fn at(seconds: i64) -> WallTime {
    WallTime(seconds * 1000)
}

fn entry(life: &str, revision: u64, seen: i64) -> Entry {
    let status = json!({"vmid": 5, "instanceId": life, "revision": revision, "timestamp": seen, "state": "running",
        "error": "it hurts", "hostOnline": "not the agent's to say", "usage": {"cpuPercent": 1.5}});
    Entry::of_status(&serde_json::to_vec(&status).unwrap(), None, at(seen)).unwrap()
}

fn shown(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.json).unwrap()
}

#[test]
fn an_entry_has_the_agents_fields_and_the_collectors_own() {
    let seen = shown(&entry("a", 7, 100));
    let wanted = json!({"hostOnline": true, "vmid": 5, "instanceId": "a", "revision": 7, "timestamp": 100, "state": "running",
        "error": null, "agentError": "it hurts", "lastSeen": 100_000, "usage": {"cpuPercent": 1.5}});
    assert_eq!(seen, wanted);
    assert!(entry("a\"b", 1, 1).json.starts_with(b"{\"hostOnline\":true,\"instanceId\":\"a\\\"b\",\"revision\":1,"));
}

#[test]
fn what_ready_answered_stands_for_the_statuss_own_word() {
    let status = br#"{"revision":1,"ready":true,"readySource":"tcp","readyError":"x"}"#;
    let with = |ready: Option<&Readiness>| shown(&Entry::of_status(status, ready, at(1)).unwrap());
    let pair = |entry: Value| (entry["ready"].clone(), entry["readyError"].clone(), entry["readySource"].clone());
    assert_eq!(pair(with(None)), (json!(true), json!("x"), json!("tcp")));
    assert_eq!(pair(with(Some(&Readiness::Ready))), (json!(true), json!(""), json!("tcp")));
    let no = Readiness::NotReady("\"starting\"".into());
    assert_eq!(pair(with(Some(&no))), (json!(false), json!("\"starting\""), json!("tcp")));
    let silent = shown(&Entry::of_status(b"{}", Some(&Readiness::Ready), at(1)).unwrap());
    assert_eq!(silent["ready"], true, "also where the status does not say it");
}

#[test]
fn what_is_no_status_is_refused_with_a_reason() {
    for bad in [
        "",
        "[]",
        "null",
        "{\"instanceId\":\"a\",\"revision\":-1,\"timestamp\":1}",
        "{\"instanceId\":\"a\"",
        "{}x",
        "{\"a\":}",
        "{\"\\u0061\":1}",
    ] {
        assert!(Entry::of_status(bad.as_bytes(), None, at(1)).unwrap_err().contains("cannot be read"), "{bad}");
        assert_eq!(Entry::of_cache(Bytes::from(bad)), None, "{bad}");
    }
}

#[test]
fn an_entry_reads_back_from_the_cache_as_itself() {
    let entry = entry("a", 7, 100);
    assert_eq!(Entry::of_cache(entry.json.clone()), Some(entry));
}

#[test]
fn it_never_goes_back_by_table() {
    for (heard, taken) in [
        (&[("a", 5, 1), ("a", 6, 2)][..], true),
        (&[("a", 5, 1), ("a", 5, 2)], true), // unchanged, heard again
        (&[("a", 5, 2), ("a", 5, 1)], false),
        (&[("a", 6, 1), ("a", 5, 2)], false),
        (&[("a", 6, 1), ("b", 1, 2)], true),               // a new life
        (&[("a", 6, 1), ("b", 1, 2), ("a", 7, 3)], false), // the old one is over
        (&[("a", 6, 1), ("b", 1, 2), ("b", 0, 3)], false),
        (&[("a", 1, 1), ("b", 1, 2), ("c", 1, 3), ("b", 2, 4)], false),
    ] {
        let mut known = Known::default();
        let verdicts: Vec<bool> = heard
            .iter()
            .map(|(life, revision, seen)| known.on_heard(entry(life, *revision, *seen)).is_some())
            .collect();
        assert_eq!(verdicts.last(), Some(&taken), "{heard:?}");
        assert!(verdicts[..verdicts.len() - 1].iter().all(|v| *v), "{heard:?}");
    }
}

#[test]
fn who_is_silent_too_long_is_shown_as_gone_once_and_with_its_age() {
    let mut known = Known::default();
    let never = known.on_silence(at(1), "refused").unwrap();
    assert_eq!((&shown(&never)["hostOnline"], &shown(&never)["error"]), (&json!(false), &json!("refused")));
    assert!(known.on_silence(at(2), "refused").is_none(), "told once");
    known.on_heard(entry("a", 7, 100)).unwrap();
    assert!(known.on_silence(at(114), "timed out").is_none(), "not yet");
    let gone = shown(&known.on_silence(at(115), "timed out").unwrap());
    let wanted = json!({"hostOnline": false, "vmid": 5, "instanceId": "a", "revision": 7, "timestamp": 100, "state": "running",
        "error": "timed out", "agentError": "it hurts", "lastSeen": 100_000, "usage": {"cpuPercent": 1.5}});
    assert_eq!(gone, wanted);
    assert!(known.on_silence(at(200), "timed out").is_none());
    known.on_heard(entry("a", 8, 300)).unwrap();
    assert!(known.on_silence(at(316), "timed out").is_some(), "told again after it was back");
}

#[test]
fn an_agent_without_a_stream_is_polled_and_asked_again() {
    let mut known = Known::default();
    assert_eq!(known.on_failure(&Silence::NoStream, 0.0), (How::Poll, Duration::ZERO));
    let asked: Vec<How> = (0..POLLS).map(|_| known.on_polled().0).collect();
    assert_eq!(asked.iter().filter(|how| **how == How::Stream).count(), 1);
    assert_eq!(known.on_polled().1, Duration::from_secs(5));
}

#[test]
fn failures_are_tried_again_after_growing_waits() {
    let mut known = Known::default();
    let failed = Silence::Failed("refused".into());
    let waits: Vec<u64> = (0..6).map(|_| known.on_failure(&failed, 1.0).1.as_millis() as u64).collect();
    assert_eq!(waits, [500, 1000, 2000, 5000, 5000, 5000]);
    assert_eq!(known.on_failure(&failed, 0.0).1, Duration::from_millis(3750));
    known.on_heard(entry("a", 1, 1));
    assert_eq!(known.on_failure(&failed, 1.0), (How::Stream, Duration::from_millis(500)));
}
