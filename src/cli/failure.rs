//! Why a command failed, and its exit code. 2 for a command line that cannot be parsed comes from clap.

use std::process::ExitCode;

/// Why a command did not do all that was asked, in a sentence.
#[derive(Debug)]
pub(super) enum Failure {
    /// It failed. Exit code 1.
    Failed(String),
    /// The arguments do not go together. Exit code 2.
    Usage(String),
    /// A part was done, and the rest was refused. Exit code 3.
    Partial(String),
}

impl Failure {
    /// The sentence and the exit code.
    pub(super) fn into_parts(self) -> (String, ExitCode) {
        match self {
            Self::Failed(text) => (text, ExitCode::FAILURE),
            Self::Usage(text) => (text, ExitCode::from(2)),
            Self::Partial(text) => (text, ExitCode::from(3)),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}
