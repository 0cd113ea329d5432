//! The same tar in any pieces is the same tar; a spoilt one is an error, never a panic.
use super::*;
use proptest::prelude::*;

/// Writes down what it is told.
#[derive(Default, PartialEq, Debug, Clone)]
struct Told {
    entries: Vec<(String, String, u64, u32)>,
    content: Vec<u8>,
    ends: usize,
    extensions: usize,
}

impl Sink for Told {
    fn entry(&mut self, raw: &Raw) -> Result<(), Refusal> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.entries.push((text(raw.name), format!("{:?} {}", raw.kind, text(raw.target)), raw.size, raw.mode));
        Ok(())
    }
    fn content(&mut self, piece: &[u8], part: Range<usize>) {
        self.content.extend_from_slice(&piece[part]);
    }
    fn end(&mut self) {
        self.ends += 1;
    }
    fn extension(&mut self) -> Result<(), Refusal> {
        self.extensions += 1;
        Ok(())
    }
}

/// By the `tar` crate's own writer: long names, a link, files around the block size.
fn archive(sizes: &[usize]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (n, size) in sizes.iter().enumerate() {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(*size as u64);
        let name = if n % 2 == 0 { format!("{}/{n}", "long".repeat(40)) } else { format!("short/{n}") };
        builder.append_data(&mut header, name, &vec![n as u8; *size][..]).unwrap();
        let mut link = Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, format!("l{n}"), "x".repeat(90)).unwrap();
    }
    builder.into_inner().unwrap()
}

fn read(bytes: &[u8], piece: usize) -> Result<Told, TarError> {
    let (mut stream, mut told) = (TarStream::default(), Told::default());
    for piece in bytes.chunks(piece.max(1)) {
        stream.feed(piece, &mut told)?;
    }
    stream.finish().map(|()| told)
}

#[test]
fn pax_values_may_hold_anything() {
    assert_eq!(records(b"10 a=b\nc\n\n").ok(), Some(vec![(&b"a"[..], &b"b\nc\n"[..])]));
    assert_eq!(records(b"8 a=b=c\n6 x=\n").map(|r| r.len()).ok(), None, "a wrong length");
    assert_eq!(records(b"8 a=b=c\n5 x=\n").map(|r| r.len()).ok(), Some(2));
    for bad in
        [&b"x"[..], b"9 a=b\n", b"0 a=b\n", b"6 a=bc", b"-6 a=b\n", b"6 aab\n", b"99999999999999999999 a=b\n", b"2 "]
    {
        assert!(records(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_tell_the_same(sizes in prop::collection::vec(prop_oneof![Just(0), Just(511), Just(512), Just(513), 0..3000usize], 0..6), piece in 1..1500usize) {
        let bytes = archive(&sizes);
        let whole = read(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(whole.entries.len(), 2 * sizes.len());
        prop_assert_eq!(whole.content.len(), sizes.iter().sum::<usize>());
        prop_assert_eq!(read(&bytes, piece).unwrap(), whole);
    }

    #[test]
    fn a_cut_or_spoilt_tar_never_passes_for_whole(sizes in prop::collection::vec(0..1500usize, 1..4), at in any::<prop::sample::Index>(), cut in any::<bool>(), bit in 0..8u32) {
        let mut bytes = archive(&sizes);
        let good = read(&bytes, 512).unwrap();
        // Behind the last entry there are only the two blocks of the end mark.
        let at = at.index(bytes.len() - 1024);
        if cut {
            bytes.truncate(at);
            prop_assert!(read(&bytes, 700).is_err());
        } else {
            bytes[at] ^= 1 << bit;
            // Content and padding have no checksum here: the archive's digest is for that.
            if let Ok(told) = read(&bytes, 700) {
                prop_assert_eq!(told.entries.len(), good.entries.len());
            }
        }
    }
}
