//! Prints the description of the API as the code has it now: `cargo run --example openapi > docs/openapi.json`.

fn main() {
    print!("{}", curtail::http::openapi_made_anew());
}
