//! What drivers ask about the server itself: what it can, and its types.

use super::encode::unwritable;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};
use polder_catalog::Result;

/// Facts that do not change while the server runs.
pub(super) struct Facts {
    pub(super) server: SqlInfoData,
    pub(super) types: XdbcTypeInfoData,
}

impl Facts {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { server: server()?, types: types()? })
    }
}

fn server() -> Result<SqlInfoData> {
    let mut facts = SqlInfoDataBuilder::new();
    facts.append(SqlInfo::FlightSqlServerName, "Polder");
    facts.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    facts.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    for (fact, holds) in [
        (SqlInfo::FlightSqlServerReadOnly, false),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, true),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, true),
        (SqlInfo::SqlDdlCatalog, true),
        (SqlInfo::SqlDdlSchema, false),
        (SqlInfo::SqlDdlTable, true),
        (SqlInfo::SqlAllTablesAreSelectable, true),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
        (SqlInfo::SqlSupportsTableCorrelationNames, true),
        (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
        (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
        (SqlInfo::SqlSupportsOrderByUnrelated, true),
        (SqlInfo::SqlSupportsLikeEscapeClause, true),
        (SqlInfo::SqlSupportsNonNullableColumns, true),
        (SqlInfo::SqlCatalogAtStart, true),
        (SqlInfo::SqlSelectForUpdateSupported, false),
        (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
        (SqlInfo::SqlTransactionsSupported, true),
        (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
        (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
        (SqlInfo::SqlBatchUpdatesSupported, true),
        (SqlInfo::SqlSavepointsSupported, false),
        (SqlInfo::SqlNamedParametersSupported, false),
    ] {
        facts.append(fact, holds);
    }
    facts.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32);
    // Names without quotes are lower case; those in quotes are as they stand, which is what ODBC calls upper case of its
    // other kind: so it is said that they are told apart.
    facts.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i64);
    facts.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i64);
    facts.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    facts.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i64);
    facts.append(SqlInfo::SqlCatalogTerm, "catalog");
    facts.append(SqlInfo::SqlSchemaTerm, "schema");
    facts.append(SqlInfo::SqlProcedureTerm, "procedure");
    facts.build().map_err(unwritable)
}

/// Name, type and size of what a column can be.
const TYPES: [(&str, XdbcDataType, Option<i32>); 11] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, None),
    ("SMALLINT", XdbcDataType::XdbcSmallint, Some(16)),
    ("INTEGER", XdbcDataType::XdbcInteger, Some(32)),
    ("BIGINT", XdbcDataType::XdbcBigint, Some(64)),
    ("REAL", XdbcDataType::XdbcReal, Some(24)),
    ("DOUBLE PRECISION", XdbcDataType::XdbcDouble, Some(53)),
    ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38)),
    ("TEXT", XdbcDataType::XdbcVarchar, None),
    ("BYTEA", XdbcDataType::XdbcVarbinary, None),
    ("DATE", XdbcDataType::XdbcDate, None),
    ("TIMESTAMP", XdbcDataType::XdbcTimestamp, None),
];

fn types() -> Result<XdbcTypeInfoData> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, column_size) in TYPES {
        let is_quoted = !matches!(
            data_type,
            XdbcDataType::XdbcBit
                | XdbcDataType::XdbcSmallint
                | XdbcDataType::XdbcInteger
                | XdbcDataType::XdbcBigint
                | XdbcDataType::XdbcReal
                | XdbcDataType::XdbcDouble
                | XdbcDataType::XdbcDecimal
        );
        let is_number = !is_quoted && data_type != XdbcDataType::XdbcBit;
        let quote = is_quoted.then(|| "'".to_string());
        let is_decimal = data_type == XdbcDataType::XdbcDecimal;
        types.append(XdbcTypeInfo {
            type_name: name.to_string(),
            data_type,
            column_size,
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: is_decimal.then(|| vec!["precision".to_string(), "scale".to_string()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: data_type == XdbcDataType::XdbcVarchar,
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            local_type_name: Some(name.to_string()),
            minimum_scale: is_decimal.then_some(0),
            maximum_scale: is_decimal.then_some(38),
            sql_data_type: data_type,
            num_prec_radix: is_number.then_some(if is_decimal { 10 } else { 2 }),
            ..XdbcTypeInfo::default()
        });
    }
    types.build().map_err(unwritable)
}
