//! Append-only JSON lines, one entry a line.
//!
//! Survives a killed process: a line is handed to the operating system before the call is answered. Not synced to the
//! disk: a power cut may take the last lines with it, which a simulator can bear.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::domain::entry::Entry;

#[derive(Debug)]
pub struct LedgerFile {
    file: File,
}

impl LedgerFile {
    /// Opens or makes the file and hands over each entry in it, oldest first. A line cut off by a kill in the middle of
    /// its write is dropped: its call was never answered. A damaged line elsewhere is an error that names it.
    pub fn open(path: &Path, mut entry: impl FnMut(Entry)) -> anyhow::Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .context("cannot be opened")?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut number, mut whole) = (Vec::new(), 0u64, 0u64);
        loop {
            line.clear();
            number += 1;
            let length = reader
                .read_until(b'\n', &mut line)
                .context("cannot be read")?;
            if length == 0 || line.last() != Some(&b'\n') {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(parsed) => entry(parsed),
                Err(error) => bail!(
                    "line {number} is not an entry of this ledger: {error}; mend the line or remove the file"
                ),
            }
            whole += length as u64;
        }
        if !line.is_empty() {
            tracing::warn!(
                line = number,
                "dropped an unfinished line at the end of the ledger file"
            );
            file.set_len(whole)
                .context("cannot be cut to its last whole line")?;
        }
        Ok(Self { file })
    }

    pub fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::entry::{Answer, Decline, Work};
    use crate::domain::money::{Amount, Currency};

    fn entries() -> Vec<Entry> {
        let authorize = Work::Authorize {
            amount_minor: Amount::new(5).unwrap(),
            currency: Currency::new("EUR").unwrap(),
            token: "tok_declined".into(),
            reference: "order-1".into(),
            merchant_account: None,
        };
        let declined = Some(Decline {
            code: "card_declined".into(),
            reason: "no".into(),
        });
        let entry = |key: &str, work: Work, answer| Entry {
            at: DateTime::UNIX_EPOCH,
            key: key.into(),
            work,
            answer,
        };
        vec![
            entry("a", authorize.clone(), Answer::Failed),
            entry(
                "a",
                authorize,
                Answer::Done {
                    id: "auth_1".into(),
                    declined,
                },
            ),
            entry(
                "c",
                Work::Capture {
                    authorization_id: "auth_1".into(),
                },
                Answer::Refused,
            ),
        ]
    }

    fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
        let mut read = Vec::new();
        LedgerFile::open(path, |entry| read.push(entry))?;
        Ok(read)
    }

    #[test]
    fn what_was_written_is_read_back_even_after_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/ledger.jsonl");
        let mut file = LedgerFile::open(&path, |_| ()).unwrap();
        entries()
            .iter()
            .for_each(|entry| file.append(entry).unwrap());
        file.file.write_all(b"{\"at\":\"2026-01-0").unwrap();

        assert_eq!(read(&path).unwrap(), entries());
        LedgerFile::open(&path, |_| ())
            .unwrap()
            .append(&entries()[0])
            .unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        std::fs::write(&path, "not json\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
