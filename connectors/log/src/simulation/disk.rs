//! A disk in memory, as unkind as file systems may be.
//!
//! - What was written and not synced is lost, kept, or half of each at a crash, sector by sector, in any order.
//! - Names that were created, renamed or removed and whose folder was not synced may or may not be.
//! - A failed sync has written some sectors and forgotten the others: they look written until the next crash, and no
//!   later sync writes them.
//! - Any call may fail; a failed write has written a part. The disk may be full.

mod image;

use super::chance::Chance;
use crate::store::files::{File, Files, Mode};
use image::{Image, Node};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files in memory. Clones share the disk, and the process that uses it: when the power fails, all calls of that
/// process fail from then on, and [`booted`](Self::booted) gives the next one.
#[derive(Clone)]
pub struct SimFiles {
    disk: Arc<Mutex<Disk>>,
    boot: u64,
}

struct Disk {
    image: Image,
    chance: Chance,
    /// Handles of an earlier boot are dead.
    boot: u64,
    /// One call in so many fails; 0 for none.
    fault_once_in: u64,
    /// The power fails at the call after so many.
    crash_after: Option<u64>,
    capacity_bytes: Option<u64>,
    crashes: u64,
    locked: bool,
    syncs_fail: bool,
    folder_syncs_fail: bool,
}

/// An open file.
struct SimFile {
    disk: SimFiles,
    inode: usize,
}

fn dead() -> io::Error {
    io::Error::other("the power is off")
}

impl SimFiles {
    pub(crate) fn new(chance: Chance) -> Self {
        let disk = Disk {
            image: Image::default(),
            chance,
            boot: 0,
            fault_once_in: 0,
            crash_after: None,
            capacity_bytes: None,
            crashes: 0,
            locked: false,
            syncs_fail: false,
            folder_syncs_fail: false,
        };
        Self { disk: Arc::new(Mutex::new(disk)), boot: 0 }
    }

    /// The disk as the process sees it that runs now.
    pub fn booted(&self) -> Self {
        let boot = self.disk().boot;
        Self { disk: Arc::clone(&self.disk), boot }
    }

    /// An empty disk whose faults come from a seed.
    pub fn with_seed(seed: u64) -> Self {
        Self::new(Chance::new(seed))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on one call in so many fails; 0 for none.
    pub fn set_faults(&self, once_in: u64) {
        self.disk().fault_once_in = once_in;
    }

    /// The power will fail at the call after so many.
    pub fn crash_after(&self, calls: u64) {
        self.disk().crash_after = Some(calls);
    }

    /// The power fails now.
    pub fn crash(&self) {
        self.disk().crash();
    }

    /// How often the power has failed.
    pub fn crashes(&self) -> u64 {
        self.disk().crashes
    }

    /// From now on every sync of a file fails, or none.
    #[cfg(test)]
    pub(crate) fn set_syncs_fail(&self, fail: bool) {
        self.disk().syncs_fail = fail;
    }

    /// From now on every sync of a folder fails, or none.
    #[cfg(test)]
    pub(crate) fn set_folder_syncs_fail(&self, fail: bool) {
        self.disk().folder_syncs_fail = fail;
    }

    /// Leaves so many bytes free; `None` for no end of them.
    pub fn set_free(&self, bytes: Option<u64>) {
        let mut disk = self.disk();
        disk.capacity_bytes = bytes.map(|bytes| disk.image.used_bytes() + bytes);
    }

    /// Ends all faults and forgets a crash that was to come.
    pub fn calm(&self) {
        let mut disk = self.disk();
        disk.fault_once_in = 0;
        disk.crash_after = None;
        disk.capacity_bytes = None;
    }

    /// Flips one bit of one file, at rest; tells where.
    pub(crate) fn flip(&self, chance: &mut Chance) -> Option<String> {
        self.disk().image.flip(chance)
    }

    /// What is on the disk, to be put back.
    pub(crate) fn snapshot(&self) -> impl FnOnce(&Self) + use<> {
        let image = self.disk().image.clone();
        move |files| files.disk().image = image
    }
}

impl Disk {
    fn crash(&mut self) {
        self.boot += 1;
        self.crashes += 1;
        self.crash_after = None;
        self.locked = false;
        let Self { image, chance, .. } = self;
        image.crash(chance);
    }

