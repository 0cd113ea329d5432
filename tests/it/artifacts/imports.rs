//! `import` from an upstream that is a folder of recorded answers, served here.
use super::Shop;
use sha2::{Digest, Sha256};
use std::fs;

const INDEX: &str = r#"[{"version":"v22.11.0","date":"2024-10-29","files":["linux-x64"]}]"#;

/// The upstream's folder, as nodejs.org has it.
fn upstream(shop: &Shop, sum: impl Fn(&[u8]) -> String) {
    let file = shop.node("up/v22.11.0/node-v22.11.0-linux-x64.tar.xz", b"imported");
    shop.file("up/index.json", INDEX.as_bytes());
    let sum = sum(&fs::read(file).unwrap());
    shop.file("up/v22.11.0/SHASUMS256.txt", format!("{sum}  node-v22.11.0-linux-x64.tar.xz\n").as_bytes());
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[test]
fn a_release_is_found_fetched_checked_and_published() {
    let shop = Shop::new();
    upstream(&shop, sha256);
    let server = shop.serve(&shop.sandbox.root().join("up"));
    let dry = shop.run(&["import", "node", "22", "--from", &server.url, "--dry-run"]);
    assert!(dry.contains("22.11.0 would be fetched"), "{dry}");
    assert!(!shop.store().join("devcontainer").exists());
    shop.run(&["import", "node", "22", "--from", &server.url, "--promote"]);
    let release = &shop.catalog()["runtimes"][0]["versions"][0];
    assert_eq!((&release["version"], &release["strip"]), (&"22.11.0".into(), &1.into()));
    assert_eq!(release["releasedAt"], "2024-10-29T00:00:00.000Z", "the upstream's date, not today");
    shop.run(&["verify"]);
}

#[test]
fn what_does_not_fit_its_checksum_is_not_published() {
    let shop = Shop::new();
    upstream(&shop, |_| "ab".repeat(32));
    let server = shop.serve(&shop.sandbox.root().join("up"));
    let said = shop.refused(1, &["import", "node", "22", "--from", &server.url]);
    assert!(said.contains("checksum") && said.contains("nothing was published"), "{said}");
    assert!(!shop.store().join("devcontainer").exists());
    assert_eq!(fs::read_dir(shop.store().join(".zlh/incoming")).unwrap().count(), 0);
    assert!(shop.refused(1, &["import", "node", "18", "--from", &server.url]).contains("no release \"18\""));
    assert!(shop.refused(1, &["import", "go", "1.22", "--from", &server.url]).contains("not understood"));
    assert!(shop.refused(1, &["import", "java", "21", "--from", &server.url]).contains("404"));
    assert!(shop.refused(1, &["import", "node", "22", "--from", "http://127.0.0.1:1"]).contains("127.0.0.1:1"));
}
