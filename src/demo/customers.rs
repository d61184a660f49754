//! The customers of the tour, the same in whichever database they live.

use super::random::Random;

/// How many customers there are; their ids count from 1.
pub(super) const CUSTOMERS: usize = 400;

const FIRST_NAMES: [&str; 16] = [
    "Anna", "Bram", "Chloé", "Daan", "Emma", "Finn", "Greta", "Hugo", "Isa", "Jürgen", "Karin", "Lars", "Mila", "Noor",
    "Otto", "Sofie",
];
const LAST_NAMES: [&str; 14] = [
    "Bakker",
    "Bernard",
    "de Boer",
    "de Vries",
    "Dubois",
    "Fischer",
    "Jansen",
    "Maes",
    "Meyer",
    "Peeters",
    "Petit",
    "Schneider",
    "van Dijk",
    "Visser",
];
const CITIES: [(&str, &str); 10] = [
    ("Amsterdam", "NL"),
    ("Utrecht", "NL"),
    ("Groningen", "NL"),
    ("Antwerpen", "BE"),
    ("Gent", "BE"),
    ("Berlin", "DE"),
    ("Hamburg", "DE"),
    ("Köln", "DE"),
    ("Lyon", "FR"),
    ("Paris", "FR"),
];

/// One customer; the id is the place in the list, counted from 1.
pub(super) struct Customer {
    pub(super) name: String,
    pub(super) city: &'static str,
    pub(super) country: &'static str,
}

pub(super) fn customers() -> Vec<Customer> {
    let mut random = Random::new(7);
    let mut customers = Vec::with_capacity(CUSTOMERS);
    for _ in 0..CUSTOMERS {
        let name = format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
        let (city, country) = random.pick(&CITIES);
        customers.push(Customer { name, city, country });
    }
    customers
}
