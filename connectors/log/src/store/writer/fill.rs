//! Zeros ahead of the writer.
//!
//! A sync makes durable what was written, and with it the length of the file and the blocks it took. Where a commit lands on
//! bytes that are in the file already, there is only the data: on ext4 and XFS such a sync takes two thirds of the time. So
//! while commits are small, the segment is filled with zeros ahead of them, after the waiters are answered. A large
//! commit gains nothing, and would have its bytes written twice.
//!
//! Zeros are no frame, so what reads a segment stops there as it does at its end. None are written beyond the length at which
//! a segment is full, so one that is sealed ends with its last entry. They are cut when the shard is closed; what a crash
//! leaves of them is cut when it is opened.

use super::super::{Error, Result};
use super::Writer;

/// Commits longer than this write where nothing is yet.
const SMALL_COMMIT_BYTES: u64 = 64 << 10;

/// So much is filled at once, at most: it delays the next commit by a fraction of a millisecond.
const FILL_BYTES_MAX: u64 = 512 << 10;

impl Writer {
    /// Fills ahead if the last commit was small and little is left of what was filled before. As much as the segment has
    /// already, so that a short log stays short.
    pub(super) fn fill_ahead(&mut self) {
        let position = self.tail.position;
        let ahead = position.min(FILL_BYTES_MAX);
        let end = (position + ahead).min(self.options.segment_bytes);
        let is_left = self.filled >= (position + ahead / 4).min(end);
        if position < self.options.fill_from || self.last_commit_bytes > SMALL_COMMIT_BYTES || is_left {
            return;
        }
        let start = self.filled.max(position);
        let zeros = vec![0; (end - start) as usize];
        if let Err(error) = self.file.write_all_at(&zeros, start) {
            // A full disk: what is left of it is for entries.
            tracing::debug!(shard = %self.shared.name, %error, "the segment was not filled ahead");
            if let Err(error) = self.cut_filling() {
                tracing::debug!(shard = %self.shared.name, %error, "zeros ahead of the writer were not cut");
            }
            return;
        }
        match self.file.sync_data() {
            Ok(()) => self.filled = end,
            Err(error) => drop(self.poison(&Error::io("sync zeros ahead of the writer", error))),
        }
    }

    /// Makes the segment end where its entries do, and that durable.
    pub(super) fn end_filling(&mut self) -> Result<()> {
        if self.filled <= self.tail.position {
            return Ok(());
        }
        self.cut_filling()?;
        self.file.sync_data().map_err(|error| self.poison(&Error::io("sync a segment that was cut", error)))
    }

    fn cut_filling(&mut self) -> Result<()> {
        let cut = self.file.truncate(self.tail.position);
        cut.map_err(|error| Error::io(format!("cut a segment of shard \"{}\"", self.shared.name), error))?;
        self.filled = self.tail.position;
        Ok(())
    }
}
