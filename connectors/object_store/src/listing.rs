//! Which files are which table. Listed anew by each statement; the rules are in the crate's documentation.

use crate::error::Place;
use crate::format::{Compression, FileName, Format};
use crate::glob;
use crate::options::ReadSettings;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use polder_catalog::{Error, Result, SqlState};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The schema that is the location itself.
pub(crate) const ROOT_SCHEMA: &str = "public";

/// Folders looked into at once, to tell tables from schemas.
const FOLDERS_AT_ONCE: usize = 16;

/// A store with a place in it.
#[derive(Clone, Debug)]
pub(crate) struct Lister {
    pub(crate) place: Place,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) read: ReadSettings,
    pub(crate) levels: Arc<Levels>,
}

/// What one statement has found in folders: each is looked into once, however many tables are looked for.
#[derive(Debug, Default)]
pub(crate) struct Levels(Mutex<HashMap<Path, Arc<OnceCell<Arc<Level>>>>>);

/// One file of a table.
#[derive(Clone, Debug)]
pub(crate) struct DataFile {
    pub(crate) meta: ObjectMeta,
    /// The path below the table's folder, for `key=value` parts.
    pub(crate) relative: String,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
}

/// The files of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableFiles {
    /// The path below the location: of a file, of a folder with a slash, or a pattern. The same as in the listing.
    pub(crate) id: String,
    /// What EXPLAIN calls the table: a file, a folder with a slash, or a pattern.
    pub(crate) target: String,
    pub(crate) files: Vec<DataFile>,
}

/// What lies directly in a folder, hidden names left out.
#[derive(Debug, Default)]
pub(crate) struct Level {
    files: Vec<ObjectMeta>,
    folders: Vec<String>,
}

/// What a folder directly below the location is.
enum FolderKind {
    Table,
    Schema,
    Nothing,
}

impl Lister {
    /// The names of all schemas, in order.
    pub(crate) async fn schemas(&self) -> Result<Vec<String>> {
        let level = self.root_level().await?;
        let kinds = self.folder_kinds(&level).await?;
        let mut schemas: Vec<String> =
            kinds.into_iter().filter(|(_, kind)| matches!(kind, FolderKind::Schema)).map(|(name, _)| name).collect();
        schemas.push(ROOT_SCHEMA.to_string());
        schemas.sort();
        Ok(schemas)
    }

    /// The tables of a schema: names, with the path below the location as id.
    pub(crate) async fn tables(&self, schema: &str) -> Result<Vec<(String, String)>> {
        let (level, folders, prefix) = if schema == ROOT_SCHEMA {
            let level = self.root_level().await?;
            let kinds = self.folder_kinds(&level).await?;
            let tables = kinds.into_iter().filter(|(_, kind)| matches!(kind, FolderKind::Table));
            (level, tables.map(|(name, _)| name).collect(), String::new())
        } else {
            let Some(folder) = self.below(&self.root, schema) else { return Ok(Vec::new()) };
            let level = self.level(&folder).await?;
            if !is_schema(schema, &level) {
                return Ok(Vec::new());
            }
            let folders = level.folders.clone();
            (level, folders, format!("{schema}/"))
        };
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for folder in folders {
            names.entry(folder.clone()).or_default().push(format!("{folder}/"));
        }
        for file in level.files.iter().filter_map(|file| self.classified(file)) {
            names.entry(file.0.to_string()).or_default().push(file.1.to_string());
        }
        let mut tables = Vec::new();
        for (stem, full) in names {
            match full.as_slice() {
                [one] => tables.push((stem, format!("{prefix}{one}"))),
                several => tables.extend(several.iter().map(|one| (one.clone(), format!("{prefix}{one}")))),
            }
        }
        tables.sort();
        Ok(tables)
    }

    /// The files of one table; `None` if there is no such table.
    pub(crate) async fn table(&self, schema: &str, table: &str) -> Result<Option<TableFiles>> {
        let Some(base) = self.schema_folder(schema).await? else { return Ok(None) };
        if let Some(found) = self.named(&base, table).await? {
            return Ok(Some(found));
        }
        if glob::is_pattern(table) {
            return self.matching(&base, table).await.map(Some);
        }
        Ok(None)
    }

