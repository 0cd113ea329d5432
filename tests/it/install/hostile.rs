//! The hostile corpus: each archive is refused as a whole, the entry is named, nothing is left, and the old version stays.
use super::{
    Place,
    archives::{Entry, Zipped, file, folder, gz, hardlink, long, other, pax, symlink, tar, xz, zip, zipped, zst},
    contents, sha256,
};
use crate::support::web::Web;
use zlh::model::settings::Install;

/// (name, entries, what the error must hold: the entry and the reason)
fn tars() -> Vec<(&'static str, Vec<Entry>, [&'static str; 2])> {
    let deep = "d/".repeat(70) + "f";
    let long_part = "n".repeat(256);
    vec![
        ("slip", vec![file("../evil", "x")], ["\"../evil\"", "'..'"]),
        ("slip inside", vec![file("a/../../evil", "x")], ["a/../../evil", "'..'"]),
        ("harmless dots", vec![file("a/../b", "x")], ["a/../b", "'..'"]),
        ("absolute", vec![file("/tmp/evil", "x")], ["/tmp/evil", "absolute"]),
        ("two slashes", vec![file("//tmp/evil", "x")], ["//tmp/evil", "absolute"]),
        ("long slip", vec![long(b'L', "../../evil"), file("good", "x")], ["../../evil", "'..'"]),
        ("pax slip", vec![pax(b'x', &[("path", "../evil")]), file("good", "x")], ["../evil", "'..'"]),
        ("pax absolute", vec![pax(b'x', &[("path", "/evil")]), file("good", "x")], ["/evil", "absolute"]),
        ("pax NUL", vec![pax(b'x', &[("path", "a\0b")]), file("good", "x")], ["a\\0b", "control character"]),
        ("forged log", vec![file("a\nERROR all is lost", "x")], ["a\\nERROR", "control character"]),
        ("escape sequence", vec![file("a\x1b[2Jb", "x")], ["[2Jb", "control character"]),
        ("not UTF-8", vec![file(b"a\xff\xfe", "x")], ["a\u{fffd}", "UTF-8"]),
        ("no name", vec![file("", "x")], ["\"\"", "empty name"]),
        ("long part", vec![long(b'L', &long_part), file("good", "x")], ["nnnn", "255"]),
        ("long path", vec![long(b'L', &"p/".repeat(2100)), file("good", "x")], ["p/p/", "max_path_bytes"]),
        ("deep path", vec![long(b'L', &deep), file("good", "x")], ["d/d/", "max_path_levels"]),
        ("own manifest", vec![file(".zlh-manifest.json", "{}")], [".zlh-manifest.json", "manifest"]),
        ("absolute link", vec![symlink("l", "/etc/passwd")], ["\"l\"", "absolute"]),
        ("link out", vec![symlink("a/l", "../../outside")], ["a/l", "outside"]),
        ("link to the parent", vec![symlink("l", "..")], ["\"l\"", "outside"]),
        ("link out by a link", vec![folder("x"), symlink("a", "."), symlink("b", "a/..")], ["\"b\"", "leads outside"]),
        ("links in circles", vec![file("f", ""), symlink("a", "b"), symlink("b", "a")], ["link to", "circles"]),
        ("through a link", vec![folder("d"), symlink("l", "d"), file("l/f", "x")], ["l/f", "behind the link \"l\""]),
        ("long link", vec![long(b'K', "../../x"), symlink("l", "ok")], ["\"l\"", "outside"]),
        ("pax link", vec![pax(b'x', &[("linkpath", "/x")]), symlink("l", "ok")], ["\"l\"", "absolute"]),
        ("empty link", vec![symlink("l", "")], ["\"l\"", "empty link target"]),
        ("hard link out", vec![hardlink("h", "../../outside")], ["\"h\"", "'..'"]),
        ("absolute hard link", vec![hardlink("h", "/etc/passwd")], ["\"h\"", "absolute"]),
        (
            "hard link to nothing",
            vec![hardlink("h", "later"), file("later", "x")],
            ["\"h\"", "no file of this archive"],
        ),
        ("hard link to a link", vec![symlink("l", "f"), hardlink("h", "l")], ["\"h\"", "no file of this archive"]),
        ("hard link to itself", vec![file("h", "x"), hardlink("h", "h")], ["\"h\"", "no file of this archive"]),
        ("character device", vec![other("dev/mem", b'3')], ["dev/mem", "character device"]),
        ("block device", vec![other("dev/sda", b'4')], ["dev/sda", "block device"]),
        ("FIFO", vec![other("pipe", b'6')], ["pipe", "FIFO"]),
        ("unheard of", vec![other("what", b'Z')], ["what", "no install needs"]),
        ("volume label", vec![other("label", b'V')], ["label", "no install needs"]),
        ("file then folder", vec![file("a", "x"), folder("a")], ["\"a\"", "different kinds"]),
        ("folder then link", vec![folder("a"), symlink("a", "b")], ["\"a\"", "different kinds"]),
        ("link then file", vec![symlink("a", "b"), file("a", "x")], ["\"a\"", "different kinds"]),
        ("file as folder", vec![file("a", "x"), file("a/b", "x")], ["a/b", "which is a file"]),
        ("sparse", vec![other("holes", b'S').claiming(0)], ["holes", "sparse"]),
        ("pax sparse", vec![pax(b'x', &[("GNU.sparse.major", "1")]), file("holes", "x")], ["holes", "sparse"]),
        ("named at once", vec![pax(b'g', &[("path", "evil")]), file("good", "x")], ["", "all its entries at once"]),
        ("bad pax", vec![file("x", "9999 path=x\n").kind(b'x'), file("good", "x")], ["", "pax records"]),
        ("giant description", vec![pax(b'x', &[("a", "b")]).claiming(1 << 40)], ["PaxHeaders/x", "describes another"]),
        ("giant file", vec![file("big", "x").claiming(1 << 60)], ["\"big\"", "max_bytes"]),
        ("pax giant", vec![pax(b'x', &[("size", "99999999999999")]), file("big", "x")], ["\"big\"", "max_bytes"]),
        ("link with content", vec![symlink("l", "f").claiming(512), file("f", "x")], ["\"l\"", "512 bytes"]),
    ]
}

