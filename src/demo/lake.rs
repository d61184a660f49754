//! The files of the tour: products in the lake, and two years of orders before the topic, all Parquet.

use super::customers::CUSTOMERS;
use super::random::Random;
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::parquet::arrow::ArrowWriter;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

pub(super) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const ORDERS_PER_YEAR: usize = 10_000;
/// 2024-01-01 and 2025-01-01, in seconds.
const YEARS: [(u32, i64); 2] = [(2024, 1_704_067_200), (2025, 1_735_689_600)];
const SECONDS_PER_YEAR: usize = 365 * 86_400;

/// Category, name, price in cents.
pub(super) const PRODUCTS: [(&str, &str, i128); 12] = [
    ("bikes", "city bike", 64_900),
    ("bikes", "cargo bike", 289_900),
    ("bikes", "children's bike", 24_900),
    ("parts", "chain", 2_495),
    ("parts", "saddle", 3_950),
    ("parts", "brake pads", 1_250),
    ("clothing", "rain jacket", 8_995),
    ("clothing", "gloves", 2_495),
    ("clothing", "helmet", 5_995),
    ("accessories", "lock", 4_495),
    ("accessories", "lights", 2_995),
    ("accessories", "pannier", 6_950),
];

/// Writes all files below `folder`, which is made.
pub(super) fn write(folder: &Path) -> Result<()> {
    let (lake, history) = (folder.join("lake"), folder.join("history"));
    fs::create_dir_all(&lake)?;
    fs::create_dir_all(&history)?;
    write_parquet(&lake.join("products.parquet"), &products()?)?;
    let mut random = Random::new(42);
    for (at, (year, start)) in YEARS.into_iter().enumerate() {
        let orders = year_of_orders(at * ORDERS_PER_YEAR, start, &mut random)?;
        write_parquet(&history.join(format!("{year}.parquet")), &orders)?;
    }
    Ok(())
}

fn products() -> Result<RecordBatch> {
    let prices: Decimal128Array = PRODUCTS.iter().map(|(.., cents)| Some(*cents)).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new((1..).take(PRODUCTS.len()).collect::<Int32Array>())),
        ("category", Arc::new(PRODUCTS.iter().map(|(category, ..)| Some(*category)).collect::<StringArray>())),
        ("name", Arc::new(PRODUCTS.iter().map(|(_, name, _)| Some(*name)).collect::<StringArray>())),
        ("price", Arc::new(prices.with_precision_and_scale(10, 2)?)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// In the order of time, as a shop would append them.
fn year_of_orders(first: usize, start: i64, random: &mut Random) -> Result<RecordBatch> {
    let mut seconds: Vec<usize> = (0..ORDERS_PER_YEAR).map(|_| random.below(SECONDS_PER_YEAR)).collect();
    seconds.sort_unstable();
    let (mut customers, mut products, mut quantities) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ORDERS_PER_YEAR {
        customers.push(i64::try_from(random.skewed(CUSTOMERS) + 1)?);
        let product = random.below(PRODUCTS.len());
        products.push(i32::try_from(product + 1)?);
        // Nobody buys four bikes.
        quantities.push(if PRODUCTS[product].0 == "bikes" { 1 } else { i32::try_from(random.skewed(4) + 1)? });
    }
    let times: Vec<i64> =
        seconds.into_iter().map(|second| Ok((start + i64::try_from(second)?) * 1_000_000)).collect::<Result<_>>()?;
    let ids = (first + 1..).take(ORDERS_PER_YEAR).map(i64::try_from).collect::<Result<Vec<_>, _>>()?;
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from(ids))),
        ("ordered_at", Arc::new(TimestampMicrosecondArray::from(times))),
        ("customer_id", Arc::new(Int64Array::from(customers))),
        ("product_id", Arc::new(Int32Array::from(products))),
        ("quantity", Arc::new(Int32Array::from(quantities))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn write_parquet(path: &Path, rows: &RecordBatch) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(())
}
