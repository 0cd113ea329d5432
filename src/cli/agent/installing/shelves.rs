//! Where installed things lie, and what is there.
use crate::{
    host::install,
    model::{
        catalog::{self, layout},
        install::{Family, Present, Shelf, Tree, TreeId},
    },
};
use std::{fs, io, path::PathBuf};

/// The folders of versions under the agent's root.
#[derive(Clone)]
pub struct Shelves {
    root: PathBuf,
}

impl Shelves {
    pub fn at(root: PathBuf) -> Shelves {
        Shelves { root }
    }

    pub fn sweep(&self) -> io::Result<()> {
        for family in self.families()? {
            let swept = self.shelf(&family).sweep()?;
            if swept.unfinished + swept.restored > 0 {
                tracing::info!(%family, swept.unfinished, swept.restored, "cleared up after installs that were cut short");
            }
        }
        Ok(())
    }

    pub fn look(&self) -> io::Result<Present> {
        let mut present = Present::default();
        for family in self.families()? {
            let shelf = self.shelf(&family);
            for installed in shelf.versions()? {
                present.trees.push(self.tree(family.version(&installed.label.version), installed)?);
            }
            if let Some(version) = shelf.active()? {
                present.current.insert(family, version);
            }
        }
        present.trees.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(present)
    }

    fn tree(&self, id: TreeId, installed: install::Installed) -> io::Result<Tree> {
        let path = self.place(&id)?.to_string_lossy().into_owned();
        let known = layout(&id.family.id);
        let folder = |name: &&str| if *name == "." { path.clone() } else { format!("{path}/{name}") };
        let bin = known.map_or(&[][..], |known| known.bin).iter().map(folder).collect();
        let filled = |(k, v): &(&str, &str)| ((*k).to_owned(), v.replace("{root}", &path));
        let env = known.map_or(&[][..], |known| known.env).iter().map(filled).collect();
        let (bytes, files, sha256, verified) = (installed.bytes, installed.files, installed.sha256, installed.verified);
        Ok(Tree { id, bytes, files, sha256, bin, env, verified, path })
    }

    /// Every folder that may hold versions.
    pub fn families(&self) -> io::Result<Vec<Family>> {
        let mut families = Vec::new();
        for shelf in [Shelf::Runtimes, Shelf::Services, Shelf::Games] {
            let entries = match fs::read_dir(self.shelf_folder(shelf)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                let id = entry.file_name().to_str().and_then(|id| catalog::id(id).ok().map(str::to_owned));
                let is_folder = entry.file_type()?.is_dir();
                families.extend(id.filter(|_| is_folder).map(|id| Family { shelf, id }));
            }
        }
        Ok(families)
    }

    fn shelf_folder(&self, shelf: Shelf) -> PathBuf {
        self.root.join(match shelf {
            Shelf::Runtimes => "opt/zlh/runtimes",
            Shelf::Services => "opt/zlh/services",
            Shelf::Games => "opt/zlh/artifacts",
        })
    }

    pub fn folder(&self, family: &Family) -> PathBuf {
        self.shelf_folder(family.shelf).join(&family.id)
    }

    pub fn shelf(&self, family: &Family) -> install::Shelf {
        install::Shelf::at(self.folder(family))
    }

    pub fn place(&self, tree: &TreeId) -> io::Result<PathBuf> {
        self.shelf(&tree.family).place(&tree.version)
    }
}
