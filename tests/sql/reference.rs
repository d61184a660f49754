//! The generated pages of `docs/reference` are those that the code gives.

use libtest_mimic::{Failed, Trial};
use std::path::Path;

/// Set to rewrite the pages.
const UPDATE: &str = "POLDER_UPDATE";

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("reference::pages_are_those_that_the_code_gives", pages_are_those_that_the_code_gives)]
}

fn pages_are_those_that_the_code_gives() -> Result<(), Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let functions = crate::script::block_on(crate::client::engine())?.session().function_names();
    let registry = polder::Engine::builder().registry()?;
    for (name, text) in polder::reference::pages(&registry, &functions) {
        let file = folder.join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&file, &text)?;
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != text {
            return Err(
                format!("docs/reference/{name} is stale: run {UPDATE}=1 scripts/test --test sql reference").into()
            );
        }
    }
    Ok(())
}
