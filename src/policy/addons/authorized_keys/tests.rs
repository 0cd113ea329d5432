//! Real keys, made by ssh-keygen(1) for these tests, and lines that are none.
use super::*;
use proptest::prelude::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB61Lmv4ZvxnPPFKAXWuTNOpwtwJgUFjP0FzFt2F3Qsf a comment";
const RSA_2048: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCOS18QN4WGPvjkevVCVfkCfuIhgsG7UxWmP+WeBw7wKs41jhbf7i\
     3qVxPbqJfBEbD8MQfhAy0Hn1GwOvrx0iS+kejXyDZLnRQXtMxEN46NUW14hxw+OdeHOP2+UojSqlqaBBkdWQMiMbWT\
     i2Cp2CxpZ6ZYQB6MmxYpDnyAh77j5Yn2CxmdB+plpctyl3ybhNDyr+durhwg3n7qXxVT/DUAI3O/ne/4su4ML3K1fr\
     0pjyCQ6QAHDlobv2fPkKDv2tugAZsmv9j1zA0CRBRXJaJAnpkP5HfGGvWM57Bcnc4QoHkAY3ov7a++QPDcaozkFwXy\
     xkEh1FoHhbuWr2vLGjtJ a comment";
const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDqOpO8heYX9O8qTQhLDMvlr2hmTYhl8qe9uKiBNbtm88TKGMKcgD\
     /n4qd1pDTqUGhH9ZmmHHoCvyOWHL5wLS/ncLpqKilN3GEV51BceqScksNLJr5L1dp5vtdfZrAGsa5qz6dIH//VWq4+\
     b018vYDrJRZBdTEFmJglxNZPQyMepQ== a comment";
const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCYeQc3ubNcsup1rgd\
     YuW7EWAimzoaaSIHqFR9WW21PMyQ2eWKQgJ287T5AGywBQfcxPSiV5nbADGWCQAhNC5E8= a comment";
const P521: &str = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAD664gnu593RS3bYW\
     mrCxnH0Lz13hqugMh0J6UxADp98J5bu1HsGfwTI/WAyqovuFZIEOWOEk7aZAUOiAuC59RPGQEPauPNmeIgMxFRfelM\
     oOA0dHLxdMs/xg87l4Dr68bVzvS7mcf44DQswOOsJdHGJMYRjBna+jbF7Jv4/Qx3gGq5Tw== a comment";

#[test]
fn real_keys_are_taken_with_options_that_only_take_away() {
    for key in [ED25519, RSA_2048, P256, P521] {
        for line in [
            key.to_owned(),
            format!("  {key}  "),
            format!("restrict,pty {key}"),
            format!(r#"from="10.0.0.0/8,!10.0.0.1",no-agent-forwarding   {key}"#),
            format!(r#"expiry-time="20300101",permitopen="localhost:80" {key}"#),
        ] {
            assert_eq!(check(&line, false), Ok(()), "{line}");
        }
    }
}

#[test]
fn what_acts_with_every_login_is_refused_unless_allowed() {
    for option in [r#"command="rm -rf \"x\" y""#, r#"ENVIRONMENT="PATH=/tmp""#, r#"restrict,command="a,b c""#] {
        let line = format!("{option} {ED25519}");
        let why = check(&line, false).unwrap_err();
        assert!(why.contains("sshd.key_commands"), "{why}");
        assert_eq!(check(&line, true), Ok(()), "{line}");
    }
}

#[test]
fn what_is_no_key_is_refused_in_words() {
    let half = ED25519.split(' ').nth(1).unwrap();
    let rows = [
        (String::new(), "no type of key"),
        ("hello".into(), "no type of key"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB".into(), "no type of key"),
        (format!("cert-authority {ED25519}"), "no type of key"),
        (format!(r#"tunnel="0" {ED25519}"#), "no option"),
        (format!(r#"from="10.0.0.1 {ED25519}"#), "has no end"),
        (format!("from=10.0.0.1 {ED25519}"), "has no end"),
        ("ssh-ed25519 ***".into(), "not base64"),
        (format!("ssh-ed25519 {}", &half[..half.len() - 8]), "not a whole ssh-ed25519"),
        (format!("ssh-rsa {half}"), "not a whole ssh-rsa"),
        ("ssh-ed25519".into(), "no type of key"),
        (RSA_1024.to_owned(), "1024 bits"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".into(), "private key"),
        (
            format!(
                "{ED25519}
{ED25519}"
            ),
            "one line",
        ),
        (format!("{ED25519}{}", " x".repeat(LONGEST)), "one line"),
    ];
    for (line, word) in rows {
        let why = check(&line, false).unwrap_err();
        assert!(why.contains(word), "{line:?}: {why}");
    }
}

proptest! {
    /// Whatever comes is judged, and only what begins like a key or an option of one can pass.
    #[test]
    fn no_line_breaks_the_judge(line in ".{0,80}", cut in 0usize..400) {
        _ = check(&line, true);
        for key in [ED25519, RSA_2048, P521] {
            let cut: String = key.chars().take(cut).collect();
            let told = check(&cut, false).is_ok();
            prop_assert!(!told || cut.len() >= key.len() - " a comment".len(), "{cut}");
        }
    }
}
