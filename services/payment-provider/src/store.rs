//! The ledger with its file: an entry is in the file before the call that caused it is answered.

pub mod file;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use self::file::LedgerFile;
use crate::domain::entry::Entry;
use crate::domain::ledger::Ledger;

/// The provider's whole state, shared by its requests.
#[derive(Debug)]
pub struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
pub struct Pages {
    pub ledger: Ledger,
    file: Option<LedgerFile>,
}

impl Book {
    /// Reads the ledger back from its file; without a file the ledger lives in memory.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let mut ledger = Ledger::default();
        let file = match path {
            Some(path) => Some(
                LedgerFile::open(path, |entry| ledger.apply(entry))
                    .with_context(|| format!("ledger file {}", path.display()))?,
            ),
            None => None,
        };
        Ok(Self {
            pages: Mutex::new(Pages { ledger, file }),
        })
    }

    /// The lock is held for a decision and one short write, never across an await: deciding and recording are one step,
    /// so two calls with one key cannot both do the work.
    pub fn lock(&self) -> MutexGuard<'_, Pages> {
        // A panic of another request cannot leave half an entry: `record` writes first and then applies.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// Writes the entry, then applies it. An entry that cannot be written has not happened.
    pub fn record(&mut self, entry: Entry) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.append(&entry)?;
        }
        self.ledger.apply(entry);
        Ok(())
    }
}
