//! Names as nobody should send them, in every combination.
use super::*;
use proptest::prelude::*;

fn raw<'a>(name: &'a [u8], kind: Kind, target: &'a [u8]) -> Raw<'a> {
    Raw { name, kind, target, mode: 0o7777, size: 0 }
}

#[test]
fn modes_lose_what_an_install_must_not_have() {
    let install = Install::default();
    let mut rules = Rules::new(&install, 0);
    let mut admit = |kind, mode| {
        rules.admit(&Raw { name: format!("{mode:o}{kind:?}").as_bytes(), kind, target: b"", mode, size: 0 })
    };
    for (mode, file, folder) in
        [(0o7777, 0o755, 0o755), (0o666, 0o644, 0o744), (0o000, 0o400, 0o700), (0o555, 0o555, 0o755)]
    {
        assert_eq!(admit(Kind::File, mode).unwrap().unwrap().what, What::File { mode: file });
        assert_eq!(admit(Kind::Folder, mode).unwrap().unwrap().what, What::Folder { mode: folder });
    }
}

#[test]
fn the_ratio_counts_only_past_its_beginning() {
    let install = Install::default();
    let rules = Rules::new(&install, 0);
    for (plain, packed, good) in [
        (Install::RATIO_FROM, 1, true),
        (200 << 20, 2 << 20, true),
        (200 << 20, 1 << 20, false),
        (u64::MAX, 1 << 50, false),
    ] {
        assert_eq!(rules.ratio("e", plain, packed).is_ok(), good, "{plain} from {packed}");
    }
}

#[test]
fn a_refusal_shortens_what_it_quotes() {
    let long = refusal(&[b'x'; 5000], "is bad").to_string();
    assert!(long.len() < 300 && long.contains("x…\""), "{long}");
}

const PARTS: [&str; 14] =
    ["a", "b", "..", ".", "", "...", "a b", " ", "\u{202e}", "%2e%2e", "\\..\\", "CON", ".zlh-staging", "a\u{0}b"];
const KINDS: [Kind; 5] = [Kind::File, Kind::Folder, Kind::Symlink, Kind::Hardlink, Kind::Other("device")];

proptest! {
    /// Whatever comes, what is admitted stays inside, never goes through a link or file, and never changes its kind.
    #[test]
    fn what_is_admitted_stays_inside(
        entries in prop::collection::vec((prop::collection::vec(0..PARTS.len(), 0..5), 0..KINDS.len(), prop::collection::vec(0..PARTS.len(), 0..4)), 1..40),
        strip in 0..3usize,
    ) {
        let install = Install::default();
        let mut rules = Rules::new(&install, strip);
        let mut made: HashMap<String, What> = HashMap::new();
        for (name, kind, target) in entries {
            let path = |parts: &[usize]| parts.iter().map(|i| PARTS[*i]).collect::<Vec<_>>().join("/");
            let (name, target) = (path(&name), path(&target));
            // The first refusal ends an archive.
            let Ok(judged) = rules.admit(&raw(name.as_bytes(), KINDS[kind], target.as_bytes())) else { break };
            let Some(admitted) = judged else { continue };
            let parts: Vec<&str> = admitted.path.split('/').collect();
            prop_assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..") && !part.contains('\0')), "{admitted:?}");
            for deep in 1..parts.len() {
                let above = made.get(&parts[..deep].join("/"));
                prop_assert!(matches!(above, None | Some(What::Folder { .. })), "{admitted:?} lies behind {above:?}");
            }
            let before = made.insert(admitted.path.clone(), admitted.what.clone());
            prop_assert_eq!(before.is_some_and(|b| !matches!(b, What::Folder { .. })), admitted.again && !matches!(admitted.what, What::Folder { .. }));
            if let What::Hardlink { target } = &admitted.what {
                let of = made.get(target);
                prop_assert!(matches!(of, Some(What::File { .. } | What::Hardlink { .. })), "{:?}", of);
            }
        }
    }

    /// Any bytes at all: refused or fine, never a panic.
    #[test]
    fn any_bytes_are_judged(name in prop::collection::vec(any::<u8>(), 0..600), target in prop::collection::vec(any::<u8>(), 0..40), kind in 0..KINDS.len()) {
        let install = Install::default();
        if let Ok(Some(admitted)) = Rules::new(&install, 0).admit(&raw(&name, KINDS[kind], &target)) {
            prop_assert!(!admitted.path.starts_with('/') && !admitted.path.split('/').any(|part| part == ".."));
        }
    }
}