    /// Every call passes here: it may be the last before the power fails, or fail by itself.
    fn call(&mut self, boot: u64) -> io::Result<()> {
        if boot != self.boot {
            return Err(dead());
        }
        match self.crash_after {
            Some(0) => {
                self.crash();
                return Err(dead());
            }
            Some(calls) => self.crash_after = Some(calls - 1),
            None => {}
        }
        if self.fault_once_in > 0 && self.chance.once_in(self.fault_once_in) {
            // EIO and EMFILE.
            return Err(io::Error::from_raw_os_error(if self.chance.once_in(4) { 24 } else { 5 }));
        }
        Ok(())
    }

    /// How much of a write there is room for.
    fn room(&self, inode: usize, end: u64) -> u64 {
        let grows = end.saturating_sub(self.image.inode(inode).len());
        let free = self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.image.used_bytes()));
        end - grows.saturating_sub(free)
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        let inode = match mode {
            Mode::Read | Mode::Write => disk.image.file(path)?,
            Mode::Create => disk.image.create(path)?,
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        disk.image.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        disk.image.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        disk.image.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        disk.image.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        if disk.folder_syncs_fail {
            return Err(io::Error::from_raw_os_error(5));
        }
        disk.image.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut disk = self.disk();
        disk.call(self.boot)?;
        if std::mem::replace(&mut disk.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if disk.image.file(path).is_err() {
            disk.image.create(path)?;
        }
        drop(disk);
        Ok(Box::new(Unlock(self.clone())))
    }
}

struct Unlock(SimFiles);

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut disk = self.0.disk();
        // The lock of a process that a crash has ended is gone already.
        if disk.boot == self.0.boot {
            disk.locked = false;
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut disk = self.disk.disk();
        disk.call(self.disk.boot)?;
        Ok(disk.image.inode(self.inode).read(buffer, position))
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let alive = disk.boot == self.disk.boot;
        let called = if disk.crash_after == Some(0) && alive {
            let part = disk.chance.below(bytes.len() as u64 + 1) as usize;
            disk.image.inode_mut(self.inode).write(&bytes[..part], position);
            disk.call(self.disk.boot)
        } else {
            disk.call(self.disk.boot)
        };
        if let Err(error) = called {
            if alive && disk.boot == self.disk.boot {
                // A short write.
                let part = disk.chance.below(bytes.len() as u64 + 1) as usize;
                disk.image.inode_mut(self.inode).write(&bytes[..part], position);
            }
            return Err(error);
        }
        let room = disk.room(self.inode, position + bytes.len() as u64).saturating_sub(position);
        let part = bytes.len().min(room as usize);
        disk.image.inode_mut(self.inode).write(&bytes[..part], position);
        // ENOSPC.
        if part < bytes.len() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let before = disk.boot;
        let called = disk.call(self.disk.boot);
        let called = if disk.syncs_fail { called.and(Err(io::Error::from_raw_os_error(5))) } else { called };
        match called {
            Ok(()) => {
                disk.image.inode_mut(self.inode).sync();
                Ok(())
            }
            Err(error) => {
                if before == self.disk.boot && disk.boot == self.disk.boot {
                    let mut chance = disk.chance.split();
                    disk.image.inode_mut(self.inode).sync_badly(&mut chance);
                }
                Err(error)
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        let mut disk = self.disk.disk();
        disk.call(self.disk.boot)?;
        Ok(disk.image.inode(self.inode).len())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.call(self.disk.boot)?;
        disk.image.inode_mut(self.inode).truncate(bytes);
        Ok(())
    }
}

type Names = BTreeMap<String, Node>;
