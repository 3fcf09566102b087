//! `cargo dev logs`: follows log files, each line behind its part's name.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

/// Bytes from the end of each log with which following begins.
const BEGIN: u64 = 4096;

/// Which logs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A service, or kafka, postgres, registry; all of them when left out
    service: Option<String>,
    /// Print what is there and end, instead of following
    #[arg(long)]
    no_follow: bool,
}

/// Prints them until Ctrl-C.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let folder = devstack::place::dev().join("logs");
    let wanted = options.service.as_deref();
    let names = names(&folder);
    if let Some(name) = wanted
        && !names.contains_key(name)
    {
        let known: Vec<_> = names.keys().map(String::as_str).collect();
        bail!(
            "no log of {name:?} in {}; there are: {}",
            folder.display(),
            known.join(", ")
        );
    }
    let mut read: BTreeMap<String, (u64, String)> = BTreeMap::new();
    loop {
        for (name, path) in names_wanted(&folder, wanted) {
            let begin = if options.no_follow && wanted.is_some() {
                u64::MAX
            } else {
                BEGIN
            };
            let (position, rest) = read
                .entry(name.clone())
                .or_insert_with(|| (start(&path, begin), String::new()));
            rest.push_str(&more(&path, position));
            let complete = rest.rfind('\n').map_or(0, |end| end + 1);
            let lines: String = rest.drain(..complete).collect();
            let mut out = std::io::stdout().lock();
            for line in lines.lines() {
                match wanted {
                    Some(_) => writeln!(out, "{line}")?,
                    None => writeln!(out, "{name:<17} {line}")?,
                }
            }
        }
        if options.no_follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn names(folder: &Path) -> BTreeMap<String, PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect()
}

fn names_wanted(folder: &Path, wanted: Option<&str>) -> BTreeMap<String, PathBuf> {
    let mut all = names(folder);
    all.retain(|name, _| wanted.is_none_or(|wanted| wanted == name));
    all
}

/// The beginning of the first whole line within `bytes` of the end.
fn start(path: &Path, bytes: u64) -> u64 {
    let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let from = length.saturating_sub(bytes);
    if from == 0 {
        return 0;
    }
    let mut position = from;
    let text = more(path, &mut position);
    let skipped = text.find('\n').map_or(0, |end| end + 1);
    from + u64::try_from(skipped).unwrap_or(0)
}

/// What was written since `position`, which moves on. A file that became shorter is read from its beginning.
fn more(path: &Path, position: &mut u64) -> String {
    let read = || -> std::io::Result<(u64, Vec<u8>)> {
        let mut file = std::fs::File::open(path)?;
        let from = if file.metadata()?.len() < *position {
            0
        } else {
            *position
        };
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok((from, bytes))
    };
    let Ok((from, bytes)) = read() else {
        return String::new();
    };
    *position = from + u64::try_from(bytes.len()).unwrap_or(0);
    String::from_utf8_lossy(&bytes).into_owned()
}
