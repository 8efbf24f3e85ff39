//! Prints every CustomResourceDefinition as YAML documents: what `cargo xtask generate` writes to `crds/`.

use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for crd in portcullis_api::crd::all() {
        writeln!(out, "---")?;
        out.write_all(serde_norway::to_string(&crd)?.as_bytes())?;
    }
    Ok(())
}
