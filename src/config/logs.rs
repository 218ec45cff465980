//! What is logged, and how.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use super::Env;

/// The settings of the log.
#[derive(Debug, Clone)]
pub struct Logs {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written: the directives of `RUST_LOG`.
    pub filter: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, with the field names of Cloud Logging.
    Json,
    /// For a person at a terminal.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("json or text"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

impl Logs {
    pub(super) fn read(env: &mut Env) -> Self {
        let default = if std::io::stdout().is_terminal() {
            LogFormat::Text
        } else {
            LogFormat::Json
        };
        Self {
            format: env.parsed_or("LOG_FORMAT", default),
            filter: env.parsed_or("RUST_LOG", "info".to_owned()),
        }
    }
}
