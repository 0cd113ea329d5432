//! Who is believed: trusted, unknown, forged; and how keys are replaced.
use super::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey(pair.public_key().as_ref().try_into().unwrap());
    (pair, public)
}

fn signed(bytes: &[u8], seeds: &[u8]) -> Vec<u8> {
    let one = |seed: &u8| {
        let (pair, public) = pair(*seed);
        Signature { key: public.id(), signature: BASE64.encode(pair.sign(bytes).as_ref()) }
    };
    serde_json::to_vec(&SignatureFile { signatures: seeds.iter().map(one).collect() }).unwrap()
}

#[test]
fn a_trusted_signature_over_these_very_bytes_is_believed() {
    let (a, b) = (pair(1).1, pair(2).1);
    let file = signed(b"catalog", &[1, 2]);
    assert_eq!(verify(b"catalog", Some(&file), &[a]), Ok(Some(a)));
    assert_eq!(verify(b"catalog", Some(&file), &[b]), Ok(Some(b)));
    assert_eq!(
        verify(b"catalog", Some(&file), &[pair(3).1]),
        Err(Untrusted::UnknownKey { signers: vec![a.id(), b.id()] })
    );
    assert_eq!(verify(b"catalog ", Some(&file), &[a]), Err(Untrusted::Forged { key: a.id() }));
    assert_eq!(verify(b"catalog", None, &[a]), Err(Untrusted::Missing));
    assert_eq!(verify(b"catalog", None, &[]), Ok(None), "nobody in particular is trusted");
    assert!(matches!(verify(b"catalog", Some(b"<html>"), &[a]), Err(Untrusted::Unreadable(_))));
}

#[test]
fn a_key_id_alone_proves_nothing() {
    let (a, _) = (pair(1).1, pair(2).1);
    let mut file: SignatureFile = serde_json::from_slice(&signed(b"x", &[2])).unwrap();
    file.signatures[0].key = a.id();
    for signature in [file.signatures[0].signature.clone(), String::new(), "!".into(), BASE64.encode(&[0; 64])] {
        file.signatures[0].signature = signature;
        let file = serde_json::to_vec(&file).unwrap();
        assert_eq!(verify(b"x", Some(&file), &[a]), Err(Untrusted::Forged { key: a.id() }));
    }
}

#[test]
fn keys_are_written_and_read() {
    let key = pair(1).1;
    assert_eq!(key.to_string().parse(), Ok(key));
    for text in ["", "ed25519:", "ed25519:AAAA", "AAAA", "rsa:AAAA", "ed25519:!!"] {
        assert_eq!(text.parse::<PublicKey>(), Err(NotAKey), "{text:?}");
    }
    assert_eq!(key.id().len(), 16);
}

#[test]
fn a_trusted_key_may_name_its_successor_and_revoke() {
    let (old, new) = (pair(1).1, pair(2).1);
    let say = |serial, keys: &[PublicKey], revoked: &[String]| {
        serde_json::to_vec(&KeyStatement { serial, keys: keys.to_vec(), revoked: revoked.to_vec() }).unwrap()
    };
    let next = say(1, &[new], &[]);
    let mut both = vec![old, new];
    both.sort();
    assert_eq!(keys_after(&[old], None, &next, Some(&signed(&next, &[1]))), Ok((1, both)));
    let last = say(2, &[new], &[old.id()]);
    assert_eq!(keys_after(&[old], Some(1), &last, Some(&signed(&last, &[1]))), Ok((2, vec![new])));
    assert!(keys_after(&[old], Some(2), &last, Some(&signed(&last, &[1]))).is_err(), "an old statement");
    assert!(keys_after(&[old], None, &next, Some(&signed(&next, &[2]))).is_err(), "nobody vouches for oneself");
    assert!(keys_after(&[old], None, &next, None).is_err());
    let none = say(3, &[], &[old.id()]);
    assert!(keys_after(&[old], None, &none, Some(&signed(&none, &[1]))).is_err(), "nobody is left");
    assert!(keys_after(&[], None, &next, Some(&signed(&next, &[1]))).is_err());
}
