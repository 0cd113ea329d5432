//! What lies in a person's workspace before the browser opens it.
use std::{
    fs,
    path::{Path, PathBuf},
};

/// VS Code starts a terminal's shell anew when an extension that has just woken up adds to the environment (git adds
/// GIT_ASKPASS) and nothing was typed yet. It asks its server in between, and what is typed meanwhile goes to the
/// shell that is about to end: the head of a command is lost, the more surely the busier the machine. The same
/// without any of our parts; `terminal.integrated.environmentChangesRelaunch` is documented as the way to turn it off.
const SETTINGS: &str = r#"{"terminal.integrated.environmentChangesRelaunch": false}"#;

/// A file that the explorer shows, and settings under which no typed key is lost: all that was made, the file first.
pub fn lay_out(workspace: &Path) -> [PathBuf; 3] {
    let (file, folder) = (workspace.join("readme.txt"), workspace.join(".vscode"));
    let settings = folder.join("settings.json");
    fs::write(&file, "hello\n").unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(&settings, SETTINGS).unwrap();
    [file, folder, settings]
}