    async fn schema_folder(&self, schema: &str) -> Result<Option<Path>> {
        if schema == ROOT_SCHEMA {
            return Ok(Some(self.root.clone()));
        }
        let Some(folder) = self.below(&self.root, schema) else { return Ok(None) };
        let level = self.level(&folder).await?;
        Ok(is_schema(schema, &level).then_some(folder))
    }

    /// A table by its name: a stem, a full file name, a folder, or a folder with a slash.
    async fn named(&self, base: &Path, table: &str) -> Result<Option<TableFiles>> {
        let folder_name = table.strip_suffix('/').unwrap_or(table);
        let Some(folder) = self.below(base, folder_name) else { return Ok(None) };
        let (level, beneath) = futures::try_join!(self.level(base), self.everything(&folder))?;
        let has_folder = level.folders.iter().any(|name| name == folder_name) && !is_hidden(folder_name);
        let folder_table = || self.folder_table(&folder, beneath.clone());
        if table.ends_with('/') {
            return if has_folder { folder_table().map(Some) } else { Ok(None) };
        }
        let full = level.files.iter().find(|file| file.location.filename() == Some(table));
        if let Some(file) = full {
            return self.file_table(file).map(Some);
        }
        let stems: Vec<_> =
            level.files.iter().filter(|file| self.classified(file).is_some_and(|(stem, _)| stem == table)).collect();
        match (stems.as_slice(), has_folder) {
            ([], false) => Ok(None),
            ([], true) if base == &self.root && is_schema(folder_name, &level_of(&folder, &beneath)) => Ok(None),
            ([], true) => folder_table().map(Some),
            ([one], false) => self.file_table(one).map(Some),
            (several, _) => Err(self.ambiguous(table, several, has_folder)),
        }
    }

    fn file_table(&self, file: &ObjectMeta) -> Result<TableFiles> {
        let name = file.location.filename().unwrap_or_default().to_string();
        let data = self.data_file(file.clone(), name.clone())?;
        let data = data.ok_or_else(|| {
            self.place
                .bad_file(&file.location, "is of no known format")
                .with_hint("known are .parquet, .csv, .tsv, .ndjson, .jsonl, .json, .arrow, .feather and .ipc; for another name set option \"format\"")
        })?;
        let (id, target) = (self.below_root(&file.location), self.place.location.display(&file.location));
        Ok(TableFiles { id, target, files: vec![data] })
    }

    fn folder_table(&self, folder: &Path, beneath: Vec<(String, ObjectMeta)>) -> Result<TableFiles> {
        self.refuse_table_format(folder, &beneath)?;
        let target = format!("{}/", self.place.location.display(folder));
        let files = self.data_files(beneath)?;
        if files.is_empty() {
            return Err(Error::fix(SqlState::NO_FILE, format!("catalog \"{}\": {target} holds no file to read", self.place.catalog))
                .with_hint("a table needs at least one .parquet, .csv, .tsv, .ndjson, .jsonl, .json, .arrow, .feather or .ipc file; names that begin with . or _ are hidden"));
        }
        Ok(TableFiles { id: format!("{}/", self.below_root(folder)), target, files })
    }

    async fn matching(&self, base: &Path, pattern: &str) -> Result<TableFiles> {
        let fixed = glob::fixed_folder(pattern);
        let folder = if fixed.is_empty() { Some(base.clone()) } else { self.below(base, fixed) };
        let target = format!("{}/{pattern}", self.place.location.display(base));
        let none = || {
            Error::fix(SqlState::NO_TABLE, format!("catalog \"{}\": no file matches {target}", self.place.catalog))
                .with_hint("* and ? match within one name, ** across folders; hidden files never match")
        };
        let Some(folder) = folder else { return Err(none()) };
        let beneath = self.everything(&folder).await?;
        let prefix = if fixed.is_empty() { String::new() } else { format!("{fixed}/") };
        let matched = beneath
            .into_iter()
            .map(|(relative, meta)| (format!("{prefix}{relative}"), meta))
            .filter(|(relative, _)| glob::matches(pattern, relative))
            .collect();
        let files = self.data_files(matched)?;
        let id = match self.below_root(base) {
            schema if schema.is_empty() => pattern.to_string(),
            schema => format!("{schema}/{pattern}"),
        };
        if files.is_empty() { Err(none()) } else { Ok(TableFiles { id, target, files }) }
    }

