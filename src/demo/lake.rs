//! The lake of the tour: products and two years of orders as Parquet, refunds as CSV.

use super::customers::CUSTOMERS;
use super::random::Random;
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::parquet::arrow::ArrowWriter;
use std::error::Error;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const ORDERS_PER_YEAR: usize = 10_000;
/// 2024-01-01 and 2025-01-01, in seconds.
const YEARS: [(u32, i64); 2] = [(2024, 1_704_067_200), (2025, 1_735_689_600)];
const SECONDS_PER_YEAR: usize = 365 * 86_400;

/// Category, name, price in cents.
const PRODUCTS: [(&str, &str, i128); 12] = [
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
    let orders = folder.join("orders");
    fs::create_dir_all(&orders)?;
    write_parquet(&folder.join("products.parquet"), &products()?)?;
    let mut random = Random::new(42);
    let mut refunds = String::from("order_id,reason\n");
    for (at, (year, start)) in YEARS.into_iter().enumerate() {
        let first = at * ORDERS_PER_YEAR;
        write_parquet(&orders.join(format!("{year}.parquet")), &year_of_orders(first, start, &mut random)?)?;
        refund_some(first, &mut random, &mut refunds)?;
    }
    Ok(fs::write(folder.join("refunds.csv"), refunds)?)
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

/// One order in twenty comes back.
fn refund_some(first: usize, random: &mut Random, refunds: &mut String) -> Result<()> {
    const REASONS: [&str; 4] = ["damaged", "wrong size", "too late", "changed my mind"];
    for order in first + 1..=first + ORDERS_PER_YEAR {
        if random.below(20) == 0 {
            writeln!(refunds, "{order},{}", random.pick(&REASONS))?;
        }
    }
    Ok(())
}

fn write_parquet(path: &Path, rows: &RecordBatch) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(())
}
