//! `docs/cli.md` is written from the clap types, and is stale if it says anything else.
use super::rendering::check;
use clap::{Arg, Command};
use std::path::PathBuf;

const HEAD: &str = "# The command line\n\n\
    Generated from `src/cli/args.rs`: `UPDATE_GOLDEN=1 cargo test --test it cli::manual` writes it anew.\n";

#[test]
fn the_manual_is_up_to_date() {
    let mut zlh = zlh::cli::args::command();
    zlh.build();
    let mut text = HEAD.to_owned();
    describe(&zlh, "zlh", &mut text);
    text += &format!("\n```text\n{}\n```\n", zlh.get_after_help().unwrap());
    check(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md"), &text);
}

fn describe(command: &Command, path: &str, text: &mut String) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    *text += &format!("\n## `{path}`\n\n{about}.\n");
    // Global options are the same everywhere and stand once, at the top.
    let top = path == "zlh";
    let own = |a: &&Arg| {
        !a.is_hide_set() && (top || !a.is_global_set()) && !["help", "version"].contains(&a.get_id().as_str())
    };
    let rows: Vec<String> = command.get_arguments().filter(own).map(row).collect();
    if !rows.is_empty() {
        *text += &format!("\n| argument | meaning |\n|---|---|\n{}", rows.concat());
    }
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        describe(sub, &format!("{path} {}", sub.get_name()), text);
    }
}

fn row(arg: &Arg) -> String {
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        meaning += &format!(" [default: {}]", defaults.join(","));
    }
    if let Some(name) = arg.get_env() {
        meaning += &format!(" [env: {}]", name.to_string_lossy());
    }
    let choices: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    if !choices.is_empty() && arg.get_action().takes_values() {
        meaning += &format!(" [{}]", choices.join(", "));
    }
    let form = arg.to_string().replace('|', "\\|");
    let short = arg.get_short().filter(|_| arg.get_long().is_some()).map(|s| format!("`-{s}`, ")).unwrap_or_default();
    format!("| {short}`{form}` | {} |\n", meaning.replace('|', "\\|"))
}
