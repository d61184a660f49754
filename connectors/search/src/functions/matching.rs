//! `match(column [, ...], 'query')`: whether the text of the columns answers the query.
//!
//! NULL if all of the columns are NULL. The query is read when the statement is planned, so that a mistake in it is an
//! error even where there are no rows.

use super::local;
use crate::analyzer::Analyzer;
use crate::definition::is_searched;
use crate::language::{self, Searched};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use polder_catalog::{Error, SqlState};
use std::collections::HashMap;
use std::sync::Arc;
use tantivy::schema::Field as IndexField;

/// The name of the function.
pub(crate) const MATCH: &str = "match";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Match {
    signature: Signature,
}

impl Match {
    pub(super) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

/// A column of text as the evaluator sees it.
#[derive(Clone, Debug)]
pub(crate) struct TextColumn {
    pub(crate) name: String,
    pub(crate) analyzer: Arc<Analyzer>,
}

/// The columns that a call names, by their fields.
pub(crate) fn text_columns(fields: &[FieldRef]) -> Result<Vec<TextColumn>, Error> {
    let column = |field: &FieldRef| match is_searched(field.data_type()) {
        true => Ok(TextColumn { name: field.name().clone(), analyzer: Arc::new(Analyzer::of(field.metadata())) }),
        false => {
            let message = format!("{MATCH}() searches text, and \"{}\" is {}", field.name(), field.data_type());
            Err(Error::fix(SqlState::TYPE, message))
        }
    };
    fields.iter().map(column).collect()
}

/// The columns as fields of an index that has only these, in order.
pub(crate) fn column_fields(columns: &[TextColumn]) -> Vec<Searched<'_>> {
    let fields = (0u32..).map(IndexField::from_field_id);
    fields.zip(columns).map(|(field, TextColumn { name, analyzer })| Searched { name, field, analyzer }).collect()
}

impl ScalarUDFImpl for Match {
    fn name(&self) -> &str {
        MATCH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some((text, columns)) = args.arg_fields.split_last().filter(|(_, columns)| !columns.is_empty()) else {
            let error = Error::fix(SqlState::NO_FUNCTION, format!("{MATCH}() takes columns and then a query"));
            return Err(error.with_hint("write match(title, body, 'rust AND \"zero copy\"')").into());
        };
        if !text.data_type().is_string() && !text.data_type().is_null() {
            let message = format!("the query of {MATCH}() is text, not {}", text.data_type());
            return Err(Error::fix(SqlState::TYPE, message).into());
        }
        let columns = text_columns(columns)?;
        if let Some(Some(query)) = args.scalar_arguments.last().map(|scalar| scalar.and_then(text_of)) {
            language::parse(&query, &column_fields(&columns))?;
        }
        Ok(Arc::new(Field::new(MATCH, DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (Some((text, values)), Some((_, fields))) = (args.args.split_last(), args.arg_fields.split_last()) else {
            return Err(Error::report("match() without arguments was planned").into());
        };
        let columns = text_columns(fields)?;
        let arrays = values.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let verdict = match text {
            ColumnarValue::Scalar(scalar) => match text_of(scalar) {
                Some(query) => Arc::new(local::evaluate(&columns, &arrays, &query)?) as ArrayRef,
                None => new_null_array(&DataType::Boolean, rows),
            },
            ColumnarValue::Array(texts) => Arc::new(each(&columns, &arrays, texts)?),
        };
        Ok(ColumnarValue::Array(verdict))
    }
}

/// The query of a constant; `None` for NULL.
pub(crate) fn text_of(scalar: &ScalarValue) -> Option<String> {
    scalar.try_as_str().flatten().map(str::to_string)
}

/// A query for each row: each different one is evaluated once over all rows.
fn each(columns: &[TextColumn], arrays: &[ArrayRef], texts: &ArrayRef) -> Result<BooleanArray> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut verdicts: HashMap<&str, BooleanArray> = HashMap::new();
    let mut all = BooleanBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            all.append_null();
            continue;
        };
        if !verdicts.contains_key(text) {
            verdicts.insert(text, local::evaluate(columns, arrays, text)?);
        }
        let verdict = &verdicts[text];
        all.append_option(verdict.is_valid(row).then(|| verdict.value(row)));
    }
    Ok(all.finish())
}
