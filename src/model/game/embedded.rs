//! The definitions of `catalog/games/`, built into the program: name and text, sorted by name.

macro_rules! games {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/games/", $name, ".toml")))),*]
    };
}

/// One entry a file; a test compares the list with the folder.
pub const EMBEDDED: &[(&str, &str)] =
    games!["custom", "ddnet", "flying-squid", "freeciv", "garrysmod", "minecraft", "minetest", "openttd", "teeworlds"];
