//! From the text of a trace to what is played.

use std::time::Duration;

use serde::Deserialize;
use taskqueue_scaling::Load;

/// The longest trace, and the most tasks in one: they are played one by one.
const LONGEST: f64 = 366.0 * 86_400.0;
const MOST_TASKS: f64 = 20_000_000.0;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: f64,
    arrivals: f64,
    #[serde(rename = "runMs")]
    run_ms: f64,
}

/// Reads a trace. The error names the line.
pub(super) fn parse(text: &str) -> Result<Vec<Load>, String> {
    let mut loads: Vec<Load> = Vec::new();
    let mut tasks = 0.0;
    let mut headed = false;
    for (number, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if loads.is_empty() && !headed && is_heading(text) {
            headed = true;
            continue;
        }
        let told = |error: String| format!("line {number}: {error}");
        let line = line(text).map_err(told)?;
        let load = load(&line).map_err(told)?;
        if let Some(last) = loads.last() {
            let held = load.at.saturating_sub(last.at).as_secs_f64();
            if held <= 0.0 {
                let before = last.at.as_secs_f64();
                return Err(told(format!(
                    "at is {}, not above {before} of the line before",
                    line.at
                )));
            }
            tasks += last.arrivals * held;
        }
        if tasks > MOST_TASKS {
            return Err(told(format!(
                "more than {MOST_TASKS} tasks so far: play a shorter trace"
            )));
        }
        loads.push(load);
    }
    if loads.len() < 2 {
        return Err("it needs two lines at least: the last one only ends it".to_owned());
    }
    Ok(loads)
}

fn is_heading(text: &str) -> bool {
    !text.starts_with('{') && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn line(text: &str) -> Result<Line, String> {
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let fields: Vec<_> = text.split(',').map(str::trim).collect();
    let [at, arrivals, run_ms] = fields[..] else {
        return Err(format!(
            "it has {} fields, not three: at,arrivals,runMs",
            fields.len()
        ));
    };
    let number = |name: &str, text: &str| {
        let number = text.parse();
        number.map_err(|_| format!("{name} {text:?} is no number"))
    };
    Ok(Line {
        at: number("at", at)?,
        arrivals: number("arrivals", arrivals)?,
        run_ms: number("runMs", run_ms)?,
    })
}

fn load(line: &Line) -> Result<Load, String> {
    let within = |name: &str, value: f64, most: f64| {
        if (0.0..=most).contains(&value) {
            Ok(value)
        } else {
            Err(format!("{name} is {value}, out of the range 0 to {most}"))
        }
    };
    Ok(Load {
        at: Duration::from_secs_f64(within("at", line.at, LONGEST)?),
        arrivals: within("arrivals", line.arrivals, 1_000_000.0)?,
        run: Duration::from_secs_f64(within("runMs", line.run_ms, 86_400_000.0)? / 1000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let expected = [
            Load {
                at: Duration::ZERO,
                arrivals: 2.5,
                run: Duration::from_millis(400),
            },
            Load {
                at: Duration::from_mins(1),
                arrivals: 0.0,
                run: Duration::from_millis(400),
            },
        ];
        for text in [
            "at,arrivals,runMs\n0,2.5,400\n60, 0, 400\n",
            "# recorded on Monday\n{\"at\": 0, \"arrivals\": 2.5, \"runMs\": 400}\n\n{\"at\": 60, \"arrivals\": 0, \"runMs\": 400}",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(&expected[..]), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("", "two lines at least"),
            ("0,1,1", "two lines at least"),
            ("0,1,1\n0,1,1", "line 2: at is 0, not above 0"),
            ("0,1,1\n1,x,1", "line 2: arrivals \"x\" is no number"),
            ("0,1\n1,1,1", "line 1: it has 2 fields"),
            ("0,1,1\n1,-1,1", "line 2: arrivals is -1, out of the range"),
            ("0,1,1\n1,NaN,1", "line 2: arrivals is NaN"),
            (
                "0,1,1\n1e9,1,1",
                "line 2: at is 1000000000, out of the range",
            ),
            ("0,1000000,1\n30,1,1", "line 2: more than 20000000 tasks"),
            ("{\"at\": 0}\n1,1,1", "line 1: missing field"),
            (
                "{\"at\": 0, \"arrivals\": 1, \"runMs\": 1, \"x\": 1}",
                "line 1: unknown field `x`",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
