//! The disk alone: a kilobyte or many at the end of a file and fdatasync, again and again.

use super::BYTES;
use crate::Result;
use crate::measure::Stretch;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) struct Disk {
    file: File,
}

impl Disk {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        Ok(Self { file: File::create(folder.join("raw"))? })
    }

    pub(super) fn describe(&self) -> String {
        "disk (one write and one fdatasync at a time)".to_string()
    }

    /// Writes so many records together, syncs, and so on.
    pub(super) fn append(&mut self, records: usize, stretch: Duration) -> Result<Stretch> {
        let payload = vec![b'x'; BYTES * records];
        let start = Instant::now();
        let mut waits = Vec::new();
        while start.elapsed() < stretch {
            let one = Instant::now();
            self.file.write_all(&payload)?;
            self.file.sync_data()?;
            waits.push(one.elapsed());
        }
        Ok(Stretch { elapsed: start.elapsed(), appends: waits.len() * records, waits })
    }
}
