//! A table of files for one statement: listed once, its columns known, ready to plan.
//!
//! DataFusion's `ListingTable` lists once to learn the columns, once for the partitions and once per scan, matches
//! CSV columns by position, and knows no NULL partition. This provider plans over the statement's one listing with the
//! same parts: file groups, statistics and their cache, orderings, the formats' own sources.

use crate::cache::{Caches, Layout};
use crate::diagnose::ScanInfo;
use crate::format::{Compression, Format};
use crate::hive::Partitions;
use crate::infer;
use crate::listing::{DataFile, Lister, TableFiles};
use crate::merge::{Guess, Merge};
use crate::nan;
use crate::opener::LakeSource;
use crate::pinned::PinnedStore;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_catalog_listing::helpers::expr_applicable_for_cols;
use datafusion_catalog_listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion_common::config::{CsvOptions, TableParquetOptions};
use datafusion_common::stats::Precision;
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue, Statistics, project_schema};
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_groups::FileGroup;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use datafusion_datasource::source::DataSourceExec;
use datafusion_datasource::{
    ListingTableUrl, PartitionedFile, TableSchema, TableSchemaBuilder, compute_all_files_statistics,
};
use datafusion_datasource_arrow::source::ArrowSource;
use datafusion_datasource_csv::source::CsvSource;
use datafusion_datasource_json::source::JsonSource;
use datafusion_datasource_parquet::CachedParquetFileReaderFactory;
use datafusion_datasource_parquet::file_format::ParquetFormat;
use datafusion_datasource_parquet::metadata::{DFParquetMetadata, ordering_from_parquet_metadata};
use datafusion_datasource_parquet::source::ParquetSource;
use datafusion_execution::cache::TableScopedPath;
use datafusion_execution::cache::cache_manager::{CachedFileMetadata, SchemaFingerprint};
use datafusion_execution::object_store::ObjectStoreUrl;
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion_physical_expr::{LexOrdering, PhysicalExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::empty::EmptyExec;
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion_physical_plan::projection::ProjectionExec;
use datafusion_physical_plan::union::UnionExec;
use datafusion_session::{Session, TableProvider};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use polder_catalog::{Error, KeptLocal, ReadContext, Reason, ReasonCode, ScanMeter, SqlState};
use std::sync::Arc;

/// Files whose columns or footers are read at once.
const FILES_AT_ONCE: usize = 32;

/// A table of files, as one statement sees it.
#[derive(Debug)]
pub(crate) struct FilesTable {
    lister: Lister,
    caches: Arc<Caches>,
    context: ReadContext,
    url: ObjectStoreUrl,
    id: String,
    target: String,
    format: Format,
    /// Columns of the files, then columns of the folders.
    schema: SchemaRef,
    file_schema: SchemaRef,
    partition_fields: Vec<FieldRef>,
    parts: Vec<Part>,
    files_total: usize,
}

/// Files that are read alike.
#[derive(Clone, Debug)]
struct Part {
    compression: Compression,
    layout: Layout,
    /// What the reader is told the files hold. Formats that match columns by position have their own order here.
    file_schema: SchemaRef,
    files: Vec<PartFile>,
}

#[derive(Clone, Debug)]
struct PartFile {
    meta: ObjectMeta,
    partition: Vec<ScalarValue>,
}

impl FilesTable {
    /// Learns the columns of the files and fits them together.
    pub(crate) async fn open(
        lister: Lister,
        caches: Arc<Caches>,
        context: ReadContext,
        url: ObjectStoreUrl,
        table: TableFiles,
    ) -> polder_catalog::Result<Self> {
        let format = common_format(&lister, &table)?;
        // Not a closure in `map`: rustc cannot tell that its future is Send for every lifetime of the file.
        let mut learning = Vec::with_capacity(table.files.len());
        for file in &table.files {
            learning.push(infer::file_schema(&lister, &caches, file).boxed());
        }
        let schemas: Vec<_> = futures::stream::iter(learning).buffered(FILES_AT_ONCE).try_collect().await?;
        let file_schema = merged(&lister, &table.files, &schemas)?;
        let taken = |name: &str| file_schema.field_with_name(name).is_ok();
        let partitions = Partitions::new(&table.files, lister.read.typed_partitions, taken);
        let schema = with_partitions(&file_schema, &partitions.fields);
        if schema.fields().is_empty() {
            return Err(Error::fix(
                SqlState::FORMAT,
                format!(
                    "catalog \"{}\": {} is empty: there are no columns to learn",
                    lister.place.catalog, table.target
                ),
            )
            .with_hint("write a file with a header or a row"));
        }
        let files_total = table.files.len();
        let mut parts: Vec<Part> = Vec::new();
        for ((file, learned), partition) in table.files.into_iter().zip(schemas).zip(partitions.values) {
            if learned.layout == Layout::Empty {
                continue;
            }
            let own = part_schema(format, &learned.schema, &file_schema);
            let file_of_part = PartFile { meta: file.meta, partition };
            let same = |part: &&mut Part| {
                part.compression == file.compression && part.layout == learned.layout && part.file_schema == own
            };
            match parts.iter_mut().find(same) {
                Some(part) => part.files.push(file_of_part),
                None => parts.push(Part {
                    compression: file.compression,
                    layout: learned.layout,
                    file_schema: own,
                    files: vec![file_of_part],
                }),
            }
        }
        let partition_fields = partitions.fields;
        let TableFiles { id, target, .. } = table;
        Ok(Self {
            lister,
            caches,
            context,
            url,
            id,
            target,
            format,
            schema,
            file_schema,
            partition_fields,
            parts,
            files_total,
        })
    }

    /// The id that the listing gives this table.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The format of the table's files.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether a column comes from the folders' names.
    pub(crate) fn is_partition(&self, name: &str) -> bool {
        self.partition_fields.iter().any(|field| field.name() == name)
    }

    /// Whether a filter asks only for what the folders' names say.
    fn is_folder_filter(&self, filter: &Expr) -> bool {
        let names: Vec<&str> = self.partition_fields.iter().map(|field| field.name().as_str()).collect();
        let needs_plan = |expr: &Expr| {
            Ok(matches!(
                expr,
                Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::ScalarVariable(..)
                    | Expr::GroupingSet(_)
                    | Expr::Lambda(_)
                    | Expr::LambdaVariable(_)
            ))
        };
        !names.is_empty() && expr_applicable_for_cols(&names, filter) && !filter.exists(needs_plan).unwrap_or(true)
    }

    /// The parts with the files whose folders fit all filters.
    fn pruned(&self, session: &dyn Session, filters: &[Expr]) -> Result<Vec<Part>> {
        if filters.is_empty() {
            return Ok(self.parts.clone());
        }
        let fields: Fields =
            self.partition_fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let schema = DFSchema::try_from(Schema::new(fields))?;
        let mut parts = Vec::new();
        for part in &self.parts {
            let columns: Result<Vec<_>> = (0..self.partition_fields.len())
                .map(|at| ScalarValue::iter_to_array(part.files.iter().map(|file| file.partition[at].clone())))
                .collect();
            let batch = RecordBatch::try_new(Arc::clone(schema.inner()), columns?)?;
            let mut keep = vec![true; part.files.len()];
            for filter in filters {
                let expression = session.create_physical_expr(filter.clone(), &schema)?;
                let fits = expression.evaluate(&batch)?.into_array(part.files.len())?;
                let fits = fits.as_boolean();
                keep.iter_mut().enumerate().for_each(|(at, keep)| *keep &= fits.is_valid(at) && fits.value(at));
            }
            let mut part = part.clone();
            let mut keep = keep.into_iter();
            part.files.retain(|_| keep.next().unwrap_or(false));
            if !part.files.is_empty() {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    async fn plan_part(
        &self,
        session: &dyn Session,
        part: &Part,
        projection: Option<&Vec<usize>>,
        filters: &Filters,
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let table_schema: TableSchema = TableSchemaBuilder::from(&part.file_schema)
            .with_table_partition_cols(self.partition_fields.clone())
            .build();
        let file_limit = limit.filter(|_| filters.rows.is_empty());
        let (files, is_cut) = self.described_files(session, part, file_limit).await?;
        let collects = session.config().collect_statistics() && self.context.pushdown();
        let groups = FileGroup::new(files).split_files(session.config().target_partitions());
        let full_schema = Arc::clone(table_schema.table_schema());
        let (groups, statistics) = compute_all_files_statistics(groups, full_schema, collects, is_cut)?;
        if groups.is_empty() {
            return Ok(None);
        }
        let ordering = self.ordering(session, part, &groups)?;
        let (source, compression) = self.source(session, part, table_schema, filters);
        let own = projection.map(|indices| self.own_columns(part, indices));
        let is_own = own.is_none() && self.matches_table(part);
        let indices = match (&own, is_own) {
            (_, true) => None,
            (Some(own), _) => Some(own.iter().filter_map(|(_, own)| *own).collect()),
            (None, false) => {
                Some(self.own_columns(part, &self.all_columns()).iter().filter_map(|(_, own)| *own).collect())
            }
        };
        let config = FileScanConfigBuilder::new(self.url.clone(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(indices)?
            .with_limit(limit)
            .with_output_ordering(ordering)
            .with_file_compression_type(compression.to_datafusion())
            .build();
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
        if self.matches_table(part) {
            return Ok(Some(scan));
        }
        let columns = own.unwrap_or_else(|| self.own_columns(part, &self.all_columns()));
        self.fitted(scan, &columns).map(Some)
    }

    fn all_columns(&self) -> Vec<usize> {
        (0..self.schema.fields().len()).collect()
    }

    /// Whether the part's reader already gives the table's columns.
    fn matches_table(&self, part: &Part) -> bool {
        part.file_schema == self.file_schema
    }

    /// For each column asked for, where the part has it, if it has.
    fn own_columns(&self, part: &Part, indices: &[usize]) -> Vec<(usize, Option<usize>)> {
        let files = self.file_schema.fields().len();
        let own = |at: usize| match at.checked_sub(files) {
            Some(folder) => Some(part.file_schema.fields().len() + folder),
            None => part.file_schema.index_of(self.schema.field(at).name()).ok(),
        };
        indices.iter().map(|at| (*at, own(*at))).collect()
    }

    /// Gives the columns of a part the table's types, and NULL for those it has not.
    fn fitted(
        &self,
        scan: Arc<dyn ExecutionPlan>,
        columns: &[(usize, Option<usize>)],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = scan.schema();
        let mut at = 0;
        let mut expressions: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        for (column, own) in columns {
            let field = self.schema.field(*column);
            let expression: Arc<dyn PhysicalExpr> = match own {
                None => Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)),
                Some(_) => {
                    let found = Arc::new(Column::new(field.name(), at));
                    let data_type = input.field(at).data_type();
                    at += 1;
                    if data_type == field.data_type() {
                        found
                    } else {
                        let strict = CastOptions { safe: false, ..CastOptions::default() };
                        Arc::new(CastExpr::new(found, field.data_type().clone(), Some(strict)))
                    }
                }
            };
            expressions.push((expression, field.name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(expressions, scan)?))
    }

    /// The files with their statistics, up to those that hold `limit` rows for sure; whether files were left out.
    async fn described_files(
        &self,
        session: &dyn Session,
        part: &Part,
        limit: Option<usize>,
    ) -> Result<(Vec<PartitionedFile>, bool)> {
        let collects =
            self.format == Format::Parquet && session.config().collect_statistics() && self.context.pushdown();
        let fingerprint = Arc::new(SchemaFingerprint::from_schema(&part.file_schema));
        let unknown = Arc::new(Statistics::new_unknown(&part.file_schema));
        let mut describing = Vec::with_capacity(part.files.len());
        for file in &part.files {
            describing.push(self.described(part, file, &fingerprint, (!collects).then_some(&unknown)).boxed());
        }
        let mut described = futures::stream::iter(describing).buffered(FILES_AT_ONCE);
        let (mut files, mut rows) = (Vec::new(), Precision::Exact(0));
        while let Some(file) = described.try_next().await? {
            rows = rows.add(&file.statistics.as_ref().map_or(Precision::Absent, |known| known.num_rows));
            files.push(file);
            if let (Some(limit), Precision::Exact(rows)) = (limit, rows)
                && rows >= limit
            {
                break;
            }
        }
        let is_cut = files.len() < part.files.len();
        Ok((files, is_cut))
    }

    async fn described(
        &self,
        part: &Part,
        file: &PartFile,
        fingerprint: &Arc<SchemaFingerprint>,
        unknown: Option<&Arc<Statistics>>,
    ) -> Result<PartitionedFile> {
        let mut planned = PartitionedFile::from(file.meta.clone());
        planned.partition_values.clone_from(&file.partition);
        if let Some(unknown) = unknown {
            return Ok(planned.with_statistics(Arc::clone(unknown)));
        }
        let (statistics, ordering) = self.statistics(part, &file.meta, fingerprint).await?;
        Ok(planned.with_statistics(statistics).with_ordering(ordering))
    }

    async fn statistics(
        &self,
        part: &Part,
        file: &ObjectMeta,
        fingerprint: &Arc<SchemaFingerprint>,
    ) -> Result<(Arc<Statistics>, Option<LexOrdering>)> {
        let key = TableScopedPath { table: None, path: file.location.clone() };
        let cache = self.caches.statistics();
        if let Some(known) = cache.as_ref().and_then(|cache| cache.get(&key))
            && known.is_valid_for(file, fingerprint)
        {
            return Ok((Arc::clone(&known.statistics), known.ordering));
        }
        let footer = DFParquetMetadata::new(self.lister.store.as_ref(), file)
            .with_file_metadata_cache(Some(self.caches.footers()))
            .fetch_metadata()
            .await
            .map_err(|error| self.unreadable(file, error))?;
        let statistics = DFParquetMetadata::statistics_from_parquet_metadata(&footer, &part.file_schema)?;
        let statistics = Arc::new(nan::without_float_bounds(statistics, &part.file_schema));
        let ordering = ordering_from_parquet_metadata(&footer, &part.file_schema)?;
        if let Some(cache) = cache {
            let known = CachedFileMetadata::new(
                file.clone(),
                Arc::clone(fingerprint),
                Arc::clone(&statistics),
                ordering.clone(),
            );
            cache.put(&key, known);
        }
        Ok((statistics, ordering))
    }

    fn unreadable(&self, file: &ObjectMeta, error: DataFusionError) -> DataFusionError {
        match crate::error::find_store_error(&error) {
            Some(store) => self.lister.place.store_error("read", &file.location, store).into(),
            None => self
                .lister
                .place
                .bad_file(&file.location, "could not be read as Parquet")
                .with_detail(crate::error::root_cause(&error))
                .with_hint("write it again, or take it out of the table")
                .into(),
        }
    }

    /// The order that the footers of all files promise, if they do.
    fn ordering(&self, session: &dyn Session, part: &Part, groups: &[FileGroup]) -> Result<Vec<LexOrdering>> {
        if self.format != Format::Parquet || groups.iter().flat_map(FileGroup::iter).all(|file| file.ordering.is_none())
        {
            return Ok(Vec::new());
        }
        let columns = self.partition_fields.iter().map(|field| (field.name().clone(), field.data_type().clone()));
        let options =
            ListingOptions::new(Arc::new(ParquetFormat::default())).with_table_partition_cols(columns.collect());
        let url = ListingTableUrl::parse(self.url.as_str())?;
        let config =
            ListingTableConfig::new(url).with_listing_options(options).with_schema(Arc::clone(&part.file_schema));
        ListingTable::try_new(config)?.try_create_output_ordering(session.execution_props(), groups)
    }

    /// DataFusion's source for the part's files, and the compression that it undoes itself.
    fn source(
        &self,
        session: &dyn Session,
        part: &Part,
        schema: TableSchema,
        filters: &Filters,
    ) -> (Arc<dyn FileSource>, Compression) {
        let is_local = matches!(self.lister.place.location, crate::location::Location::Local(_));
        let store_of = |metrics: &ExecutionPlanMetricsSet| {
            let received = MetricBuilder::new(metrics).global_counter(ScanMeter::BYTES);
            let files = part.files.iter().map(|file| &file.meta);
            Arc::new(PinnedStore::new(Arc::clone(&self.lister.store), files, is_local, part.compression, received))
        };
        let (source, store): (Arc<dyn FileSource>, _) = match self.format {
            Format::Parquet => {
                let source = ParquetSource::new(schema).with_table_parquet_options(self.parquet_options(session));
                let store = store_of(source.metrics());
                let reader = CachedParquetFileReaderFactory::new(Arc::clone(&store) as _, self.caches.footers());
                (Arc::new(source.with_parquet_file_reader_factory(Arc::new(reader))), store)
            }
            Format::Csv | Format::Tsv => {
                let source = CsvSource::new(schema).with_csv_options(self.csv_options());
                let store = store_of(source.metrics());
                (Arc::new(source), store)
            }
            Format::Ndjson => {
                let source = JsonSource::new(schema).with_newline_delimited(part.layout != Layout::JsonArray);
                let store = store_of(source.metrics());
                (Arc::new(source), store)
            }
            Format::Arrow => {
                let source = match part.layout {
                    Layout::ArrowStream => ArrowSource::new_stream_file_source(schema),
                    _ => ArrowSource::new_file_source(schema),
                };
                let store = store_of(source.metrics());
                (Arc::new(source), store)
            }
        };
        let info = ScanInfo {
            place: self.lister.place.clone(),
            context: self.context.clone(),
            store,
            raw: Arc::clone(&self.lister.store),
            target: self.target.clone(),
            format: self.format,
            compression: part.compression,
            layout: part.layout,
            file_schema: Arc::clone(&part.file_schema),
            csv: self.lister.read.csv.clone(),
            files_total: self.files_total,
            kept_local: self.kept_local(session, &filters.rows),
            pruned_by: filters.folders.iter().map(|filter| filter.human_display().to_string()).collect(),
        };
        let compression = if is_local { part.compression } else { Compression::None };
        (Arc::new(LakeSource::new(source, Arc::new(info))), compression)
    }

    fn parquet_options(&self, session: &dyn Session) -> TableParquetOptions {
        let mut options =
            TableParquetOptions { global: session.config_options().execution.parquet.clone(), ..Default::default() };
        if !self.context.pushdown() {
            options.global.pruning = false;
            options.global.enable_page_index = false;
            options.global.bloom_filter_on_read = false;
            options.global.pushdown_filters = false;
        }
        options
    }

    fn csv_options(&self) -> CsvOptions {
        let csv = &self.lister.read.csv;
        CsvOptions {
            has_header: Some(csv.header),
            delimiter: infer::delimiter(self.format, csv.delimiter),
            quote: csv.quote,
            escape: csv.escape,
            comment: csv.comment,
            newlines_in_values: Some(csv.newlines_in_values),
            ..CsvOptions::default()
        }
    }

    /// The filters on rows that are checked here, and why.
    fn kept_local(&self, session: &dyn Session, filters: &[Expr]) -> Vec<KeptLocal> {
        let text = match self.format {
            _ if !self.context.pushdown() => {
                let expression = "all of the query's".to_string();
                return vec![KeptLocal { what: "filter", expression, reason: Reason::off() }];
            }
            // Then the Parquet reader itself drops the rows.
            Format::Parquet if session.config_options().execution.parquet.pushdown_filters => return Vec::new(),
            Format::Parquet => {
                "files, row groups and pages that cannot hold a match are skipped; each row of the others is checked here".to_string()
            }
            format => format!("a store cannot look into {format}: each row is checked here"),
        };
        let kept = |filter: &Expr| KeptLocal {
            what: "filter",
            expression: filter.human_display().to_string(),
            reason: Reason::new(ReasonCode::SourceLacks, text.clone()),
        };
        filters.iter().map(kept).collect()
    }
}

/// The filters of a scan: on folders' names, which decide, and on rows, which are checked again.
struct Filters {
    folders: Vec<Expr>,
    rows: Vec<Expr>,
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.context.check()?;
        session.runtime_env().register_object_store(self.url.as_ref(), Arc::clone(&self.lister.store));
        let (folders, rows) = if self.context.pushdown() {
            filters.iter().cloned().partition(|filter| self.is_folder_filter(filter))
        } else {
            (Vec::new(), Vec::new())
        };
        let filters = Filters { folders, rows };
        let limit = limit.filter(|_| self.context.pushdown());
        let mut plans = Vec::new();
        for part in self.pruned(session, &filters.folders)? {
            plans.extend(self.plan_part(session, &part, projection, &filters, limit).await?);
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?))),
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.context.pushdown() {
            false => TableProviderFilterPushDown::Unsupported,
            true if self.is_folder_filter(filter) => TableProviderFilterPushDown::Exact,
            true => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// One table has one format: files of two are more likely two tables in one folder.
fn common_format(lister: &Lister, table: &TableFiles) -> polder_catalog::Result<Format> {
    let first = table.files.first().ok_or_else(|| Error::report("a table without files was opened"))?;
    match table.files.iter().find(|file| file.format != first.format) {
        None => Ok(first.format),
        Some(other) => Err(Error::fix(
            SqlState::FORMAT,
            format!(
                "{} is {} but {} is {}",
                lister.place.file(&first.meta.location),
                first.format,
                lister.place.location.display(&other.meta.location),
                other.format
            ),
        )
        .with_hint("a table has one format: name its files by a pattern, such as \"folder/*.parquet\"")),
    }
}

fn merged(
    lister: &Lister,
    files: &[DataFile],
    schemas: &[crate::cache::FileSchema],
) -> polder_catalog::Result<SchemaRef> {
    let mut merge = Merge::default();
    let has_rows: Vec<usize> = (0..files.len()).filter(|at| schemas[*at].layout != Layout::Empty).collect();
    for at in &has_rows {
        let guess = match files[*at].format {
            Format::Csv | Format::Tsv => Guess::Text,
            Format::Ndjson => Guess::Number,
            Format::Parquet | Format::Arrow => Guess::No,
        };
        merge.add(&schemas[*at].schema, guess).map_err(|conflict| {
            let name = |at: usize| lister.place.location.display(&files[at].meta.location);
            let (first, first_type) = conflict.first;
            Error::fix(
                SqlState::TYPE,
                format!(
                    "catalog \"{}\": column \"{}\" is {first_type} in {} but {} in {}",
                    lister.place.catalog,
                    conflict.column,
                    name(has_rows[first]),
                    conflict.second,
                    name(*at)
                ),
            )
            .with_hint("no type holds both: write one of the files again, or read them as two tables by a pattern")
        })?;
    }
    // A column of which nothing is known but NULLs is text, which every client can take.
    let known = |field: &FieldRef| match field.data_type() {
        DataType::Null => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => Arc::clone(field),
    };
    Ok(Arc::new(Schema::new(merge.finish().fields().iter().map(known).collect::<Fields>())))
}

fn with_partitions(file_schema: &SchemaRef, partitions: &[FieldRef]) -> SchemaRef {
    if partitions.is_empty() {
        return Arc::clone(file_schema);
    }
    Arc::new(Schema::new(file_schema.fields().iter().chain(partitions).cloned().collect::<Fields>()))
}

/// What the reader of a file is told. Parquet and NDJSON match columns by name and take the table's schema; CSV and
/// Arrow match by position and take the file's own, CSV with the table's types, as its texts can be read as those.
fn part_schema(format: Format, own: &SchemaRef, table: &SchemaRef) -> SchemaRef {
    match format {
        Format::Parquet | Format::Ndjson => Arc::clone(table),
        Format::Csv | Format::Tsv => {
            let typed = |field: &FieldRef| match table.field_with_name(field.name()) {
                Ok(common) => Arc::new(common.clone()),
                Err(_) => Arc::clone(field),
            };
            Arc::new(Schema::new(own.fields().iter().map(typed).collect::<Fields>()))
        }
        Format::Arrow => Arc::clone(own),
    }
}
