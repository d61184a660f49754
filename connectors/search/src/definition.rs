//! Definitions of tables: what can be one, and how it is written down.

use crate::analyzer::{self, Analyzer};
use crate::options::COLUMN_OPTIONS;
use crate::{SCORE, encoding, row};
use arrow::datatypes::{DataType, Field, FieldRef};
use polder_catalog::{
    ColumnDefinition, ColumnId, DatasetDefinition, DatasetId, Error, Options, Result, SqlState, mark,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Refuses what no index can hold.
pub(crate) fn check(definition: &DatasetDefinition) -> Result<()> {
    let at = |error: Error| error.at(format!("table {}.{}", definition.schema, definition.name));
    if let Some(option) = definition.options.keys().next() {
        return Err(at(Error::fix(SqlState::PARAMETER, format!("a table takes no option \"{option}\""))
            .with_hint("options belong to columns: title TEXT WITH (analyzer = 'english')")));
    }
    if definition.columns.is_empty() {
        return Err(at(Error::fix(SqlState::NOT_SUPPORTED, "a table needs at least one column")));
    }
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for column in &definition.columns {
        if !names.insert(column.field.name()) || !ids.insert(&column.id) {
            let message = format!("column \"{}\" is given twice", column.field.name());
            return Err(at(Error::fix(SqlState::DUPLICATE_OBJECT, message)));
        }
        check_column(column).map_err(|error| at(error.at(format!("column \"{}\"", column.field.name()))))?;
    }
    for id in &definition.key {
        let column = definition.columns.iter().find(|column| column.id == *id);
        let column =
            column.ok_or_else(|| at(Error::fix(SqlState::NO_COLUMN, format!("the key has no column {id}"))))?;
        check_key(column).map_err(at)?;
    }
    Ok(())
}

fn check_column(column: &ColumnDefinition) -> Result<()> {
    let data_type = column.field.data_type();
    if column.field.name() == SCORE {
        return Err(Error::fix(SqlState::DUPLICATE_OBJECT, "the name belongs to the score of a search"));
    }
    // Written down as text; what does not come back from it would come back as another type.
    let comes_back = data_type.to_string().parse::<DataType>().is_ok_and(|parsed| parsed == *data_type);
    if !comes_back || !row::holds(data_type) {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("type {data_type} cannot be held exactly"))
            .with_hint("store it as text, and cast it where it is read"));
    }
    if !is_searched(data_type) {
        return match column.options.keys().next() {
            None => Ok(()),
            Some(option) => Err(Error::fix(SqlState::PARAMETER, format!("option \"{option}\" is for columns of text"))),
        };
    }
    Analyzer::read(COLUMN_OPTIONS, &column.options).map(|_| ())
}

fn check_key(column: &ColumnDefinition) -> Result<()> {
    let data_type = column.field.data_type();
    let is_marked = mark::of(column.field.metadata()).is_some();
    let is_float = data_type.is_floating();
    if is_float || is_marked || !(encoding::fits_word(data_type) || encoding::is_bytes(data_type)) {
        let message = format!("column \"{}\" of type {data_type} cannot be a key", column.field.name());
        return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
    }
    Ok(())
}

/// Whether columns of this type are cut into words: text, and lists of text.
pub(crate) fn is_searched(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_string(),
        other => other.is_string(),
    }
}

/// The column as queries see it: its options travel in the metadata.
pub(crate) fn described(column: &ColumnDefinition) -> FieldRef {
    if !is_searched(column.field.data_type()) {
        return Arc::clone(&column.field);
    }
    let mut metadata = column.field.metadata().clone();
    let settings = serde_json::to_string(&column.options).expect("a map of texts is JSON");
    metadata.insert(analyzer::SETTINGS.to_string(), settings);
    Arc::new(column.field.as_ref().clone().with_metadata(metadata))
}

/// What `DESCRIBE` says beside a column.
pub(crate) fn note(column: &ColumnDefinition) -> Option<String> {
    let options =
        is_searched(column.field.data_type()).then(|| Options::validate(COLUMN_OPTIONS, column.options.clone()));
    let options = options?.ok()?;
    Some(format!("analyzer {}", options.text(analyzer::ANALYZER)?))
}

/// A definition on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredDefinition {
    id: String,
    schema: String,
    name: String,
    columns: Vec<StoredColumn>,
    key: Vec<String>,
    options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredColumn {
    id: String,
    name: String,
    data_type: String,
    nullable: bool,
    metadata: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl From<&DatasetDefinition> for StoredDefinition {
    fn from(definition: &DatasetDefinition) -> Self {
        let metadata = |field: &Field| field.metadata().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let column = |column: &ColumnDefinition| StoredColumn {
            id: column.id.to_string(),
            name: column.field.name().clone(),
            data_type: column.field.data_type().to_string(),
            nullable: column.field.is_nullable(),
            metadata: metadata(&column.field),
            options: column.options.clone(),
        };
        Self {
            id: definition.id.to_string(),
            schema: definition.schema.clone(),
            name: definition.name.clone(),
            columns: definition.columns.iter().map(column).collect(),
            key: definition.key.iter().map(ToString::to_string).collect(),
            options: definition.options.clone(),
        }
    }
}

impl StoredDefinition {
    /// The definition that was written down.
    ///
    /// # Errors
    /// A type that cannot be read.
    pub(crate) fn read(self) -> Result<DatasetDefinition, String> {
        let column = |column: StoredColumn| -> Result<ColumnDefinition, String> {
            let data_type = column.data_type.parse::<DataType>().map_err(|error| error.to_string())?;
            let metadata: HashMap<String, String> = column.metadata.into_iter().collect();
            let field = Field::new(column.name, data_type, column.nullable).with_metadata(metadata);
            Ok(ColumnDefinition { id: ColumnId(column.id.into()), field: Arc::new(field), options: column.options })
        };
        Ok(DatasetDefinition {
            id: DatasetId(self.id.into()),
            schema: self.schema,
            name: self.name,
            columns: self.columns.into_iter().map(column).collect::<Result<_, _>>()?,
            unique: Vec::new(),
            identity: None,
            indexes: Vec::new(),
            references: Vec::new(),
            sharding: None,
            key: self.key.into_iter().map(|id| ColumnId(id.into())).collect(),
            options: self.options,
        })
    }
}
