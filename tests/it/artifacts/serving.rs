//! The artifact server: ranges, validators, conditions, listings, and what cannot be reached.
use super::{Server, Shop};
use reqwest::{Client, Method, Response, header};
use std::{fs, os::unix::fs::symlink};

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    // Fails only if another test was first.
    _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .request(method, server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let response = ask(server, Method::GET, path, headers).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

fn header_of(response: &Response, name: header::HeaderName) -> String {
    response.headers().get(&name).unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn ranges_and_conditions() {
    let shop = Shop::new();
    shop.file("store/a/file.bin", b"0123456789");
    let server = shop.serve(&shop.store());
    let whole = ask(&server, Method::GET, "/a/file.bin", &[]).await;
    let (etag, modified) = (header_of(&whole, header::ETAG), header_of(&whole, header::LAST_MODIFIED));
    assert_eq!(header_of(&whole, header::ACCEPT_RANGES), "bytes");
    assert_eq!(header_of(&whole, header::CONTENT_LENGTH), "10");
    assert!(!etag.starts_with("W/"), "{etag}");
    type Row<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);
    let table: [Row; 11] = [
        (&[], 200, "0123456789"),
        (&[("range", "bytes=2-4")], 206, "234"),
        (&[("range", "bytes=7-")], 206, "789"),
        (&[("range", "bytes=-2")], 206, "89"),
        (&[("if-none-match", &etag)], 304, ""),
        (&[("if-none-match", "\"other\"")], 200, "0123456789"),
        (&[("if-modified-since", &modified)], 304, ""),
        (&[("if-match", "\"other\"")], 412, ""),
        (&[("if-range", &etag), ("range", "bytes=2-4")], 206, "234"),
        (&[("if-range", &modified), ("range", "bytes=2-4")], 206, "234"),
        (&[("if-range", "\"other\""), ("range", "bytes=2-4")], 200, "0123456789"),
    ];
    for (headers, status, body) in table {
        let (got, text) = get(&server, "/a/file.bin", headers).await;
        assert_eq!(got, status, "{headers:?}");
        assert!(text == body || status == 412, "{headers:?}: {text}");
    }
    assert_eq!(get(&server, "/a/file.bin", &[("range", "bytes=90-")]).await.0, 416);
    let head = ask(&server, Method::HEAD, "/a/file.bin", &[]).await;
    assert_eq!((header_of(&head, header::CONTENT_LENGTH), header_of(&head, header::ETAG)), ("10".into(), etag.clone()));
    assert_eq!(head.text().await.unwrap(), "");
    shop.file("store/a/file.bin", b"other content");
    assert_eq!(
        get(&server, "/a/file.bin", &[("if-range", &etag), ("range", "bytes=2-4")]).await,
        (200, "other content".into())
    );
}

#[tokio::test]
async fn folders_are_listed_and_nothing_else_can_be_reached() {
    let shop = Shop::new();
    shop.file("store/a/b c.txt", b"x");
    shop.file("store/.zlh/lock", b"x");
    shop.file("outside", b"secret");
    symlink("../outside", shop.store().join("out")).unwrap();
    symlink("a/b c.txt", shop.store().join("in")).unwrap();
    let server = shop.serve(&shop.store());
    let (status, page) = get(&server, "/", &[]).await;
    assert!(status == 200 && page.contains("href=\"a/\"") && !page.contains("zlh<") && !page.contains("out"), "{page}");
    assert!(get(&server, "/a/", &[]).await.1.contains("href=\"b%20c.txt\""));
    let redirect = ask(&server, Method::GET, "/a", &[]).await;
    assert_eq!((redirect.status().as_u16(), header_of(&redirect, header::LOCATION)), (301, "/a/".into()));
    assert_eq!(get(&server, "/in", &[]).await, (200, "x".into()));
    assert_eq!(get(&server, "/a/b%20c.txt", &[]).await.0, 200);
    for path in [
        "/out",
        "/.zlh/lock",
        "/.zlh/",
        "/%2ezlh/lock",
        "/a/%2e%2e/%2e%2e/outside",
        "/a%00b",
        "/a/b%20c.txt/",
        "/none",
        "/a%5cb",
    ] {
        assert_eq!(get(&server, path, &[]).await.0, 404, "{path}");
    }
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let refused = ask(&server, method, "/a/b%20c.txt", &[]).await;
        assert_eq!((refused.status().as_u16(), header_of(&refused, header::ALLOW)), (405, "GET, HEAD".into()));
    }
    assert_eq!(fs::read(shop.store().join("a/b c.txt")).unwrap(), b"x");
}

#[tokio::test]
async fn what_was_published_is_what_is_served() {
    let shop = Shop::new();
    let file = shop.node("a.tar.gz", b"content");
    shop.run(&["add", "node", "22.11.0", &file]);
    let server = shop.serve(&shop.store());
    let catalog: serde_json::Value =
        serde_json::from_str(&get(&server, "/devcontainer/_catalog.json", &[]).await.1).unwrap();
    let release = &catalog["runtimes"][0]["versions"][0];
    let path = format!("/{}", release["path"].as_str().unwrap());
    let body = ask(&server, Method::GET, &path, &[]).await.bytes().await.unwrap();
    assert_eq!(body, fs::read(file).unwrap());
    let (_, beside) = get(&server, &format!("{path}.sha256"), &[]).await;
    assert!(beside.starts_with(release["sha256"].as_str().unwrap()), "{beside}");
}

#[tokio::test]
async fn its_limits_are_settings() {
    let shop = Shop::new();
    shop.file("store/file.bin", b"0123456789");
    let server = shop.serve_with(&shop.store(), &["--set", "limits.connections=1"]);
    let held = std::net::TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    assert_eq!(get(&server, "/file.bin", &[]).await.0, 503, "one connection, and that is taken");
    drop(held);
    let served = async || (get(&server, "/file.bin", &[]).await.0 == 200).then_some(());
    crate::support::eventually("the place of who left", std::time::Duration::from_secs(20), served).await;
    let said = shop.refused(78, &["serve", "--set", "limits.conections=1", "--set", "limits.stall=never"]);
    assert!(said.contains("did you mean limits.connections?") && said.contains("limits.stall"), "{said}");
    let bad = shop.command(&["serve"]).env("ZLH_ARTIFACTS_LIMITS__DRAIN", "soon").output().unwrap();
    assert_eq!(bad.status.code(), Some(78), "{bad:?}");
}
