//! `curtail openapi`

use super::output;

/// Prints the description of the API, as the service answers it.
pub(super) fn openapi() -> Result<(), String> {
    let text = crate::http::openapi();
    output::write(text.as_bytes()).map(drop)
}
