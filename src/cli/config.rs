//! `curtail config`

use std::fmt::Write;

use super::output;

/// The arguments of `curtail config`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Exit with 1 if a variable is set that looks like a setting and is not read
    #[arg(long)]
    strict: bool,
}

/// Prints the settings in force, one a line, in the form of an environment file.
pub(super) fn config(arguments: &Arguments) -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    let mut text = String::new();
    for setting in &settings.effective {
        // Writing to a string does not fail.
        let _ = match &setting.value {
            Some(value) => writeln!(text, "{}={value}", setting.name),
            None => writeln!(text, "# {} is unset", setting.name),
        };
    }
    output::write(text.as_bytes())?;
    settings.note_warnings();
    match settings.warnings.len() {
        0 => Ok(()),
        number if arguments.strict => Err(format!("{number} variables are set and not read")),
        _ => Ok(()),
    }
}
