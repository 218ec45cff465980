//! Curtail: a URL shortener for Google Cloud Run.
//!
//! The modules are floors. Each uses only those below it; `tests/it/floors.rs` keeps that.
//!
//! | floor | module | what lives there |
//! | --- | --- | --- |
//! | 6 | [`cli`] | one file for each subcommand |
//! | 5 | [`app`] | the wiring: build, bind, run, stop |
//! | 4 | [`http`], [`worker`] | routes, handlers, problems; hourly jobs |
//! | 3 | [`service`] | links, resolver, clicks, statistics, keys, health |
//! | 2 | [`store`], [`cache`] | Postgres and SQLite; memory and Redis |
//! | 1 | [`config`], [`telemetry`], [`lifecycle`] | settings; log and metrics; tasks and their end |
//! | 0 | [`domain`] | slug, target, link, redirect, click, clock |

// A macro that prints panics when its reader has left: see `cli::output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod lifecycle;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod worker;
