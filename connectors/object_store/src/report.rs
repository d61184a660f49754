//! What EXPLAIN says of a scan: the true location, the files, what is skipped and what is checked here.

use crate::opener::LakeSource;
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::source::DataSourceExec;
use datafusion_physical_plan::ExecutionPlan;
use object_store::path::Path;
use polder_catalog::{CatalogName, ScanReport};
use std::collections::BTreeMap;

/// Files named one by one; the rest is counted.
const FILES_NAMED: usize = 3;

/// Describes a leaf of a plan, if it reads files of this catalog.
pub(crate) fn describe(catalog: &CatalogName, leaf: &dyn ExecutionPlan) -> Option<ScanReport> {
    let (config, source) = leaf.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<LakeSource>()?;
    (&source.info().place.catalog == catalog).then(|| ScanReport {
        request: request(config, source),
        kept_local: source.info().kept_local.clone(),
        ..ScanReport::default()
    })
}

fn request(config: &FileScanConfig, source: &LakeSource) -> String {
    let info = source.info();
    let files: BTreeMap<&Path, u64> = config
        .file_groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|file| (&file.object_meta.location, file.object_meta.size))
        .collect();
    let bytes: u64 = files.values().sum();
    let named: Vec<String> =
        files.keys().take(FILES_NAMED).map(|path| short(&info.target, &info.place.location.display(path))).collect();
    let more =
        if files.len() > FILES_NAMED { format!(", and {} more", files.len() - FILES_NAMED) } else { String::new() };
    let mut text = format!(
        "READ {} ({}: {} of {} files, {bytes} bytes: {}{more})",
        info.target,
        info.format,
        files.len(),
        info.files_total,
        named.join(", "),
    );
    if let Ok(schema) = config.projected_schema() {
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        text.push_str(&format!(" COLUMNS ({})", columns.join(", ")));
    }
    if !info.pruned_by.is_empty() {
        text.push_str(&format!(" FOLDERS WHERE {}", info.pruned_by.join(" AND ")));
    }
    if let Some(predicate) = source_predicate(source) {
        text.push_str(&format!(" SKIP BY {predicate}"));
    }
    if let Some(limit) = config.limit {
        text.push_str(&format!(" LIMIT {limit}"));
    }
    text
}

fn source_predicate(source: &LakeSource) -> Option<String> {
    use datafusion_datasource::file::FileSource;
    // Before the query runs, nobody knows what a join or a Top-N will look for.
    source
        .filter()
        .map(|predicate| predicate.to_string().replace("DynamicFilter [ empty ]", "what the plan learns as it runs"))
}

/// A file's path below the table's folder, or whole.
fn short(target: &str, file: &str) -> String {
    file.strip_prefix(target).filter(|rest| !rest.is_empty()).unwrap_or(file).to_string()
}
