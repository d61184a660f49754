//! The work of a scan, cut into pieces for its streams.

use super::ScanRequest;
use crate::columns::{Hidden, Origin, TopicTable};
use crate::error::of_store;
use crate::pins::find;
use crate::pushdown::{Ranges, Selection, is_key};
use crate::records::{Records, Sink};
use crate::store::{CommitTime, Log, Shard};
use polder_catalog::{Error, Keys, Result, RuntimeFilters, ScanMeter, Wanted};
use std::ops::{ControlFlow, Range};

/// A range of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its place in the definition.
    pub(crate) shard: usize,
    pub(crate) offsets: Range<u64>,
}

/// Only the last or the first rows of each shard are wanted, and more do no harm: the planner's Sort is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) rows: usize,
    /// The first instead.
    pub(crate) oldest: bool,
}

impl Newest {
    /// Reads from one end of the range, in steps that grow as long as records of other datasets stand between.
    pub(crate) fn read(
        self,
        records: &mut Records<'_>,
        shard: &Shard,
        mut range: Range<u64>,
        sink: Sink<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut step = (self.rows as u64).max(1);
        let wanted = records.rows().saturating_add(self.rows as u64);
        while !range.is_empty() && records.rows() < wanted {
            let count = step.min(range.end - range.start);
            let piece = if self.oldest {
                range.start += count;
                range.start - count..range.start
            } else {
                range.end -= count;
                range.end..range.end + count
            };
            if records.read(shard, piece, sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            step = step.saturating_mul(2);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The pieces of each stream.
pub(super) fn plan(
    request: &ScanRequest,
    log: &Log,
    filters: Option<&RuntimeFilters>,
    meter: &ScanMeter,
    streams: usize,
) -> Result<Vec<Vec<Piece>>> {
    let mut selection = request.selection.clone();
    if let Some(filters) = filters
        && !narrow(&mut selection, request, filters, meter)?
    {
        return Ok(vec![Vec::new(); streams]);
    }
    let mut pieces = Vec::new();
    for shard in &selection.shards {
        for offsets in offsets(request, &selection, log, *shard)? {
            pieces.push(Piece { shard: *shard, offsets });
        }
    }
    if request.newest.is_some() {
        return Ok(dealt(pieces, streams));
    }
    Ok(cut(pieces, streams))
}

/// The offsets of a shard that are read, after the times were looked up.
fn offsets(request: &ScanRequest, selection: &Selection, log: &Log, shard: usize) -> Result<Vec<Range<u64>>> {
    let pinned = request.pinned[shard].clone();
    let mut ranges = selection.offsets.clone();
    if !selection.times.is_all() {
        let shard = find(log, &request.table.definition.shards[shard])?;
        ranges = ranges.and(&of_times(&shard, &selection.times)?);
    }
    Ok(ranges.within(pinned))
}

/// The offsets of records that were committed within these times.
fn of_times(shard: &Shard, times: &Ranges) -> Result<Ranges> {
    let mut ranges = Ranges::one(0..0);
    for time in times.iter() {
        let offset = |time: i128| match i64::try_from(time) {
            Ok(time) => shard.offset_at(CommitTime(time)).map(|offset| i128::from(offset.0)).map_err(of_store),
            // Before or after all times.
            Err(_) => Ok(time),
        };
        ranges = ranges.or(&Ranges::one(offset(time.start)?..offset(time.end)?));
    }
    Ok(ranges)
}

/// Narrows by what the rest of the query has found out; false if nothing is wanted.
pub(crate) fn narrow(
    selection: &mut Selection,
    request: &ScanRequest,
    filters: &RuntimeFilters,
    meter: &ScanMeter,
) -> Result<bool> {
    let wanted = match filters.wanted().map_err(Error::from_datafusion)? {
        Wanted::Nothing => {
            meter.asked("nothing, since the other side of the join is empty".to_string());
            return Ok(false);
        }
        Wanted::Rows(keys) => keys,
    };
    for keys in wanted {
        let Some(origin) = request.columns.origins.get(keys.column).copied() else { continue };
        if narrow_column(selection, &request.table, origin, &keys) {
            meter.asked(format!("{} {keys}", request.columns.schema.field(keys.column).name()));
        }
    }
    Ok(true)
}

fn narrow_column(selection: &mut Selection, table: &TopicTable, origin: Origin, keys: &Keys) -> bool {
    match origin {
        Origin::Hidden(Hidden::Offset) => {
            let number = |value: &Option<datafusion_common::ScalarValue>| match value {
                Some(datafusion_common::ScalarValue::Int64(Some(offset))) => Some(i128::from(*offset)),
                _ => None,
            };
            let mut ranges = Ranges::one(
                number(&keys.low).unwrap_or(i128::MIN)..number(&keys.high).map_or(i128::MAX, |high| high + 1),
            );
            if let Some(values) = &keys.values {
                let each = values.iter().filter_map(|value| number(&Some(value.clone())));
                let among = each.fold(Ranges::one(0..0), |all, value| all.or(&Ranges::one(value..value + 1)));
                ranges = ranges.and(&among);
            }
            selection.offsets = selection.offsets.and(&ranges);
            !ranges.is_all()
        }
        Origin::Hidden(Hidden::Shard) => match &keys.values {
            Some(values) => {
                let names: Vec<_> = values.iter().map(|value| value.to_string()).collect();
                selection.shards.retain(|shard| names.contains(&table.definition.shards[*shard]));
                true
            }
            None => false,
        },
        origin if is_key(table, origin) => match &keys.values {
            Some(values) => {
                selection.narrow_keys(table, values.clone());
                true
            }
            None => false,
        },
        Origin::Hidden(_) | Origin::Declared(_) => false,
    }
}

/// One piece after the other to one stream after the other.
fn dealt(pieces: Vec<Piece>, streams: usize) -> Vec<Vec<Piece>> {
    let mut dealt = vec![Vec::new(); streams];
    for (at, piece) in pieces.into_iter().enumerate() {
        dealt[at % streams].push(piece);
    }
    dealt
}

/// Shares of equally many records, each of as few pieces as can be.
fn cut(pieces: Vec<Piece>, streams: usize) -> Vec<Vec<Piece>> {
    let records: u64 = pieces.iter().map(|piece| piece.offsets.end - piece.offsets.start).sum();
    let share = records.div_ceil(streams as u64).max(1);
    let mut shares = vec![Vec::new(); streams];
    let (mut at, mut room) = (0, share);
    for Piece { shard, mut offsets } in pieces {
        while !offsets.is_empty() {
            let count = room.min(offsets.end - offsets.start);
            shares[at].push(Piece { shard, offsets: offsets.start..offsets.start + count });
            offsets.start += count;
            room -= count;
            if room == 0 && at + 1 < streams {
                (at, room) = (at + 1, share);
            }
        }
    }
    shares
}
