//! `tq` beside real servers: one test program, so that it is linked once and its tests run side by side.
#![allow(clippy::print_stdout, reason = "a test may say what it saw")]

mod admin;
mod clock;
mod control;
mod doctor;
mod enqueue;
mod escapes;
mod look;
mod simulate;
mod terminal;
mod usage;
mod watch;
