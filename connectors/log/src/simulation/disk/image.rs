//! What is on the disk: as processes see it, and as it will be after a crash.

use super::super::chance::Chance;
use super::Names;
use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path};

/// A disk writes so many bytes at once, or not.
const SECTOR_BYTES: usize = 512;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    File(usize),
    Folder(usize),
}

/// All files and folders. The first folder is the root.
#[derive(Clone)]
pub(super) struct Image {
    inodes: Vec<Inode>,
    folders: Vec<Folder>,
}

impl Default for Image {
    fn default() -> Self {
        Self { inodes: Vec::new(), folders: vec![Folder::default()] }
    }
}

#[derive(Clone, Default)]
struct Folder {
    names: Names,
    durable: Names,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Set(String, Node),
    Remove(String),
    Rename(String, String, Node),
}

impl Folder {
    fn apply(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Set(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// The bytes of a file.
#[derive(Clone, Default)]
pub(super) struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that a sync would write.
    dirty: BTreeSet<usize>,
    length_is_dirty: bool,
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Image {
    pub(super) fn inode(&self, inode: usize) -> &Inode {
        &self.inodes[inode]
    }

    pub(super) fn inode_mut(&mut self, inode: usize) -> &mut Inode {
        &mut self.inodes[inode]
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.inodes.iter().map(Inode::len).sum()
    }

    fn folder(&self, path: &Path) -> io::Result<usize> {
        path.components().try_fold(0, |folder, component| match component {
            Component::Normal(name) => match self.folders[folder].names.get(name.to_str().ok_or_else(not_found)?) {
                Some(Node::Folder(folder)) => Ok(*folder),
                _ => Err(not_found()),
            },
            _ => Ok(folder),
        })
    }

    /// The folder that a path lies in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(not_found)?;
        Ok((self.folder(path.parent().ok_or_else(not_found)?)?, name.to_string()))
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let (folder, name) = self.place(path)?;
        self.folders[folder].names.get(&name).copied().ok_or_else(not_found)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path)? {
            Node::File(inode) => Ok(inode),
            Node::Folder(_) => Err(not_found()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        if let Ok(inode) = self.file(path) {
            self.inodes[inode].truncate(0);
            return Ok(inode);
        }
        let (folder, name) = self.place(path)?;
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.folders[folder].apply(Change::Set(name, Node::File(inode)));
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.folder(path).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir(parent)?;
        }
        let (folder, name) = self.place(path)?;
        let made = self.folders.len();
        self.folders.push(Folder::default());
        self.folders[folder].apply(Change::Set(name, Node::Folder(made)));
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.folders[self.folder(path)?].names.keys().cloned().collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.node(from)?;
        let ((folder, from), (target, to)) = (self.place(from)?, self.place(to)?);
        assert_eq!(folder, target, "the store renames within a folder");
        self.folders[folder].apply(Change::Rename(from, to, node));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.node(path)?;
        let (folder, name) = self.place(path)?;
        self.folders[folder].apply(Change::Remove(name));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder(path)?;
        let folder = &mut self.folders[folder];
        folder.pending.clear();
        folder.durable = folder.names.clone();
        Ok(())
    }

    /// The power fails. Some crashes lose all that can be lost, some nothing, most a part.
    pub(super) fn crash(&mut self, chance: &mut Chance) {
        let kept_of_8 = [0, 8, 4, 1, 7][chance.below(5) as usize];
        for folder in &mut self.folders {
            for change in std::mem::take(&mut folder.pending) {
                if chance.below(8) < kept_of_8 {
                    change.apply(&mut folder.durable);
                }
            }
            folder.names = folder.durable.clone();
        }
        for inode in &mut self.inodes {
            inode.crash(chance, kept_of_8);
        }
        self.forget_unnamed();
    }

    /// Files without a name take no room.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<_> = self.folders.iter().flat_map(|folder| folder.names.values()).collect();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !named.contains(&Node::File(number)) {
                *inode = Inode::default();
            }
        }
    }

    /// Flips one bit of a file that has a name.
    pub(super) fn flip(&mut self, chance: &mut Chance) -> Option<String> {
        let names = self.folders.iter().flat_map(|folder| folder.names.iter());
        let files: Vec<_> = names
            .filter_map(|(name, node)| match node {
                Node::File(inode) => Some((name.clone(), *inode)),
                Node::Folder(_) => None,
            })
            .filter(|(_, inode)| !self.inodes[*inode].content.is_empty())
            .collect();
        let (name, inode) = files.get(chance.below(files.len() as u64) as usize)?.clone();
        let inode = &mut self.inodes[inode];
        let position = chance.below(inode.len()) as usize;
        let bit = 1 << chance.below(8);
        inode.content[position] ^= bit;
        if let Some(byte) = inode.durable.get_mut(position) {
            *byte ^= bit;
        }
        Some(format!("{name}, byte {position} of {}", inode.content.len()))
    }
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.content.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let start = self.content.len().min(position as usize);
        let count = buffer.len().min(self.content.len() - start);
        buffer[..count].copy_from_slice(&self.content[start..start + count]);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        if bytes.is_empty() {
            return;
        }
        let (start, end) = (position as usize, position as usize + bytes.len());
        if end > self.content.len() {
            self.content.resize(end, 0);
        }
        self.length_is_dirty |= end > self.durable.len();
        self.content[start..end].copy_from_slice(bytes);
        self.dirty.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn truncate(&mut self, bytes: u64) {
        self.content.resize(bytes as usize, 0);
        self.length_is_dirty = true;
        // The sector of the cut is written anew, with zeros behind it.
        self.dirty.insert(bytes as usize / SECTOR_BYTES);
    }

    pub(super) fn sync(&mut self) {
        if std::mem::take(&mut self.length_is_dirty) {
            self.durable.resize(self.content.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            self.write_sector(sector);
        }
    }

    /// Some sectors are written, all are forgotten.
    pub(super) fn sync_badly(&mut self, chance: &mut Chance) {
        if std::mem::take(&mut self.length_is_dirty) && chance.once_in(2) {
            self.durable.resize(self.content.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if chance.once_in(2) {
                self.write_sector(sector);
            }
        }
    }

    fn write_sector(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.content.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.content[start..end]);
        }
    }

    fn crash(&mut self, chance: &mut Chance, kept_of_8: u64) {
        if std::mem::take(&mut self.length_is_dirty) && chance.below(8) < kept_of_8 {
            self.durable.resize(self.content.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if chance.below(8) < kept_of_8 {
                self.write_sector(sector);
            }
        }
        self.content = self.durable.clone();
    }
}
