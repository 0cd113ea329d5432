//! What a runtime's tree looks like: how its archive is called, and what must lie in it.

/// The dev runtimes that there are.
pub const RUNTIMES: [&str; 5] = ["node", "python", "go", "java", "dotnet"];
pub const CODE_SERVER: &str = "code-server";

/// What a tree must have to be this product, relative to its top; and what it is used by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub id: &'static str,
    /// Archives are called `<prefix>-<version>.tar.…`.
    pub prefix: &'static str,
    /// Files that must be there; the first is what a smoke test runs.
    pub programs: &'static [&'static str],
    /// Folders that must be there besides.
    pub folders: &'static [&'static str],
    /// Folders for PATH.
    pub bin: &'static [&'static str],
    /// Environment of whoever uses it; `{root}` is the tree.
    pub env: &'static [(&'static str, &'static str)],
    /// Arguments to the first program that prove that it runs.
    pub smoke: &'static [&'static str],
}

const LAYOUTS: [Layout; 6] = [
    Layout {
        id: "node",
        prefix: "node",
        programs: &["bin/node"],
        folders: &[],
        bin: &["bin"],
        env: &[],
        smoke: &["--version"],
    },
    Layout {
        id: "python",
        prefix: "python",
        programs: &["bin/python3"],
        folders: &["lib"],
        bin: &["bin"],
        env: &[],
        smoke: &["--version"],
    },
    Layout {
        id: "go",
        prefix: "go",
        programs: &["bin/go"],
        folders: &["src"],
        bin: &["bin"],
        env: &[("GOROOT", "{root}")],
        smoke: &["version"],
    },
    Layout {
        id: "java",
        prefix: "jdk",
        programs: &["bin/java"],
        folders: &["lib"],
        bin: &["bin"],
        env: &[("JAVA_HOME", "{root}")],
        smoke: &["-version"],
    },
    Layout {
        id: "dotnet",
        prefix: "dotnet",
        programs: &["dotnet"],
        folders: &["shared"],
        bin: &["."],
        env: &[("DOTNET_ROOT", "{root}"), ("DOTNET_CLI_TELEMETRY_OPTOUT", "1")],
        smoke: &["--list-runtimes"],
    },
    Layout {
        id: CODE_SERVER,
        prefix: CODE_SERVER,
        programs: &["bin/code-server"],
        folders: &["lib", "node_modules"],
        bin: &["bin"],
        env: &[],
        smoke: &["--version"],
    },
];

/// Of a dev runtime or code-server.
pub fn layout(id: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.id == id)
}