fn refused(what: &str, name: &str, bytes: &[u8], holds: [&str; 2], install: Option<Install>) {
    let mut place = Place::new();
    let old = tar(&[file("bin/old", "works")]);
    let web = Web::of_files(&[("old.tar", &old), (name, bytes)]);
    place.install(&web.url, "old.tar", Some(sha256(&old))).unwrap();
    let before = contents(&place.target());
    place.install = install.unwrap_or(place.install);
    let error = place.stage(&web.url, name, Some(sha256(bytes))).expect_err(what).to_string();
    for part in holds {
        assert!(error.contains(part), "{what}: {part:?} is not in: {error}");
    }
    assert!(error.contains(&format!("{}/{name}", web.url)), "{what}: no URL in: {error}");
    place.assert_untouched(what);
    assert_eq!(contents(&place.target()), before, "{what}: the old version changed");
}

#[test]
fn every_hostile_tar_is_refused_and_leaves_nothing() {
    for (what, entries, holds) in tars() {
        // Something good first, so that there is something to clean up.
        let mut all = vec![file("top/good", "good")];
        all.extend(entries);
        refused(what, "bad.tar.gz", &gz(&tar(&all)), holds, None);
    }
}

#[test]
fn the_limits_hold() {
    let small = |change: fn(&mut Install)| {
        let mut install = Install { backoff: vec![], ..Install::default() };
        change(&mut install);
        Some(install)
    };
    let many: Vec<Entry> = (0..200).map(|n| file(format!("f{n}"), "")).collect();
    let entries = small(|install| install.max_entries = 100);
    refused("many entries", "bad.tar.gz", &gz(&tar(&many)), ["\"f100\"", "install.max_entries"], entries.clone());
    let described: Vec<Entry> = (0..200).map(|_| pax(b'g', &[("comment", "x")])).collect();
    refused("many descriptions", "bad.tar", &tar(&described), ["", "install.max_entries"], entries.clone());
    let zips: Vec<Zipped> = (0..200).map(|n| zipped(format!("f{n}"), "", 0o100644)).collect();
    refused("many in a zip", "bad.zip", &zip(&zips, b""), ["200 entries", "install.max_entries"], entries);
    let bytes = small(|install| install.max_bytes = 1 << 20);
    let two = [file("a", vec![b'x'; 600 << 10]), file("b", vec![b'x'; 600 << 10])];
    refused("too much", "bad.tar.gz", &gz(&tar(&two)), ["\"b\"", "install.max_bytes"], bytes);
    let download = small(|install| install.max_download_bytes = 1 << 20);
    refused("too large a file", "bad.tar", &tar(&two), ["", "install.max_download_bytes"], download);
}

