//! A file system of its own under a test: small, full, read-only.
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

/// Gone with the test.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `size` as mount(8) takes it: `3m`.
    pub fn new(at: PathBuf, size: &str) -> SmallDisk {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size},mode=755");
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("only root can run these tests");
        SmallDisk(at)
    }

    /// Until nothing fits any more.
    pub fn fill(&self) {
        let mut hog = File::create(self.0.join("hog")).unwrap();
        while hog.write_all(&[7; 4096]).is_ok() {}
        while hog.write_all(&[7]).is_ok() {}
    }

    pub fn clear(&self) {
        fs::remove_file(self.0.join("hog")).unwrap();
    }

    pub fn resize(&self, size: &str) {
        self.again(MsFlags::empty(), &format!("size={size}"));
    }

    pub fn write_protect(&self, on: bool) {
        self.again(if on { MsFlags::MS_RDONLY } else { MsFlags::empty() }, "");
    }

    fn again(&self, flags: MsFlags, options: &str) {
        let options = Some(options).filter(|options| !options.is_empty());
        mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_REMOUNT | flags, options).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}
