//! How an error looks on standard error.

use polder_catalog::Error;
use std::io::Write;

/// `error: message [SQLSTATE]`, then a `detail:` and a `hint:` line if there is more to say.
pub(crate) fn report(error: &Error, out: &mut dyn Write) {
    let mut text = format!("error: {} [{}]\n", error.message().trim_end(), error.state());
    for (label, more) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("{label}: {}\n", more.trim_end()));
        }
    }
    // There is nobody left to tell if standard error is gone.
    drop(out.write_all(text.as_bytes()));
}
