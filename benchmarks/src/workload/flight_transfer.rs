//! `flight_transfer`: rows of mixed types over Flight SQL into Arrow, by ADBC.
//!
//! Beside it pyarrow's own Flight server gives the same batches from memory to pyarrow's own client: what Flight itself costs in this
//! machine. Strings travel as `Utf8View` and as `Utf8`. A small run has no Python: Arrow's client in Rust stands beside the engine in
//! this process, which shows that it works.

use crate::arguments::Settings;
use crate::contender::Contender;
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::served::Served;
use crate::{Result, mixed, rows};

const ROWS: usize = 5_000_000;
const ROWS_OF_SMALL: usize = 2_000;
const ROUNDS: u32 = 5;

/// What the figures are called, and the type of texts.
const KINDS: [(&str, &str); 2] = [("utf8view", "Utf8View"), ("utf8", "Utf8")];

fn query(kind: &str) -> String {
    format!(
        "SELECT id, flag, small, amount, price, arrow_cast(name, '{kind}') AS name, arrow_cast(note, '{kind}') AS note, \
         day, moment FROM mixed"
    )
}

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let count = if settings.small { ROWS_OF_SMALL } else { ROWS };
    let data = tempfile::tempdir()?;
    mixed::fill(data.path(), count).await?;
    let served = Served::start(settings, data.path())?;
    let channel = served.channel().await?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders.push(format!("polder serve, {count} rows of a table"));
    let peers = match &settings.peers {
        Some(peers) => {
            let (adbc, flight) = (peers.adbc(served.flight_url())?, peers.flight(served.flight_url())?);
            measured.contenders.extend([adbc.version.clone(), flight.version.clone()]);
            Some((adbc, flight))
        }
        None => None,
    };
    for (measure, kind) in KINDS {
        let sql = query(kind);
        let rust = Contender::flight("rust", &channel, &sql);
        let mut contenders = Vec::new();
        if let Some((adbc, flight)) = &peers {
            flight.run(&sql)?;
            contenders.push(Contender::peer("adbc", adbc, &sql));
            contenders.push(Contender::peer("flight", flight, &sql));
        }
        contenders.push(rust);
        measured.hash = check(&contenders, count).await?;
        let samples = interleave(&contenders, measured.rounds).await?;
        measured.table(measure, &samples);
        let rate =
            |ours: usize, peer: usize, bound| Finding::rate(measure, count, &samples[ours], &samples[peer], bound);
        match peers.is_some() {
            true => measured.findings.extend([rate(0, 1, Some(0.7)), rate(2, 1, None)]),
            false => measured.findings.push(rate(0, 0, None)),
        }
    }
    Ok(measured)
}

/// Everybody must have all rows, and the same ones.
async fn check(contenders: &[Contender], count: usize) -> Result<String> {
    let reference = contenders[0].rows().await?;
    if rows::count(&reference) != count {
        return Err(format!("{} rows came of {count}", rows::count(&reference)).into());
    }
    for other in &contenders[1..] {
        rows::assert_identical(&reference, other.name, &other.rows().await?)?;
    }
    Ok(rows::fingerprint(&reference)?.to_string())
}
