//! What an exit status means for the task. Pure.
//!
//! | exit status | task |
//! |---|---|
//! | 0 | completed |
//! | 65 (`EX_DATAERR`) | dead-lettered: no retry can help |
//! | 75 (`EX_TEMPFAIL`) | a failed attempt, retried while there are attempts left |
//! | anything else, a signal too | the same; the message names it |

use std::os::unix::process::ExitStatusExt;

use crate::process::{Ending, memory_words, signal_name};

const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;

/// What an exit status means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry { error: String },
    Dead { error: String },
}

/// Judges an attempt by its exit status; `last_words` are the end of its standard error.
pub(super) fn judge(ending: Ending, last_words: &str) -> Verdict {
    let Ending { status, memory } = ending;
    let because = |what: String| {
        let what = what + memory_words(status, memory);
        if last_words.is_empty() {
            what
        } else {
            format!("{what}: {last_words}")
        }
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Done,
        (Some(EX_DATAERR), _) => Verdict::Dead {
            error: because("exit status 65 (EX_DATAERR)".to_owned()),
        },
        (Some(EX_TEMPFAIL), _) => Verdict::Retry {
            error: because("exit status 75 (EX_TEMPFAIL)".to_owned()),
        },
        (Some(code), _) => Verdict::Retry {
            error: because(format!("exit status {code}")),
        },
        (None, Some(number)) => Verdict::Retry {
            error: because(format!("killed by {}", signal_name(number))),
        },
        (None, None) => Verdict::Retry {
            error: because(format!("ended without a status ({status})")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn ended(raw: i32) -> Ending {
        Ending {
            status: ExitStatus::from_raw(raw),
            memory: false,
        }
    }

    fn exit(code: i32) -> Ending {
        ended(code << 8)
    }

    fn retry(error: &str) -> Verdict {
        Verdict::Retry {
            error: error.to_owned(),
        }
    }

    #[test]
    fn exit_0_is_done_whatever_was_said() {
        assert_eq!(judge(exit(0), "a warning"), Verdict::Done);
    }

    #[test]
    fn exit_65_is_dead() {
        assert_eq!(
            judge(exit(65), "no such image"),
            Verdict::Dead {
                error: "exit status 65 (EX_DATAERR): no such image".to_owned()
            }
        );
    }

    #[test]
    fn exit_75_retries() {
        assert_eq!(judge(exit(75), ""), retry("exit status 75 (EX_TEMPFAIL)"));
    }

    #[test]
    fn any_other_status_is_a_failed_attempt() {
        for code in [1, 2, 64, 66, 74, 76, 126, 127, 255] {
            assert_eq!(
                judge(exit(code), "oh"),
                retry(&format!("exit status {code}: oh"))
            );
        }
    }

    #[test]
    fn a_signal_is_named() {
        assert_eq!(judge(ended(9), ""), retry("killed by SIGKILL"));
        assert_eq!(
            judge(ended(0x8b), "core dumped"),
            retry("killed by SIGSEGV: core dumped")
        );
        assert_eq!(judge(ended(40), ""), retry("killed by signal 40"));
    }

    #[test]
    fn a_command_that_was_killed_for_memory_says_so() {
        let judged = |raw| {
            let mut ending = ended(raw);
            ending.memory = true;
            judge(ending, "")
        };
        assert_eq!(
            judged(9),
            retry("killed by SIGKILL, because the container's memory limit was reached")
        );
        assert_eq!(
            judged(137 << 8),
            retry("exit status 137, because the container's memory limit was reached")
        );
        let Verdict::Retry { error } = judged(1 << 8) else {
            unreachable!("it is retried");
        };
        assert!(
            error.starts_with("exit status 1 (meanwhile the kernel killed a process"),
            "{error}"
        );
        assert_eq!(judged(0), Verdict::Done);
    }
}