    /// The files that are read, in the order of their paths.
    fn data_files(&self, files: Vec<(String, ObjectMeta)>) -> Result<Vec<DataFile>> {
        let mut data = Vec::with_capacity(files.len());
        for (relative, meta) in files {
            if !is_hidden_path(&relative) {
                data.extend(self.data_file(meta, relative)?);
            }
        }
        data.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        Ok(data)
    }

    fn data_file(&self, meta: ObjectMeta, relative: String) -> Result<Option<DataFile>> {
        let name = FileName::parse(meta.location.filename().unwrap_or_default());
        let Some(format) = self.read.format.or(name.format) else { return Ok(None) };
        let compression = name.compression;
        if compression != Compression::None && !format.is_text() {
            return Err(self
                .place
                .bad_file(&meta.location, format!("is a compressed {format} file, which cannot be read in parts"))
                .with_hint(format!("decompress it: {format} compresses its columns inside the file")));
        }
        Ok(Some(DataFile { meta, relative, format, compression }))
    }

    /// Stem and full name of a file that may be a table.
    fn classified<'a>(&self, file: &'a ObjectMeta) -> Option<(&'a str, &'a str)> {
        let full = file.location.filename()?;
        let name = FileName::parse(full);
        (name.format.is_some() || self.read.format.is_some()).then_some((name.stem, full))
    }

    fn ambiguous(&self, table: &str, files: &[&ObjectMeta], has_folder: bool) -> Error {
        let mut names: Vec<String> =
            files.iter().filter_map(|file| file.location.filename()).map(str::to_string).collect();
        if has_folder {
            names.push(format!("{table}/"));
        }
        let first = names.first().cloned().unwrap_or_default();
        Error::fix(
            SqlState::AMBIGUOUS,
            format!("catalog \"{}\": \"{table}\" could be any of {}", self.place.catalog, names.join(", ")),
        )
        .with_hint(format!("write the full name, in quotes: \"{first}\""))
    }

    /// Reading the plain files of a Delta, Iceberg or Hudi table would show rows that were deleted.
    fn refuse_table_format(&self, folder: &Path, beneath: &[(String, ObjectMeta)]) -> Result<()> {
        let kind = beneath.iter().find_map(|(relative, _)| match relative.split('/').next() {
            Some("_delta_log") => Some("a Delta Lake"),
            Some(".hoodie") => Some("a Hudi"),
            Some("metadata") if relative.ends_with(".metadata.json") => Some("an Iceberg"),
            _ => None,
        });
        let Some(kind) = kind else { return Ok(()) };
        Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!(
                "catalog \"{}\": {}/ is {kind} table, whose files hold deleted rows too",
                self.place.catalog,
                self.place.location.display(folder)
            ),
        )
        .with_hint("to read its files as they are, name them by a pattern: \"table/**/*.parquet\""))
    }

    async fn folder_kinds(&self, level: &Level) -> Result<Vec<(String, FolderKind)>> {
        futures::stream::iter(level.folders.clone())
            .map(|name| async move {
                let Some(folder) = self.below(&self.root, &name) else { return Ok((name, FolderKind::Nothing)) };
                let inside = self.level(&folder).await?;
                let kind = if is_schema(&name, &inside) {
                    FolderKind::Schema
                } else if inside.files.is_empty() && inside.folders.is_empty() {
                    FolderKind::Nothing
                } else {
                    FolderKind::Table
                };
                Ok((name, kind))
            })
            .buffered(FOLDERS_AT_ONCE)
            .try_collect()
            .await
    }

    /// The location's own level. A local location that does not exist is an error, an empty one is not.
    async fn root_level(&self) -> Result<Arc<Level>> {
        let level = self.level(&self.root).await?;
        if level.files.is_empty() && level.folders.is_empty() {
            self.check_root().await?;
        }
        Ok(level)
    }

    /// Whether a local location is a folder.
    pub(crate) async fn check_root(&self) -> Result<()> {
        let crate::location::Location::Local(folder) = &self.place.location else { return Ok(()) };
        let catalog = &self.place.catalog;
        match tokio::fs::metadata(folder).await {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(Error::fix(
                SqlState::NO_FILE,
                format!("catalog \"{catalog}\": {} is not a folder", folder.display()),
            )
            .with_hint(format!("ALTER CATALOG {catalog} SET (location = '...') with the folder that holds it"))),
            Err(error) => Err(Error::fix(
                SqlState::NO_FILE,
                format!("catalog \"{catalog}\": could not open {}", folder.display()),
            )
            .with_detail(error.to_string())
            .with_hint(format!("create the folder, or ALTER CATALOG {catalog} SET (location = '...')"))),
        }
    }

    async fn level(&self, folder: &Path) -> Result<Arc<Level>> {
        let level = {
            let mut levels = self.levels.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(levels.entry(folder.clone()).or_default())
        };
        level.get_or_try_init(|| self.listed_level(folder)).await.cloned()
    }

    async fn listed_level(&self, folder: &Path) -> Result<Arc<Level>> {
        let prefix = Some(folder).filter(|path| !path.as_ref().is_empty());
        let listed = self
            .store
            .list_with_delimiter(prefix)
            .await
            .map_err(|error| self.place.store_error("list", folder, &error))?;
        let is_shown = |path: &Path| path.filename().is_some_and(|name| !is_hidden(name));
        let folders = listed.common_prefixes.iter().filter(|folder| is_shown(folder));
        Ok(Arc::new(Level {
            folders: folders.filter_map(Path::filename).map(str::to_string).collect(),
            files: listed.objects.into_iter().filter(|file| is_shown(&file.location)).collect(),
        }))
    }

    /// All files beneath a folder with their paths below it, hidden ones too.
    async fn everything(&self, folder: &Path) -> Result<Vec<(String, ObjectMeta)>> {
        let prefix = Some(folder).filter(|path| !path.as_ref().is_empty());
        let skip = if folder.as_ref().is_empty() { 0 } else { folder.as_ref().len() + 1 };
        let below = |file: ObjectMeta| Some((file.location.as_ref().get(skip..)?.to_string(), file));
        self.store
            .list(prefix)
            .try_filter_map(|file| futures::future::ready(Ok(below(file))))
            .try_collect()
            .await
            .map_err(|error| self.place.store_error("list", folder, &error))
    }

    /// The part of a path that is below the location.
    fn below_root(&self, path: &Path) -> String {
        let below = path.as_ref().strip_prefix(self.root.as_ref()).unwrap_or(path.as_ref());
        below.trim_start_matches('/').to_string()
    }

    /// A path below a folder; `None` if the name cannot be one.
    fn below(&self, folder: &Path, name: &str) -> Option<Path> {
        if name.is_empty() || name.contains('\0') {
            return None;
        }
        let text = if folder.as_ref().is_empty() { name.to_string() } else { format!("{folder}/{name}") };
        Path::parse(text).ok()
    }
}

/// A folder of folders is a schema, unless they are partitions or an Iceberg table's own.
fn is_schema(name: &str, inside: &Level) -> bool {
    let has = |folder: &str| inside.folders.iter().any(|name| name == folder);
    name != ROOT_SCHEMA
        && inside.files.is_empty()
        && !inside.folders.is_empty()
        && !inside.folders.iter().any(|folder| folder.contains('='))
        && !(has("metadata") && has("data"))
}

/// The first level of what was listed whole.
fn level_of(folder: &Path, beneath: &[(String, ObjectMeta)]) -> Level {
    debug_assert!(!folder.as_ref().is_empty(), "only folders below the root are asked about");
    let mut level = Level::default();
    for (relative, meta) in beneath {
        match relative.split_once('/') {
            None if !is_hidden(relative) => level.files.push(meta.clone()),
            Some((first, _)) if !is_hidden(first) && !level.folders.iter().any(|name| name == first) => {
                level.folders.push(first.to_string());
            }
            _ => {}
        }
    }
    level
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

fn is_hidden_path(relative: &str) -> bool {
    relative.split('/').any(is_hidden)
}
