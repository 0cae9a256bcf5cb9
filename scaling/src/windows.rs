//! Times of the week with bounds of their own.

use jiff::{
    Timestamp,
    civil::{Time, Weekday},
    tz::TimeZone,
};

/// A time of the week with bounds of its own, by the clock of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it starts; none stands for every day.
    pub days: Vec<Weekday>,
    /// When it starts.
    pub start: Time,
    /// When it ends, itself not included. Not after `start`: on the next day.
    pub end: Time,
    /// The time zone of both.
    pub time_zone: TimeZone,
    /// Least replicas in it.
    pub min: Option<u32>,
    /// Most replicas in it.
    pub max: Option<u32>,
}

impl Window {
    /// Whether the window is open at this instant.
    pub fn contains(&self, at: Timestamp) -> bool {
        let local = self.time_zone.to_datetime(at);
        let (today, time) = (local.weekday(), local.time());
        if self.start < self.end {
            return self.starts_on(today) && self.start <= time && time < self.end;
        }
        (self.starts_on(today) && self.start <= time)
            || (self.starts_on(today.previous()) && time < self.end)
    }

    fn starts_on(&self, day: Weekday) -> bool {
        self.days.is_empty() || self.days.contains(&day)
    }
}
