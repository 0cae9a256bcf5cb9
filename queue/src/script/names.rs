//! Names in scripts: each is declared before it is used, where it can be seen. Lua takes any other for a
//! global, of which Redis knows nothing until the line runs.

use super::{ALL, PIECES, code, included, piece, whole};

/// What Lua and the server declare.
const GIVEN: &[&str] = &[
    "ARGV", "KEYS", "cmsgpack", "error", "ipairs", "math", "next", "pairs", "pcall", "redis",
    "select", "string", "table", "tonumber", "tostring", "type", "unpack",
];

const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// A line without comment and texts.
fn bare(line: &str) -> String {
    let mut bare = String::new();
    // Every second part stands between quotes.
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            bare.push_str("''");
        } else if let Some((code, _)) = part.split_once("--") {
            bare.push_str(code);
            break;
        } else {
            bare.push_str(part);
        }
    }
    bare
}

/// Words of a line that are names, with what stands before and behind each.
fn names(line: &str) -> Vec<(&str, char, char)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(begin) = line[at..].find(is_part).map(|begin| at + begin) {
        let length = line[begin..].find(|c| !is_part(c));
        at = length.map_or(line.len(), |length| begin + length);
        let word = &line[begin..at];
        if !word.starts_with(|c: char| c.is_ascii_digit()) && !KEYWORDS.contains(&word) {
            let before = line[..begin].trim_end().chars().last().unwrap_or(' ');
            let behind = line[at..].trim_start();
            // One that is compared is not written.
            let written = behind.starts_with('=') && !behind.starts_with("==");
            names.push((word, before, if written { '=' } else { ' ' }));
        }
    }
    names
}

/// The names that a line declares for the lines that follow it, and for those inside of its block.
fn declared(line: &str) -> (Vec<String>, Vec<String>) {
    let list = |text: &str| -> Vec<String> {
        let names = text.split(',').map(|name| name.trim().to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    let (mut here, mut inside) = (Vec::new(), Vec::new());
    let mut rest = line;
    while let Some((_, behind)) = rest.split_once("local ") {
        rest = behind;
        if let Some(function) = behind.strip_prefix("function ") {
            here.extend(list(function.split('(').next().unwrap()));
        } else {
            let end = behind.find(['=', ';']).unwrap_or(behind.len());
            here.extend(list(&behind[..end]));
        }
    }
    for function in line.split("function").skip(1) {
        let parameters = function
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        inside.extend(parameters.map(|(names, _)| list(names)).unwrap_or_default());
    }
    for head in line.split("for ").skip(1) {
        let end = head.find(" in ").or_else(|| head.find('=')).unwrap_or(0);
        inside.extend(list(&head[..end]));
    }
    (here, inside)
}

/// Names that are used where none of them is declared.
fn unknown(text: &str) -> Vec<String> {
    let mut known: Vec<(usize, String)> = Vec::new();
    let mut unknown = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("#!")) {
        let line = bare(line);
        let code = line.trim_start();
        if code.is_empty() {
            continue;
        }
        let indent = line.len() - code.len();
        known.retain(|(at, _)| *at <= indent);
        let (here, inside) = declared(code);
        let fields = code.contains('{');
        for (name, before, behind) in names(code) {
            let is_field = before == '.' || before == ':' || fields && behind == '=';
            let is_known = GIVEN.contains(&name)
                || known.iter().any(|(_, other)| other == name)
                || here.iter().chain(&inside).any(|other| other == name);
            if !is_field && !is_known {
                unknown.push(format!("{name} in: {code}"));
            }
        }
        known.extend(here.into_iter().map(|name| (indent, name)));
        known.extend(inside.into_iter().map(|name| (indent + 1, name)));
    }
    unknown
}

#[test]
fn each_name_is_declared_before_it_is_used() {
    for script in ALL {
        let text = code(script.kind, script.keys, script.args, script.body).text;
        assert_eq!(unknown(&text), Vec::<String>::new(), "{}", script.name);
    }
}

#[test]
fn a_name_that_nobody_declares_is_found() {
    for (text, name) in [
        ("local a = 1\nreturn b", "b"),
        ("if true then\n  local a = 1\nend\nreturn a", "a"),
        ("local function f(x)\n  return x\nend\nreturn f(x)", "x"),
        ("for i = 1, 2 do\n  print(i)\nend", "print"),
        ("local a = {b = c}", "c"),
    ] {
        let found = unknown(text);
        assert!(
            found.iter().any(|it| it.starts_with(name)),
            "{text}: {found:?}"
        );
    }
    for text in [
        "local a, b = 1, '-- c'\nreturn a + b -- d",
        "for _, id in ipairs(ARGV) do redis.call('SET', id, '1') end",
        "local a = {b = 1}\na.b = 2\nif a.b == 3 then a = nil end",
    ] {
        assert_eq!(unknown(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn each_piece_that_is_included_exists_and_each_that_exists_is_included() {
    let mut used = Vec::new();
    let bodies = ALL.iter().map(|script| script.body);
    let pieces = PIECES.iter().map(|name| piece(name).unwrap().1);
    for line in bodies.chain(pieces).flat_map(str::lines) {
        if let Some(name) = included(line.trim()) {
            assert!(piece(name).is_some(), "there is no piece {name}");
            used.push(name);
        } else {
            assert!(!line.trim().starts_with("include"), "{line}");
        }
    }
    for name in PIECES {
        assert!(used.contains(name), "nothing includes {name}");
    }
}

#[test]
fn a_piece_comes_once_with_what_it_needs_before_it_and_again_where_it_is_out_of_sight() {
    let count = |text: &str, what: &str| text.matches(what).count();
    let text = whole("include 'sooner'\ninclude 'wake'\ninclude 'due'\n");
    assert_eq!(count(&text, "function wake("), 1);
    assert!(text.find("function wake(") < text.find("function wake_if_sooner("));
    let text = whole("if a then\n  include 'due'\nend\nif b then\n  include 'due'\nend\n");
    assert_eq!(count(&text, "function first_due("), 2);
    let text = whole("include 'due'\nif b then\n  include 'due'\nend\n");
    assert_eq!(count(&text, "function first_due("), 1);
}
