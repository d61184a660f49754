//! `snippet(column [, 'query' [, characters]])`: the piece of a text that answers a query best, its words in `<b>`.
//!
//! Without a query it is that of the `match()` in the same SELECT, which the planner puts there. The rest of the text is escaped as HTML. Empty if no word of the query is in the text; NULL if the text is.

use super::matching::{column_fields, text_columns, text_of};
use crate::language;
use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility};
use polder_catalog::{Error, SqlState};
use std::collections::BTreeMap;
use std::sync::Arc;
use tantivy::schema::Field as IndexField;
use tantivy::snippet::SnippetGenerator;

/// Characters of a snippet if nothing else is said.
const CHARACTERS: usize = 150;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SnippetOf {
    signature: Signature,
}

impl SnippetOf {
    pub(super) fn new() -> Self {
        let signature = TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2), TypeSignature::Any(3)]);
        Self { signature: Signature::new(signature, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SnippetOf {
    fn name(&self) -> &str {
        "snippet"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first().filter(|first| first.is_string() || first.is_null()) {
            Some(_) => Ok(DataType::Utf8),
            None => Err(Error::fix(SqlState::TYPE, "snippet() is of a column of text").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = cast(&args.args[0].to_array(args.number_rows)?, &DataType::Utf8)?;
        let query = match args.args.get(1) {
            None => {
                let missing = Error::fix(SqlState::NO_FUNCTION, "snippet() has no query here");
                return Err(missing.with_hint("write snippet(column, 'query')").into());
            }
            Some(ColumnarValue::Scalar(scalar)) => text_of(scalar),
            Some(ColumnarValue::Array(_)) => {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "the query of snippet() is a constant").into());
            }
        };
        let Some(query) = query else {
            return Ok(ColumnarValue::Array(arrow::array::new_null_array(&DataType::Utf8, args.number_rows)));
        };
        let generator = generator(&args.arg_fields[..1], &query, characters(args.args.get(2))?)?;
        let pieces = text.as_string::<i32>().iter().map(|text| text.map(|text| generator.snippet(text).to_html()));
        let pieces: StringArray = pieces.collect();
        debug_assert_eq!(pieces.len(), args.number_rows, "a piece for each row");
        Ok(ColumnarValue::Array(Arc::new(pieces)))
    }
}

fn characters(argument: Option<&ColumnarValue>) -> Result<usize> {
    let Some(argument) = argument else { return Ok(CHARACTERS) };
    let number = match argument {
        ColumnarValue::Scalar(scalar) => scalar.cast_to(&DataType::Int64)?.to_string().parse::<usize>().ok(),
        ColumnarValue::Array(_) => None,
    };
    let number = number.filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| Error::fix(SqlState::PARAMETER, "the length of a snippet is 1 to 10000 characters").into())
}

fn generator(fields: &[FieldRef], query: &str, characters: usize) -> Result<SnippetGenerator> {
    let columns = text_columns(fields)?;
    let question = language::parse(query, &column_fields(&columns))?;
    let terms: BTreeMap<String, f32> = question.terms.into_iter().map(|(_, word)| (word, 1.0)).collect();
    let analyzer = columns[0].analyzer.stored();
    Ok(SnippetGenerator::new(terms, analyzer, IndexField::from_field_id(0), characters))
}
