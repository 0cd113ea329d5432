//! A folder as a page for people: names, sizes, times. No script, nothing from elsewhere.
use super::About;
use crate::model::{catalog::ArtifactPath, time::WallTime};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt::Write, time::UNIX_EPOCH};

/// Everything but what RFC 3986 calls unreserved.
const ODD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn page(path: Option<&ArtifactPath>, entries: &[(String, About)]) -> String {
    let title = escaped(&path.map_or_else(|| "/".to_owned(), |path| format!("/{path}/")));
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title>\n<h1>{title}</h1>\n<table>\n\
         <tr><th align=left>Name<th align=right>Bytes<th align=left>Changed\n"
    );
    if path.is_some() {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    for (name, about) in entries {
        let slash = if about.folder { "/" } else { "" };
        let bytes = if about.folder { String::new() } else { about.bytes.to_string() };
        let link = utf8_percent_encode(name, ODD);
        let row = format_args!(
            "<tr><td><a href=\"{link}{slash}\">{}{slash}</a><td align=right>{bytes}<td>{}\n",
            escaped(name),
            changed(about)
        );
        // Writing to a text cannot fail.
        let _ = page.write_fmt(row);
    }
    page.push_str("</table>\n");
    page
}

fn changed(about: &About) -> WallTime {
    let since = about.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_listing_links_and_escapes() {
        let about = |folder| About { folder, bytes: 7, modified: UNIX_EPOCH + Duration::from_secs(86_400) };
        let entries = [("a&b <x>.jar".to_owned(), about(false)), ("dir".to_owned(), about(true))];
        let page = page(Some(&"minecraft/paper".parse().unwrap()), &entries);
        assert!(page.contains("<a href=\"a%26b%20%3Cx%3E.jar\">a&amp;b &lt;x&gt;.jar</a><td align=right>7"), "{page}");
        assert!(page.contains("<a href=\"dir/\">dir/</a><td align=right><td>1970-01-02T00:00:00.000Z"), "{page}");
        assert!(page.contains("<h1>/minecraft/paper/</h1>") && page.contains("../"));
    }
}