#[test]
fn a_bomb_is_refused_long_before_it_is_large() {
    let bomb = tar(&[file("good", "x"), file("zeros", vec![0; 200 << 20])]);
    for (name, packed) in [("bad.tar.gz", gz(&bomb)), ("bad.tar.xz", xz(&bomb)), ("bad.tar.zst", zst(&bomb))] {
        refused(name, name, &packed, ["\"zeros\"", "install.max_ratio"], None);
    }
}

#[test]
fn damaged_archives_are_told_from_hostile_ones() {
    let good = tar(&[file("a", "some content"), file("b", vec![b'b'; 100_000])]);
    let packed = gz(&good);
    let mut sum = good.clone();
    sum[0] ^= 1;
    let mut flipped = packed.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0x55;
    let endless = [&tar(&[file("a", "")])[..], &vec![b'x'; 65 << 20]].concat();
    let cases: [(&str, &str, &[u8], &str); 10] = [
        ("gzip cut off", "bad.tar.gz", &packed[..packed.len() - 20], "ends too early"),
        ("tar cut off", "bad.tar", &good[..2000], "cut off"),
        ("no end mark", "bad.tar", &good[..good.len() - 1024], "end mark"),
        ("wrong checksum", "bad.tar", &sum, "checksum"),
        ("wrong CRC", "bad.tar.gz", &flipped, "corrupt"),
        ("empty", "bad.tar.gz", b"", "no archive"),
        ("a script", "bad.tar.gz", b"#!/bin/sh\nexit 1\n", "#!/bin/sh"),
        ("a program", "bad.tar.xz", b"\x7fELF\x02", "no archive"),
        ("zip in a tar's name", "bad.tar.gz", &zip(&[], b""), "is a .zip"),
        ("goes on", "bad.tar", &endless, "after its end"),
    ];
    for (what, name, bytes, why) in cases {
        refused(what, name, bytes, ["", why], None);
    }
}

#[test]
fn every_hostile_zip_is_refused_and_leaves_nothing() {
    const FILE: u32 = 0o100644;
    let good = || zipped("good", "good", FILE);
    let link = |name: &str, target: &str| zipped(name, target, 0o120777);
    let encrypted = Zipped { flags: 1 << 11 | 1, ..zipped("secret", "0123456789abcdef", FILE) };
    let small = Zipped { size: Some(3), ..zipped("liar", "more than three", FILE) };
    let large = Zipped { size: Some(300), ..zipped("liar", "less", FILE) };
    let cases: Vec<(&str, Vec<Zipped>, [&str; 2])> = vec![
        ("slip", vec![zipped("../evil", "x", FILE)], ["../evil", "'..'"]),
        ("absolute", vec![zipped("/tmp/evil", "x", FILE)], ["/tmp/evil", "absolute"]),
        ("backslashes", vec![zipped("..\\evil", "x", FILE)], ["evil", "'\\'"]),
        ("NUL", vec![zipped("a\0b", "x", FILE)], ["a", "control character"]),
        ("link out", vec![link("l", "../../outside")], ["\"l\"", "outside"]),
        ("absolute link", vec![link("l", "/etc/passwd")], ["\"l\"", "absolute"]),
        (
            "through a link",
            vec![zipped("d/", "", 0o40755), link("l", "d"), zipped("l/f", "x", FILE)],
            ["l/f", "behind"],
        ),
        ("FIFO", vec![zipped("pipe", "", 0o010644)], ["pipe", "FIFO"]),
        ("device", vec![zipped("dev", "", 0o020644)], ["dev", "character device"]),
        ("socket", vec![zipped("sock", "", 0o140644)], ["sock", "socket"]),
        ("encrypted", vec![encrypted], ["\"secret\"", "Password required"]),
        ("claims less", vec![small], ["liar", ""]),
        ("claims more", vec![large], ["liar", ""]),
        ("one name twice", vec![good(), good()], ["", "twice"]),
        ("file as folder", vec![zipped("a", "x", FILE), zipped("a/b", "x", FILE)], ["a/b", "which is a file"]),
    ];
    for (what, mut entries, holds) in cases {
        if what != "one name twice" {
            entries.insert(0, good());
        }
        refused(what, "bad.zip", &zip(&entries, b"<html><script>"), holds, None);
    }
    let whole = zip(&[good()], b"");
    refused("cut off", "bad.zip", &whole[..whole.len() - 10], ["", ".zip cannot be read"], None);
}
