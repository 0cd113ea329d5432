//! Hints for a person, with what the rule captured filled in.
use std::collections::BTreeMap;

/// Fills `{name|otherwise}`: the capture of that name, or the text after the bar.
pub(super) fn filled(template: &str, captures: &BTreeMap<String, String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, slot, after)) = next_slot(rest) {
        let (name, otherwise) = slot.split_once('|').unwrap_or((slot, ""));
        text.push_str(before);
        text.push_str(captures.get(name).map_or(otherwise, String::as_str));
        rest = after;
    }
    text.push_str(rest);
    text
}

fn next_slot(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (slot, after) = rest.split_once('}')?;
    Some((before, slot, after))
}

/// Captures that say the same in words people use: class-file versions become Java versions (52 is Java 8).
pub(super) fn add_derived(captures: &mut BTreeMap<String, String>) {
    for (raw, derived) in [("class_version", "java_required"), ("found", "java_found")] {
        let java = captures.get(raw).and_then(|v| java_of_class_version(v));
        if let Some(java) = java {
            captures.insert(derived.to_owned(), format!("{java}"));
        }
    }
}

fn java_of_class_version(text: &str) -> Option<u32> {
    let major: u32 = text.split('.').next()?.parse().ok()?;
    (45..200).contains(&major).then(|| major - 44)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_the_capture_or_its_other_text() {
        let captures = BTreeMap::from([("mod".to_owned(), "jei".to_owned())]);
        assert_eq!(filled("Remove {mod|it} and {x|the rest}.", &captures), "Remove jei and the rest.");
        assert_eq!(filled("no slot", &captures), "no slot");
        assert_eq!(filled("open { brace", &captures), "open { brace");
    }

    #[test]
    fn class_versions_become_java_versions() {
        for (class, java) in [("52", "8"), ("61.0", "17"), ("65", "21"), ("69", "25")] {
            let mut captures = BTreeMap::from([("class_version".to_owned(), class.to_owned())]);
            add_derived(&mut captures);
            assert_eq!(captures["java_required"], java);
        }
        let mut captures = BTreeMap::from([("found".to_owned(), "[MISSING]".to_owned())]);
        add_derived(&mut captures);
        assert!(!captures.contains_key("java_found"));
    }
}
