//! Where the symbolic links of a finished tree lead: each must stay inside, also when it goes through others.
use super::{
    manifest::Record,
    rules::{Refusal, refusal},
};
use std::collections::HashMap;

/// As many as the kernel follows (path_resolution(7)).
const MOST_HOPS: usize = 40;

/// `root`: the folder that becomes the tree, `""` or the only top folder. Links that lead nowhere are fine, those that lead
/// out or in circles are not.
pub(super) fn check(records: &HashMap<String, Record>, root: &str) -> Result<(), Refusal> {
    for (path, record) in records {
        let Record::Link { target } = record else { continue };
        let walk = Walk { records, root: parts(root).count() };
        let mut at: Vec<&str> = parts(path).collect();
        at.pop();
        if let Err(why) = walk.follow(at, target) {
            return Err(refusal(path.as_bytes(), format!("is a link to {target:?}, {why}")));
        }
    }
    Ok(())
}

struct Walk<'a> {
    records: &'a HashMap<String, Record>,
    /// Names that every place inside has at least.
    root: usize,
}

impl<'a> Walk<'a> {
    /// As the kernel would, from the folder `at`.
    fn follow(&self, mut at: Vec<&'a str>, target: &'a str) -> Result<(), &'static str> {
        // What is still to be walked, the next last.
        let mut ahead: Vec<&str> = parts(target).collect();
        ahead.reverse();
        let mut hops = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                if at.len() <= self.root {
                    return Err("which leads outside");
                }
                at.pop();
                continue;
            }
            at.push(part);
            if let Some(Record::Link { target }) = self.records.get(&at.join("/")) {
                hops += 1;
                if hops > MOST_HOPS {
                    return Err("which leads in circles");
                }
                at.pop();
                ahead.extend(parts(target).rev());
            }
        }
        Ok(())
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(links: &[(&str, &str)]) -> HashMap<String, Record> {
        let link = |(path, target): &(&str, &str)| (path.to_string(), Record::Link { target: target.to_string() });
        links.iter().map(link).collect()
    }

    #[test]
    fn links_stay_inside_also_through_others() {
        let good: [&[(&str, &str)]; 7] = [
            &[("a", "b")],
            &[("bin/node", "../lib/node")],
            &[("a/b/c", "../../d/./e//f")],
            &[("a", "."), ("b", "a/x")],
            &[("d", "sub/deep"), ("e", "d/../x")],
            &[("lib64", "lib"), ("bin/x", "../lib64/../y")],
            &[("up", "nowhere/..")],
        ];
        for links in good {
            assert_eq!(check(&tree(links), ""), Ok(()), "{links:?}");
        }
        let bad: [&[(&str, &str)]; 6] = [
            &[("a", "..")],
            &[("a/b", "../../x")],
            &[("a", "."), ("b", "a/..")],
            &[("d", "sub/deep"), ("e", "d/../../..")],
            &[("x/y", "z"), ("x/z", "../w"), ("w", "x/../q/../..")],
            &[("a", "b"), ("b", "a")],
        ];
        for links in bad {
            assert!(check(&tree(links), "").is_err(), "{links:?}");
        }
    }

    const PLACES: [&str; 6] = ["a", "b", "d/a", "d/b", "d/e/a", "d/e/b"];
    const TARGETS: [&str; 12] =
        [".", "..", "a", "b", "d", "../a", "a/..", "b/../..", "../../d", "d/e/../..", "./d/../a/..", "../e/./a"];

    proptest! {
        /// The kernel is asked: a tree that passes has no link out of it.
        #[test]
        fn no_link_of_a_tree_that_passes_leads_out(links in prop::collection::btree_map(0..PLACES.len(), 0..TARGETS.len(), 0..6)) {
            let links: Vec<(&str, &str)> = links.into_iter().map(|(p, t)| (PLACES[p], TARGETS[t])).collect();
            let passed = check(&tree(&links), "").is_ok();
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap().join("root");
            std::fs::create_dir_all(root.join("d/e")).unwrap();
            for (path, target) in &links {
                std::os::unix::fs::symlink(target, root.join(path)).unwrap();
            }
            let inside = links.iter().all(|(path, _)| root.join(path).canonicalize().map_or(true, |to| to.starts_with(&root)));
            prop_assert!(inside || !passed, "{links:?}");
        }
    }

    #[test]
    fn a_top_folder_that_goes_away_is_the_border() {
        assert_eq!(check(&tree(&[("top/a/b", "../c")]), "top"), Ok(()));
        assert_eq!(check(&tree(&[("top/a", "../c")]), ""), Ok(()));
        let refused = check(&tree(&[("top/a", "../c")]), "top").unwrap_err();
        assert!(refused.to_string().contains("leads outside"), "{refused}");
    }
}
