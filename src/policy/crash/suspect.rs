//! Which mod or plugin is to be looked at first.
use super::{Evidence, crash_file, crash_file::Facts};
use crate::model::crash::{Classification, Verdict};

/// Packages and jars of the platform itself: never a suspect.
const PLATFORM: [&str; 34] = [
    "java.",
    "javax.",
    "jdk.",
    "sun.",
    "com.sun.",
    "net.minecraft.",
    "com.mojang.",
    "org.bukkit.",
    "org.spigotmc.",
    "io.papermc.",
    "com.destroystokyo.",
    "ca.spottedleaf.",
    "org.purpurmc.",
    "net.minecraftforge.",
    "net.neoforged.",
    "cpw.mods.",
    "net.fabricmc.",
    "org.quiltmc.",
    "org.spongepowered.",
    "com.llamalad7.",
    "io.netty.",
    "it.unimi.",
    "com.google.",
    "org.apache.",
    "org.slf4j.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "co.aikar.",
    "joptsimple.",
    "org.objectweb.",
    "oshi.",
    "com.github.benmanes.",
];
const PLATFORM_JARS: [&str; 18] = [
    "paper",
    "spigot",
    "craftbukkit",
    "bukkit",
    "purpur",
    "folia",
    "server",
    "minecraft",
    "forge",
    "neoforge",
    "fml",
    "modlauncher",
    "authlib",
    "netty",
    "guava",
    "log4j",
    "fabric-loader",
    "brigadier",
];
/// Stack frames looked at.
const FRAMES: usize = 200;

/// Captures that name a suspect.
pub(super) const CAPTURES: [&str; 2] = ["mod", "plugin"];

pub(super) fn captured(verdict: &Verdict) -> Option<&str> {
    CAPTURES.iter().find_map(|name| verdict.captures.get(*name)).map(String::as_str)
}

/// From the verdict's captures, else from the crash report's own suspicion, else from the first frame of a stack trace
/// that does not belong to the platform.
pub fn suspected_mod(verdict: &Verdict, evidence: &Evidence) -> Option<String> {
    let captured = captured(verdict);
    if captured.is_some() || verdict.classification == Classification::Oom {
        return captured.map(str::to_owned);
    }
    let facts = evidence.crash_file.as_ref().map(crash_file::parse).unwrap_or_default();
    let Facts { suspected_mods, lines, .. } = facts;
    let deciding = verdict.evidence.first().map_or(0, |e| e.line as usize);
    let log = evidence.tail.iter().skip(deciding.saturating_sub(1)).filter(|l| !l.torn).map(|l| l.text.as_str());
    let frames = lines.iter().map(String::as_str).chain(log);
    suspected_mods.into_iter().next().or_else(|| frames.filter_map(frame).take(FRAMES).find_map(owner))
}

/// `    at a.b.C.d(C.java:1) ~[x.jar:?]` without its `at`.
fn frame(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("at ")
}

fn owner(frame: &str) -> Option<String> {
    named_module(frame).or_else(|| jar(frame)).or_else(|| package(frame))
}

/// Forge writes `TRANSFORMER/<mod id>@<version>/…`.
fn named_module(frame: &str) -> Option<String> {
    let (id, _) = frame.strip_prefix("TRANSFORMER/")?.split_once('@')?;
    (!matches!(id, "minecraft" | "forge" | "neoforge")).then(|| id.to_owned())
}

/// Log4j adds the jar: `~[Essentials-2.20.jar:?]`.
fn jar(frame: &str) -> Option<String> {
    let (_, rest) = frame.rsplit_once('[')?;
    let (name, _) = rest.split_once(".jar")?;
    let lower = name.to_lowercase();
    let platform = PLATFORM_JARS.iter().any(|p| lower.starts_with(p)) || name.contains(['!', '%']);
    (!platform && !name.is_empty()).then(|| format!("{name}.jar"))
}

/// The first two or three parts of a foreign package: `com.example.mod`.
fn package(frame: &str) -> Option<String> {
    let call = frame.split_once('(')?.0;
    let class = call.rsplit('/').next()?;
    // A module that is named (`java.base/`, `server//`) is looked at without its name.
    let platform = PLATFORM.iter().any(|p| class.starts_with(p));
    let parts: Vec<&str> = class.split('.').collect();
    let plausible = parts.len() >= 4 && parts.iter().all(|p| !p.is_empty() && !p.contains(' '));
    (!platform && plausible).then(|| parts[..3].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_its_owner() {
        for (line, suspect) in [
            ("\tat java.base/java.util.ArrayList.get(ArrayList.java:3)", None),
            ("\tat net.minecraft.server.MinecraftServer.run(MinecraftServer.java:5) ~[paper-1.21.jar:?]", None),
            (
                "\tat com.earth2me.essentials.Essentials.onEnable(Essentials.java:9) ~[EssentialsX-2.20.jar:?]",
                Some("EssentialsX-2.20.jar"),
            ),
            ("\tat TRANSFORMER/jei@19.5/mezz.jei.Foo.bar(Foo.java:1)", Some("jei")),
            ("\tat TRANSFORMER/minecraft@1.20/net.minecraft.Foo.bar(Foo.java:1)", None),
            ("\tat knot//com.example.sheep.Sheep.tick(Sheep.java:3)", Some("com.example.sheep")),
            ("    at Object.<anonymous> (/srv/x.js:1:1)", None),
            ("[12:00:00 INFO]: at com.example.sheep.Sheep.tick(S.java)", None),
        ] {
            assert_eq!(frame(line).and_then(owner).as_deref(), suspect, "{line}");
        }
    }
}
