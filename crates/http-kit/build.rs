//! Embeds the error pages of `docs/errors`, so that a service explains its own problem codes without a network.

use std::{env, error::Error, fmt::Write, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("../../docs/errors")
        .canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut pages = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if let (Some("md"), Some(code)) = (
            path.extension().and_then(|extension| extension.to_str()),
            path.file_stem().and_then(|stem| stem.to_str()),
        ) {
            pages.push((code.to_owned(), path.clone()));
        }
    }
    // Sorted: looked up by binary search, listed in order.
    pages.sort();

    let mut source = String::from("pub(super) static PAGES: &[(&str, &str)] = &[\n");
    for (code, path) in pages {
        writeln!(source, "    ({code:?}, include_str!({path:?})),")?;
    }
    source.push_str("];\n");
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("error_pages.rs"),
        source,
    )?;
    Ok(())
}
