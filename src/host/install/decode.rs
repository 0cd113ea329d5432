//! What kind of archive it is (its name and its first bytes must agree), and the decoder for it.
use crate::model::settings::Install;
use flate2::bufread::MultiGzDecoder;
use liblzma::{bufread::XzDecoder, stream::Stream};
use std::io::{self, BufRead, Read};

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One file, taken as it is.
    Plain,
    Zip,
    Tar,
    TarGz,
    TarXz,
    TarZst,
}

/// Enough of a file to tell its format.
pub(super) const FIRST: usize = 512;

/// By the name alone: is it an archive, and one that can be unpacked while it comes?
pub(super) fn by_name(name: &str) -> Format {
    let name = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => Format::TarGz,
        () if ends(&[".tar.xz", ".txz"]) => Format::TarXz,
        () if ends(&[".tar.zst", ".tzst"]) => Format::TarZst,
        () if ends(&[".tar"]) => Format::Tar,
        () if ends(&[".zip"]) => Format::Zip,
        () => Format::Plain,
    }
}

/// By the first bytes; [`Format::Plain`] if they are those of no archive.
pub(super) fn by_content(first: &[u8]) -> Format {
    match first {
        [0x1f, 0x8b, ..] => Format::TarGz,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::TarXz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::TarZst,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Format::Zip,
        _ if first.get(257..262) == Some(b"ustar") => Format::Tar,
        _ => Format::Plain,
    }
}

/// The plain tar in `packed`. A publisher who named a .tar.xz `.tar.gz` is forgiven.
pub(super) fn decoder<'a>(mut packed: impl BufRead + 'a, install: &Install) -> io::Result<Box<dyn Read + 'a>> {
    match by_content(packed.fill_buf()?) {
        Format::TarGz => Ok(Box::new(MultiGzDecoder::new(packed))),
        Format::TarXz => {
            let stream = Stream::new_stream_decoder(install.decoder_bytes, liblzma::stream::CONCATENATED)?;
            Ok(Box::new(XzDecoder::new_stream(packed, stream)))
        }
        Format::TarZst => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(install.decoder_bytes.max(1 << 10).ilog2().min(31))?;
            Ok(Box::new(decoder))
        }
        Format::Tar => Ok(Box::new(packed)),
        Format::Zip => Err(no_archive("it is a .zip but not named so; rename it")),
        Format::Plain => {
            let first = packed.fill_buf()?;
            let shown = String::from_utf8_lossy(&first[..first.len().min(16)]).escape_default().to_string();
            Err(no_archive(&format!("it is no archive, it begins with \"{shown}\"; publish the packed file")))
        }
    }
}

/// Said for people, cure included; what a decoder says is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

fn no_archive(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Said(why.to_owned()))
}

/// Old decoders say "unexpected end" in many ways; people need one.
pub(super) fn complaint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early; publish it again".into(),
        _ if error.get_ref().is_some_and(|inner| inner.is::<Said>()) => error.to_string(),
        _ => format!("it is damaged ({error}); publish it again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_name_and_by_content() {
        for (name, format) in [
            ("node-24.tar.xz", Format::TarXz),
            ("GO.TGZ", Format::TarGz),
            ("a.tar.zst", Format::TarZst),
            ("a.zip", Format::Zip),
            ("a.tar", Format::Tar),
            ("server.jar", Format::Plain),
            ("zlh-agent-linux-amd64", Format::Plain),
            ("notes.gz", Format::Plain),
        ] {
            assert_eq!(by_name(name), format, "{name}");
        }
        for (first, format) in [
            (&b"\x1f\x8b\x08"[..], Format::TarGz),
            (b"\xfd7zXZ\0", Format::TarXz),
            (b"\x28\xb5\x2f\xfd", Format::TarZst),
            (b"PK\x03\x04", Format::Zip),
            (b"<html>", Format::Plain),
            (b"", Format::Plain),
        ] {
            assert_eq!(by_content(first), format);
        }
    }

    #[test]
    fn what_is_no_archive_is_shown() {
        let error = decoder(&b"#!/bin/sh\n"[..], &Install::default()).err().unwrap();
        assert!(error.to_string().contains(r##"it begins with "#!/bin/sh\n""##), "{error}");
    }

    /// A dictionary larger than the setting allows is an error, not a gigabyte of memory.
    #[test]
    fn decoders_may_not_take_what_they_want() {
        let install = Install { decoder_bytes: 1 << 20, ..Install::default() };
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&b"data"[..], 9).read_to_end(&mut xz).unwrap();
        let error = decoder(&xz[..], &install).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().to_lowercase().contains("mem"), "{error}");
    }
}
