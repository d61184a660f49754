//! The file operations that the store uses, and no others: what a simulation has to imitate.
//!
//! Durability is explicit, as the strictest file systems have it:
//!
//! 1. What was written is durable once [`File::sync_data`] of that file has returned `Ok`; its length is part of that.
//! 2. That a file exists under a name is durable once [`Files::sync_dir`] of its folder has returned `Ok`, after a
//!    creation, a rename and a removal alike.
//! 3. After a failed sync nothing is known of what was written since the last good one, and a later `Ok` proves nothing
//!    about it: the kernel may have dropped the bytes and called the pages clean.
//! 4. [`Files::rename`] replaces the target atomically.

mod os;

pub use os::OsFiles;

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// An empty file, to read and write, in the place of any earlier one.
    Create,
}

/// A directory tree.
pub trait Files: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>>;
    /// Makes a folder; it is no error if it is there. Parents are made as well.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Gives a file or a folder another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Those who have it open go on reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the file at `path` for this process alone, until the guard is dropped or the process ends.
    /// [`io::ErrorKind::WouldBlock`] if another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// An open file. Positions are given with every call, so that readers and the writer share a handle.
pub trait File: Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all bytes, or fails having written some of them.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Cuts, or extends with zeros.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// Reads until `buffer` is full or the file ends; tells how many bytes there were.
pub(crate) fn read_full_at(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of a file that is expected to be small.
pub(crate) fn read_small(files: &dyn Files, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = files.open(path, Mode::Read)?;
    let bytes = file.length()?.min(bytes_max);
    let mut content = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    let filled = read_full_at(file.as_ref(), &mut content, 0)?;
    content.truncate(filled);
    Ok(content)
}
