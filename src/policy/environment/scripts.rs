//! The files that shells read, as text.
use super::{PROFILE, SYSTEM_FOLDERS, Surroundings, Value};
use std::fmt::Write as _;

const HEADING: &str =
    "# Written by zlh for the dev container's account; changes are overwritten. Yours go to your home.\n";

/// `/etc/profile.d/zlh.sh`, for every shell that reads POSIX: dash, bash, zsh; also under `set -eu`.
pub fn posix(of: &Surroundings) -> String {
    let mut script = String::from(HEADING);
    let _ = writeln!(script, "if [ \"${{HOME-}}\" = {} ]; then", quoted(&of.home));
    let _ = writeln!(script, "  zlh_ours={}", quoted(&of.folders().join(":")));
    script.push_str(MERGE);
    let named = [("USER", of.user.clone()), ("LOGNAME", of.user.clone()), ("LANG", super::LANG.to_owned())];
    let of_runtimes = of.variables().into_iter().map(|(name, value)| (name, of.text(&value)));
    for (name, value) in named.into_iter().chain(of_runtimes) {
        let _ = writeln!(script, "  if [ -z \"${{{name}-}}\" ]; then {name}={}; fi", quoted(&value));
        let _ = writeln!(script, "  export {name}");
    }
    script.push_str("fi\n");
    script
}

/// Ours in one piece and in our order; others stay before or after it, as they stood. The empty entry, which means
/// whatever folder one happens to be in, is left out.
const MERGE: &str = r#"  zlh_front= zlh_back= zlh_met= zlh_rest="${PATH-}:"
  while [ -n "$zlh_rest" ]; do
    zlh_one="${zlh_rest%%:*}" zlh_rest="${zlh_rest#*:}"
    case ":$zlh_ours:" in
      *":$zlh_one:"*) zlh_met=1 ;;
      *) if [ -z "$zlh_one" ]; then :
         elif [ -n "$zlh_met" ]; then zlh_back="$zlh_back:$zlh_one"
         else zlh_front="$zlh_front$zlh_one:"; fi ;;
    esac
  done
  PATH="$zlh_front$zlh_ours$zlh_back"
  export PATH
  unset zlh_front zlh_back zlh_met zlh_rest zlh_one zlh_ours
"#;

/// `/etc/fish/conf.d/zlh.fish`.
pub fn fish(of: &Surroundings) -> String {
    let mut script = String::from(HEADING);
    let ours: Vec<String> = of.folders().iter().map(|folder| quoted_for_fish(folder)).collect();
    let _ = writeln!(script, "if test \"$HOME\" = {}", quoted_for_fish(&of.home));
    let _ = writeln!(script, "    set -l ours {}", ours.join(" "));
    script.push_str(FISH_MERGE);
    let named = [("USER", of.user.clone()), ("LOGNAME", of.user.clone()), ("LANG", super::LANG.to_owned())];
    let of_runtimes = of.variables().into_iter().map(|(name, value)| (name, of.text(&value)));
    for (name, value) in named.into_iter().chain(of_runtimes) {
        let _ = writeln!(script, "    test -n \"${name}\"; or set -gx {name} {}", quoted_for_fish(&value));
    }
    script.push_str("end\n");
    script
}

const FISH_MERGE: &str = r#"    set -l front
    set -l back
    set -l met 0
    for one in $PATH
        if contains -- "$one" $ours
            set met 1
        else if test -z "$one"; or test "$one" = .
        else if test $met = 1
            set -a back $one
        else
            set -a front $one
        end
    end
    set -gx PATH $front $ours $back
"#;

/// The lines for `/etc/environment`: pam_env(8) expands nothing, and reads them for every account.
pub fn pam(of: &Surroundings) -> String {
    let folders: Vec<String> = of.shared_folders().collect();
    let mut lines = format!("PATH=\"{}\"\nLANG=\"{}\"\n", folders.join(":"), super::LANG);
    for (name, value) in of.variables() {
        if let Value::Fixed(text) = value {
            let _ = writeln!(lines, "{name}=\"{text}\"");
        }
    }
    debug_assert!(SYSTEM_FOLDERS.iter().all(|folder| lines.contains(folder)));
    lines
}

/// The lines for the files that bash and zsh read themselves. `root`: what `/` is to the agent.
pub fn hook(root: &str) -> String {
    let file = quoted(&format!("{}/{PROFILE}", root.trim_end_matches('/')));
    format!("if [ -r {file} ]; then . {file}; fi\n")
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn quoted_for_fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::environment::tests::surroundings;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("a b'c$d"), r"'a b'\''c$d'");
        assert_eq!(quoted_for_fish(r"a\'b"), r"'a\\\'b'");
        assert_eq!(hook("/"), "if [ -r '/etc/profile.d/zlh.sh' ]; then . '/etc/profile.d/zlh.sh'; fi\n");
        assert!(hook("/tmp/x").contains("'/tmp/x/etc/profile.d/zlh.sh'"));
    }

    #[test]
    fn scripts_touch_one_account_only() {
        let (posix, fish) = (posix(&surroundings()), fish(&surroundings()));
        assert!(posix.contains("if [ \"${HOME-}\" = '/home/dev' ]; then") && posix.ends_with("fi\n"), "{posix}");
        assert!(fish.contains("if test \"$HOME\" = '/home/dev'") && fish.ends_with("end\n"), "{fish}");
    }
}
