//! What is no token of ours opens nothing.
use super::*;
use data_encoding::BASE64URL_NOPAD as BASE64;

const NOW: WallTime = WallTime(1_790_000_000_500);

fn key(id: &str, byte: u8) -> SigningKey {
    SigningKey { id: id.into(), key: [byte; 32] }
}

fn claims(kind: Kind) -> Claims {
    let pass = IdePass {
        user: UserId("u1".into()),
        vmid: Vmid(6001),
        epoch: 3,
        credential: "c1".into(),
        expires_at: WallTime(NOW.0 + 300_000),
    };
    Claims::new(kind, &pass, "j1".into(), NOW)
}

fn issued(kind: Kind) -> String {
    issue(&[key("a", 1)], &claims(kind)).unwrap()
}

#[test]
fn what_was_issued_is_read_back() {
    let token = issued(Kind::Token);
    let read = verify(&[key("a", 1)], &token, Kind::Token, NOW).unwrap();
    assert_eq!(read, claims(Kind::Token));
    assert_eq!(read.pass().expires_at, WallTime(1_790_000_300_000));
    let payload = BASE64.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        (&payload["type"], &payload["vmid"], &payload["aud"]),
        (&"dev-ide".into(), &6001.into(), &AUDIENCE.into())
    );
}

#[test]
fn a_kind_stands_for_no_other() {
    let keys = [key("a", 1)];
    assert_eq!(verify(&keys, &issued(Kind::Token), Kind::Cookie, NOW), Err(IdeDenial::Invalid));
    assert_eq!(verify(&keys, &issued(Kind::Cookie), Kind::Token, NOW), Err(IdeDenial::Invalid));
}

#[test]
fn it_holds_until_its_last_millisecond() {
    let end = 1_790_000_300_000;
    let at = |now| verify(&[key("a", 1)], &issued(Kind::Token), Kind::Token, WallTime(now)).map(|_| ());
    assert_eq!(at(end - 1), Ok(()));
    assert_eq!(at(end), Err(IdeDenial::Expired));
    assert_eq!(at(i64::MAX), Err(IdeDenial::Expired));
}

#[test]
fn keys_rotate_by_their_id() {
    let old = issued(Kind::Token);
    let rotated = [key("b", 2), key("a", 1)];
    assert!(verify(&rotated, &old, Kind::Token, NOW).is_ok());
    let new = issue(&rotated, &claims(Kind::Token)).unwrap();
    assert!(verify(&[key("b", 2)], &new, Kind::Token, NOW).is_ok());
    assert_eq!(verify(&[key("b", 2)], &old, Kind::Token, NOW), Err(IdeDenial::Invalid), "a key that is gone");
    assert_eq!(verify(&[key("a", 9)], &old, Kind::Token, NOW), Err(IdeDenial::Invalid), "another key of that name");
}

#[test]
fn forgeries_are_refused() {
    let token = issued(Kind::Token);
    let parts: Vec<&str> = token.split('.').collect();
    let encoded = |text: &str| BASE64.encode(text.as_bytes());
    let none = encoded(r#"{"alg":"none","kid":"a"}"#);
    let other = encoded(r#"{"alg":"HS512","kid":"a"}"#);
    let no_key = encoded(r#"{"alg":"HS256"}"#);
    let payload = BASE64.decode(parts[1].as_bytes()).unwrap();
    let richer = String::from_utf8(payload.clone()).unwrap().replace("6001", "6002");
    let forged = [
        String::new(),
        "x".repeat(LONGEST + 1),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{other}.{}.{}", parts[1], parts[2]),
        format!("{no_key}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], encoded(&richer), parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}A"),
        format!("{token}.{}", parts[2]),
    ];
    for forged in forged {
        assert_eq!(verify(&[key("a", 1)], &forged, Kind::Token, NOW), Err(IdeDenial::Invalid), "{forged:.80}");
    }
    // Every other letter of each part, one at a time. The last letter of a part may carry bits that mean nothing.
    for at in (0..token.len() - 1).filter(|at| token.as_bytes()[*at] != b'.') {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&[key("a", 1)], &changed, Kind::Token, NOW).is_err(), "letter {at}");
    }
}

#[test]
fn another_audience_and_unknown_claims_are_refused() {
    let signed = |claims: &serde_json::Value| {
        hmac::install();
        let header = Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&[1; 32])).unwrap()
    };
    let good = serde_json::to_value(claims(Kind::Token)).unwrap();
    assert!(verify(&[key("a", 1)], &signed(&good), Kind::Token, NOW).is_ok());
    for (name, value) in [
        ("aud", "zlh-api".into()),
        ("aud", serde_json::Value::Null),
        ("type", "access".into()),
        ("vmid", (-1).into()),
        ("vmid", "6001".into()),
        ("role", "admin".into()),
    ] {
        let mut changed = good.clone();
        changed[name] = value;
        let verdict = verify(&[key("a", 1)], &signed(&changed), Kind::Token, NOW);
        assert_eq!(verdict, Err(IdeDenial::Invalid), "{changed}");
    }
}
