//! `curtail openapi`

use std::io::Write;

/// Prints the description of the API, as the service answers it.
pub(super) fn openapi() -> Result<(), String> {
    let text = crate::http::openapi();
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|err| format!("the document could not be written: {err}"))
}
