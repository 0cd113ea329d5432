//! Real folders of a temporary root, with an account that is nobody's. Root is needed to give files away.
use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

const UID: u32 = 54_321;

fn account() -> Account {
    Account { name: "dev".into(), uid: UID, gid: UID, groups: vec![UID] }
}

struct Place {
    root: tempfile::TempDir,
    home: PathBuf,
    workspace: PathBuf,
}

impl Place {
    /// `None` where nobody can be given anything.
    fn new() -> Option<Place> {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let (home, workspace) = places(root.path());
        Some(Place { root, home, workspace })
    }

    fn prepare(&self, most: usize) -> Result<Repaired, PrepareError> {
        prepare(self.root.path(), (&self.home, &self.workspace), &account(), Some(". /x\n"), most)
    }

    fn owner(&self, path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }
}

#[test]
fn a_bare_root_gets_a_home_and_a_workspace_of_their_own() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.prepare(100).unwrap(), Repaired::default());
    for path in [&place.home, &place.workspace, &place.home.join(".profile")] {
        assert_eq!(place.owner(path), UID, "{}", path.display());
    }
    assert_eq!(place.owner(place.home.parent().unwrap()), 0, "what lies above stays root's");
    assert_eq!(fs::metadata(&place.home).unwrap().permissions().mode() & 0o777, 0o750);
    let profile = fs::read_to_string(place.home.join(".profile")).unwrap();
    assert!(profile.ends_with(". /x\n"), "{profile}");
}

#[test]
fn what_people_changed_in_their_home_stays() {
    let Some(place) = Place::new() else { return };
    place.prepare(100).unwrap();
    fs::write(place.home.join(".profile"), "mine").unwrap();
    fs::remove_file(place.home.join(".bashrc")).unwrap();
    place.prepare(100).unwrap();
    assert_eq!(fs::read_to_string(place.home.join(".profile")).unwrap(), "mine");
    assert!(!place.home.join(".bashrc").exists());
}

#[test]
fn owners_are_set_right_and_no_link_is_followed() {
    let Some(place) = Place::new() else { return };
    place.prepare(100).unwrap();
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "root's").unwrap();
    let deep = place.workspace.join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    symlink(&outside, deep.join("folder-link")).unwrap();
    symlink(outside.join("secret"), deep.join("file-link")).unwrap();
    fs::hard_link(outside.join("secret"), deep.join("second-name")).unwrap();
    chown(&place.workspace, Some(0), Some(0)).unwrap();
    let done = place.prepare(100).unwrap();
    assert_eq!((done.looked_at, done.given_back, done.passed_over), (6, 5, 0));
    for path in [place.workspace.clone(), deep.clone(), deep.join("file"), deep.join("folder-link")] {
        assert_eq!(place.owner(&path), UID, "{}", path.display());
    }
    for path in [outside.clone(), outside.join("secret"), deep.join("second-name")] {
        assert_eq!(place.owner(&path), 0, "{}", path.display());
    }
    assert_eq!(place.prepare(100).unwrap().given_back, 0, "again is nothing to do");
}

#[test]
fn a_link_in_place_of_a_folder_is_refused_and_its_target_left_alone() {
    let Some(place) = Place::new() else { return };
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    place.prepare(100).unwrap();
    fs::remove_dir(&place.workspace).unwrap();
    symlink(&outside, &place.workspace).unwrap();
    let refused = place.prepare(100).unwrap_err().to_string();
    assert!(refused.contains("workspace is a symbolic link"), "{refused}");
    assert_eq!(place.owner(&outside), 0);
}

#[test]
fn there_is_a_limit_and_what_lies_past_it_is_counted() {
    let Some(place) = Place::new() else { return };
    place.prepare(100).unwrap();
    for n in 0..10 {
        fs::write(place.workspace.join(format!("f{n}")), "").unwrap();
    }
    let done = place.prepare(4).unwrap();
    assert_eq!((done.looked_at, done.given_back, done.passed_over), (4, 4, 6));
}
