//! Floor 6: the command line, a file for each subcommand.

mod config;
mod export;
mod failure;
mod healthcheck;
mod import;
mod import_state;
mod keys;
mod migrate;
mod openapi;
mod output;
mod porting;
mod serve;
mod sessions;
mod settings;
mod signals;
mod whole_file;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// The version line: what runs here, from which commit, built when.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("CURTAIL_GIT_COMMIT"),
    ", built ",
    env!("CURTAIL_BUILD_TIME"),
    ")"
);

#[derive(Debug, Parser)]
#[command(
    name = "curtail",
    version = VERSION,
    about = "A URL shortener for Google Cloud Run",
    long_about = "A URL shortener for Google Cloud Run.\n\nWithout a subcommand it serves. Settings come from the environment; `curtail config` shows them.",
    after_help = "Exit codes: 0 success, 1 failure, 2 the command line is wrong, 3 an import left some links out.\n\nExample:\n  DATABASE_URL=postgres://curtail@localhost/curtail curtail serve"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests (the default)
    #[command(after_help = "Example:\n  PORT=8080 curtail serve")]
    Serve,
    /// Bring the database's schema to the version of this build
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://curtail@localhost/curtail curtail migrate")]
    Migrate,
    /// Do the jobs that nobody waits for, every hour: partitions, retention, purge
    #[command(
        after_help = "Example:\n  DATABASE_URL=postgres://curtail@localhost/curtail curtail worker --once"
    )]
    Worker {
        /// Do every job once, then exit: with 0 if all went well
        #[arg(long)]
        once: bool,
    },
    /// Make, list and revoke keys of the API, in the database
    #[command(
        subcommand,
        after_help = "Example:\n  curtail keys create --name shop --scope links:create --scope links:read"
    )]
    Keys(keys::Command),
    /// End the sessions of the web interface
    #[command(subcommand, after_help = "Example:\n  curtail sessions rotate")]
    Sessions(sessions::Command),
    /// Take links from a file into the database: our own, or from YOURLS, Shlink, Kutt or Bitly
    #[command(after_help = "Example:\n  curtail import --from shlink --report refused.ndjson links.json")]
    Import(import::Arguments),
    /// Write every link of the database
    #[command(after_help = "Example:\n  curtail export --format csv --output links.csv")]
    Export(export::Arguments),
    /// Exit with 0 if the service on this machine is ready, else with 1
    #[command(after_help = "Example:\n  PORT=8080 curtail healthcheck --live")]
    Healthcheck(healthcheck::Arguments),
    /// Print the description of the API: OpenAPI 3.1 in JSON
    #[command(after_help = "Example:\n  curtail openapi > openapi.json")]
    Openapi,
    /// Print the settings in force, secrets hidden
    #[command(after_help = "Example:\n  PORT=9000 curtail config")]
    Config(config::Arguments),
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    // The image starts without arguments. What describes them is not even made then.
    let command = match std::env::args_os().len() {
        0 | 1 => None,
        _ => Arguments::parse().command,
    };
    let result = match command {
        None | Some(Command::Serve) => serve::serve().map_err(Failure::from),
        Some(Command::Migrate) => migrate::migrate().map_err(Failure::from),
        Some(Command::Worker { once }) => worker::worker(once).map_err(Failure::from),
        Some(Command::Keys(command)) => keys::keys(command).map_err(Failure::from),
        Some(Command::Sessions(command)) => sessions::sessions(&command).map_err(Failure::from),
        Some(Command::Import(arguments)) => import::import(arguments),
        Some(Command::Export(arguments)) => export::export(arguments).map_err(Failure::from),
        Some(Command::Healthcheck(arguments)) => healthcheck::healthcheck(&arguments).map_err(Failure::from),
        Some(Command::Openapi) => openapi::openapi().map_err(Failure::from),
        Some(Command::Config(arguments)) => config::config(&arguments).map_err(Failure::from),
    };
    match result.map_err(Failure::into_parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err((message, code)) => {
            output::note(&format!("curtail: {message}"));
            code
        }
    }
}

/// A runtime on this thread. The HTTP server's workers have threads of their own; what is left, connections
/// and background tasks, needs one.
fn block_on<F: Future>(future: F) -> Result<F::Output, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime
        .map_err(|err| format!("the runtime cannot start: {err}"))?
        .block_on(future))
}
