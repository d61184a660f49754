//! `table`: aligned columns as in psql, for people.
//!
//! The first rows are held back to measure the columns; after that the widths stand and rows are written as they
//! come. On a terminal columns of text give way until the table fits, never numbers; where even that is not enough
//! each row is written expanded, one line per column. Elsewhere nothing is ever cut.

mod text;

use super::Sink;
use super::json::columns;
use super::value::is_number;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::{self, Write};
use std::sync::Arc;
use text::{cut, pad, printable, width};

/// Rows and bytes held back to measure the columns.
const MEASURED_ROWS: usize = 1_000;
const MEASURED_BYTES: usize = 4 << 20;

/// A column of text may be cut down to this width, but not further.
const NARROWEST: usize = 12;

/// Whether rows are written one line per column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expanded {
    On,
    Off,
    /// Only where a table would not fit the terminal.
    #[default]
    Auto,
}

/// Where the table is written to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// The width of the terminal; `None` if there is none.
    pub(crate) width: Option<usize>,
    pub(crate) expanded: Expanded,
}

/// Writes a table.
pub(super) struct Table {
    schema: SchemaRef,
    layout: Layout,
    columns: Vec<Column>,
    held: Vec<Vec<String>>,
    held_bytes: usize,
    shape: Option<Shape>,
    rows: u64,
}

struct Column {
    name: String,
    at_right: bool,
}

/// How rows are written, once that is settled.
enum Shape {
    Aligned(Vec<usize>),
    /// The widths of the names and of the values.
    Expanded(usize, usize),
}

impl Table {
    pub(super) fn new(schema: &SchemaRef, layout: &Layout) -> Self {
        let columns = schema.fields().iter().map(|field| Column {
            name: printable(field.name()).replace('\n', " "),
            at_right: is_number(field.data_type()),
        });
        Self {
            schema: Arc::clone(schema),
            layout: *layout,
            columns: columns.collect(),
            held: Vec::new(),
            held_bytes: 0,
            shape: None,
            rows: 0,
        }
    }

    /// Settles the shape and writes what was held back.
    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let shape = self.shape();
        if let Shape::Aligned(widths) = &shape {
            self.write_header(widths, out)?;
        }
        let held = std::mem::take(&mut self.held);
        self.shape = Some(shape);
        held.iter().try_for_each(|row| self.write_row(row, out))
    }

    fn shape(&self) -> Shape {
        let widths = self.measure();
        let fits = |widths: &[usize]| self.layout.width.is_none_or(|limit| table_width(widths) <= limit);
        let aligned = self.shrink(widths.clone());
        match self.layout.expanded {
            Expanded::Off => Shape::Aligned(aligned),
            Expanded::Auto if fits(&aligned) => Shape::Aligned(aligned),
            Expanded::On | Expanded::Auto => {
                let names = self.columns.iter().map(|column| width(&column.name)).max().unwrap_or(0);
                let held = self.held.iter().flatten().flat_map(|value| value.lines().map(width));
                Shape::Expanded(names, held.max().unwrap_or(0))
            }
        }
    }

    /// How wide each column is by itself.
    fn measure(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| width(&column.name)).collect();
        for row in &self.held {
            for (widest, value) in widths.iter_mut().zip(row) {
                *widest = value.lines().map(width).fold(*widest, usize::max);
            }
        }
        widths
    }

    /// Takes from the widest columns of text until the table fits. A single column is left to the terminal's own
    /// wrapping: there is nothing to align, and a plan or a document must be readable whole.
    fn shrink(&self, mut widths: Vec<usize>) -> Vec<usize> {
        let Some(limit) = self.layout.width.filter(|_| widths.len() > 1) else { return widths };
        while table_width(&widths) > limit {
            let text = self.columns.iter().zip(&mut widths).filter(|(column, _)| !column.at_right);
            match text.map(|(_, width)| width).max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }

    fn write_header(&self, widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        self.write_aligned(&names, widths, out)?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(out, "{}", rules.join("+"))
    }

    fn write_row(&mut self, row: &[String], out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        match &self.shape {
            Some(Shape::Aligned(widths)) => self.write_aligned(row, widths, out),
            Some(Shape::Expanded(names, values)) => self.write_expanded(row, *names, *values, out),
            None => unreachable!("a row is written after the shape is settled"),
        }
    }

    /// One row, which takes as many lines as its longest value; a `+` says that a value goes on below.
    fn write_aligned(&self, row: &[String], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
        let cells: Vec<Vec<&str>> = row.iter().map(|value| value.split('\n').collect()).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1);
        for line in 0..height {
            let mut text = String::new();
            for (at, ((cell, column), width)) in cells.iter().zip(&self.columns).zip(widths).enumerate() {
                let is_cut = self.layout.width.is_some() && self.columns.len() > 1 && !column.at_right;
                let piece = cell.get(line).copied().unwrap_or("");
                let piece = if is_cut { cut(piece, *width) } else { piece.into() };
                text.push_str(if at > 0 { "| " } else { " " });
                text.push_str(&pad(&piece, *width, column.at_right));
                text.push(if line + 1 < cell.len() && self.columns.len() > 1 { '+' } else { ' ' });
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    fn write_expanded(&self, row: &[String], names: usize, values: usize, out: &mut dyn Write) -> io::Result<()> {
        let limit = self.layout.width.map_or(values, |limit| values.min(limit.saturating_sub(names + 3)));
        let title = format!("-[ RECORD {} ]", self.rows);
        let rule = (names + limit + 3).saturating_sub(title.len());
        writeln!(out, "{title}{}", "-".repeat(rule))?;
        for (column, value) in self.columns.iter().zip(row) {
            for (line, text) in value.split('\n').enumerate() {
                let name = if line == 0 { column.name.as_str() } else { "" };
                writeln!(out, "{}", format!("{} | {text}", pad(name, names, false)).trim_end())?;
            }
        }
        Ok(())
    }
}

impl Sink for Table {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let columns = columns(self.schema.fields(), batch)?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns
                .iter()
                .map(|values| {
                    let mut text = String::new();
                    if !values.is_null(row) {
                        values.write(row, &mut text);
                    }
                    printable(&text)
                })
                .collect();
            if self.shape.is_some() {
                self.write_row(&cells, out)?;
                continue;
            }
            self.held_bytes += cells.iter().map(String::len).sum::<usize>();
            self.held.push(cells);
            if self.held.len() >= MEASURED_ROWS || self.held_bytes >= MEASURED_BYTES {
                self.settle(out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.shape.is_none() {
            self.settle(out)?;
        }
        let rows = if self.rows == 1 { "row" } else { "rows" };
        writeln!(out, "({} {rows})", self.rows)
    }
}

/// Each column has a space on both sides, and a bar between it and the next.
fn table_width(widths: &[usize]) -> usize {
    (widths.iter().sum::<usize>() + 3 * widths.len()).saturating_sub(1)
}
