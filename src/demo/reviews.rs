//! The reviews of the tour, as the NDJSON that another system would send.

use super::lake::{PRODUCTS, Result};
use super::random::Random;
use serde_json::json;
use std::fs;
use std::path::Path;

const REVIEWS: usize = 240;

/// Stars, and what is written with them.
const TEXTS: [(i64, &str); 10] = [
    (5, "I ride it every day and it never let me down."),
    (5, "Exactly as described, and it was here within two days."),
    (4, "Solid for the price. The color is darker than in the picture."),
    (4, "Good, but the manual is only in Dutch."),
    (3, "It does what it should, no more."),
    (3, "My neighbor has the same and likes it better than I do."),
    (2, "After three weeks the clip broke. Support sent a new one at once."),
    (1, "It breaks as soon as it gets cold. Not for winter."),
    (1, "Arrived broken, and nobody answers the phone."),
    (2, "A screw fell off on the first ride, luckily uphill."),
];

/// Writes `reviews.ndjson` into `folder`.
pub(super) fn write(folder: &Path) -> Result<()> {
    let mut random = Random::new(11);
    let mut lines = String::new();
    for id in 1..=REVIEWS {
        let product = random.skewed(PRODUCTS.len()) + 1;
        let (stars, body) = TEXTS[random.below(TEXTS.len())];
        lines.push_str(&format!("{}\n", json!({ "id": id, "product_id": product, "stars": stars, "body": body })));
    }
    Ok(fs::write(folder.join("reviews.ndjson"), lines)?)
}
