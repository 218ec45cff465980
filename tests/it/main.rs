//! Every test of the whole service, in one binary.
#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may panic, and exports nothing"
)]

mod abuse;
mod admission;
mod api_fuzz;
mod app;
mod aside_suite;
mod audit;
mod batches;
mod breaker;
mod browser;
mod bulletin;
mod cache_codec;
mod cache_open;
mod cache_suite;
mod change_tail;
mod changes_recorded;
mod changes_suite;
mod clicks_api;
mod clicks_faults;
mod clicks_suite;
mod clients;
mod contract;
mod db;
mod deploy;
mod exporter;
mod floors;
mod ground;
mod keys_api;
mod limits;
mod links_api;
mod links_list;
mod log_level;
mod log_lines;
mod manage_pages;
mod metrics;
mod migrate;
mod monitoring;
mod openapi;
mod operations;
mod otlp;
mod porting;
mod porting_cli;
mod porting_input;
mod postgres;
mod postgres_faults;
mod postgres_settings;
mod postgres_tls;
mod process;
mod qr_codes;
mod redirects;
mod redis_cluster;
mod redis_faults;
mod redis_lies;
mod redis_nodes;
mod redis_server;
mod redis_threads;
mod resolver;
mod server;
mod settings;
mod shorten_page;
mod slugs;
mod sqlite;
mod store_suite;
mod targets;
mod traces;
mod visitor_pages;
mod web_interface;
mod web_interface_pages;
mod webdriver;
mod worker;
mod yourls;
