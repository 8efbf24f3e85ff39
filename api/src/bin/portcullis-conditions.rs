//! Prints every condition and reason as a page: what `cargo xtask generate` writes to `docs/reference/`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().lock().write_all(portcullis_api::condition::page().as_bytes())
}
