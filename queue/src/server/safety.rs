//! What all servers of a client risk together. Pure.

use std::fmt;

use super::{Judgement, Risk, ServerReport, Setting};

/// A risk and the servers that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What breaks a promise.
    pub risk: Risk,
    /// Their addresses; at least one.
    pub servers: Vec<String>,
    /// How many servers there are.
    pub of: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.risk.fmt(f)?;
        match self.servers.as_slice() {
            [server, ..] if self.of > 1 => {
                let (with, of) = (self.servers.len(), self.of);
                write!(f, " (so on {with} of {of} servers, such as {server})")
            }
            _ => Ok(()),
        }
    }
}

/// What the servers of a client risk, all of them together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Safety {
    /// What breaks a promise, the gravest first, each risk once.
    pub findings: Vec<Finding>,
    /// Settings that could not be seen everywhere, and of which nothing bad was seen.
    pub unknown: Vec<Setting>,
    /// Rights that would tell more, such as `+info`.
    pub rights: Vec<&'static str>,
    /// What else is in the way of seeing more, in the words of a server.
    pub obstacle: Option<String>,
}

impl Safety {
    /// Sums up what was reported.
    pub fn of(reports: &[ServerReport]) -> Self {
        let mut safety = Self::default();
        for setting in Setting::ALL {
            let judged = reports.iter().map(|report| report.judge(setting));
            safety.take(setting, reports, judged.collect());
        }
        let unseen = || reports.iter().flat_map(|report| &report.unseen);
        safety.rights = unseen().filter_map(|unseen| unseen.right).collect();
        safety.rights.sort_unstable();
        safety.rights.dedup();
        let obstacle = unseen().find(|unseen| unseen.right.is_none());
        safety.obstacle =
            obstacle.map(|unseen| format!("{} is not answered: {}", unseen.command, unseen.said));
        safety
    }

    fn take(&mut self, setting: Setting, reports: &[ServerReport], judged: Vec<Judgement>) {
        let unknown = judged.is_empty() || judged.contains(&Judgement::Unknown);
        let begin = self.findings.len();
        for (report, judgement) in reports.iter().zip(judged) {
            let Some(risk) = judgement.risk() else {
                continue;
            };
            let address = report.address.clone();
            let known = &mut self.findings[begin..];
            match known.iter_mut().find(|finding| finding.risk == risk) {
                Some(finding) => finding.servers.push(address),
                None => self.findings.push(Finding {
                    risk,
                    servers: vec![address],
                    of: reports.len(),
                }),
            }
        }
        if unknown && self.findings.len() == begin {
            self.unknown.push(setting);
        }
    }

    /// Whether a setting breaks a promise anywhere; `None` if that could not be seen.
    pub fn is_unsafe(&self, setting: Setting) -> Option<bool> {
        let found = |finding: &Finding| finding.risk.setting() == setting;
        if self.findings.iter().any(found) {
            Some(true)
        } else {
            (!self.unknown.contains(&setting)).then_some(false)
        }
    }

    /// What could not be seen, and what would show it; `None` if all was seen.
    pub fn untold(&self) -> Option<String> {
        if self.unknown.is_empty() {
            return None;
        }
        let names: Vec<_> = self.unknown.iter().map(|setting| setting.name()).collect();
        let mut text = format!("{} cannot be seen", names.join(", "));
        if !self.rights.is_empty() {
            text.push_str("; the user would see more with ");
            text.push_str(&self.rights.join(" "));
        }
        if let Some(obstacle) = &self.obstacle {
            text.push_str("; ");
            text.push_str(obstacle);
        }
        Some(text)
    }

    /// What there is to tell that was not so `before`: risks that are new, or have another value.
    pub fn news<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Finding> {
        let is_new = |finding: &&Finding| {
            let told = |old: &Finding| old.risk == finding.risk;
            !before.findings.iter().any(told)
        };
        self.findings.iter().filter(is_new)
    }
}
