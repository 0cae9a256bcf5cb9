//! What a look found, one line each, and what all lines amount to. Pure.

use std::fmt::Display;

use serde::Serialize;

use crate::table;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It was not looked at.
    Unknown,
    /// It works, and may not go on to.
    Warning,
    /// It does not work, or loses tasks.
    Problem,
}

/// What one look found. Field names are part of the output and stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, in a word.
    pub(super) check: &'static str,
    /// What there is, and what to do. One line, without secrets.
    pub(super) text: String,
}

impl Finding {
    fn new(level: Level, check: &'static str, text: impl Display) -> Self {
        let text = text.to_string();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { level, check, text }
    }

    pub(super) fn ok(check: &'static str, text: impl Display) -> Self {
        Self::new(Level::Ok, check, text)
    }

    pub(super) fn unknown(check: &'static str, text: impl Display) -> Self {
        Self::new(Level::Unknown, check, text)
    }

    pub(super) fn warning(check: &'static str, text: impl Display) -> Self {
        Self::new(Level::Warning, check, text)
    }

    pub(super) fn problem(check: &'static str, text: impl Display) -> Self {
        Self::new(Level::Problem, check, text)
    }
}

/// All that was found, in the order of the looks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    problems: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn of(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|it| it.level == level).count();
        Self {
            problems: count(Level::Problem),
            warnings: count(Level::Warning),
            findings,
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut table = table::with_headings(["", "CHECK", "FOUND"]);
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Unknown => "unknown",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            table.add_row([level, finding.check, &finding.text]);
        }
        table::lines(&mut table)
    }

    /// Whether anything was looked at at all.
    pub(super) fn saw_nothing(&self) -> bool {
        self.findings.iter().all(|it| it.level == Level::Unknown)
    }

    /// Why the command fails, if it does.
    pub(super) fn verdict(&self, strict: bool) -> Option<String> {
        if self.problems == 0 && (self.warnings == 0 || !strict) {
            return None;
        }
        let many = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let problems = many(self.problems, "problem");
        let warnings = many(self.warnings, "warning");
        Some(format!("{problems} and {warnings}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_fail_and_warnings_only_if_strict() {
        let ok = || Finding::ok("redis", "answers");
        let warning = || Finding::warning("persistence", "none");
        let problem = || Finding::problem("eviction", "allkeys-lru\n  set it");
        let verdict = |findings: Vec<Finding>, strict| Report::of(findings).verdict(strict);
        assert_eq!(verdict(vec![ok(), warning()], false), None);
        assert_eq!(verdict(vec![ok()], true), None);
        assert_eq!(
            verdict(vec![ok(), warning()], true).as_deref(),
            Some("0 problems and 1 warning")
        );
        assert_eq!(
            verdict(vec![problem(), problem(), warning()], false).as_deref(),
            Some("2 problems and 1 warning")
        );
        assert_eq!(problem().text, "allkeys-lru set it");
    }

    #[test]
    fn a_finding_is_a_line() {
        let report = Report::of(vec![
            Finding::ok("redis", "answers"),
            Finding::unknown("cluster", "no kubeconfig"),
        ]);
        assert_eq!(
            report.lines(),
            [
                "         CHECK    FOUND",
                "ok       redis    answers",
                "unknown  cluster  no kubeconfig"
            ]
        );
        let json = serde_json::to_value(&report).expect("it serializes");
        assert_eq!(json["findings"][1]["level"], "unknown");
        assert_eq!(json["problems"], 0);
        assert!(!report.saw_nothing());
    }
}
