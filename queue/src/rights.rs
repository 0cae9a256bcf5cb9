//! Which right of an ACL user a script lacked. Pure.

use std::fmt::Write as _;

use redis::Arg;

use crate::script::Script;

/// Adds to what the server said of a missing right the commands that stand in the script's line
/// where it was missing: the server says the line alone.
pub(crate) fn name_missing(reason: &mut String, script: &Script) {
    if let Some(commands) = line_named(reason).and_then(|line| commands_in(script, line)) {
        let _ = write!(
            reason,
            " (the script {} calls {commands} there)",
            script.name
        );
    }
}

/// The line in `… script: <digest>, on @user_script:<line>.`
fn line_named(reason: &str) -> Option<usize> {
    let (_, rest) = reason.split_once("@user_script:")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

fn commands_in(script: &Script, line: usize) -> Option<String> {
    let load = script.load();
    let Some(Arg::Simple(code)) = load.args_iter().nth(2) else {
        return None;
    };
    let code = std::str::from_utf8(code).ok()?;
    let commands = commands(code.lines().nth(line)?);
    (!commands.is_empty()).then(|| commands.join(" and "))
}

/// The commands that code calls by name.
pub(crate) fn commands(code: &str) -> Vec<String> {
    let calls = code.split("call('").skip(1);
    calls
        .filter_map(|rest| rest.split_once('\''))
        .map(|(command, _)| command.to_lowercase())
        .collect()
}
