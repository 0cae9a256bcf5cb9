//! The worker's program beside real servers: one test program, so that it is linked once and its tests, which mostly
//! wait, run side by side.

mod batches;
mod contract;
mod examples;
mod exec;
mod flood;
mod health;
mod http;
mod http2;
mod http_silent;
mod logs;
mod native;
mod process;
mod start;
mod stdio;
mod stdio_channels;
mod stdio_lines;
mod stop;
mod trace;
