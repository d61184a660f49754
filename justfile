# Short names for what one does all day. Nothing here is needed: each line can be typed as it is.

# What has to pass before a change lands.
check:
    .ci/run

# All tests, or those whose name is given.
test *NAMES:
    scripts/test {{ NAMES }}

# Fills in the expected output of SQL tests; read the diff.
complete *NAMES:
    scripts/test --test sql -- --complete {{ NAMES }}

# Rewrites the generated references and the snapshots; read the diff.
update:
    POLDER_UPDATE=1 INSTA_UPDATE=always scripts/test

# A guided tour.
demo:
    cargo run -- demo

# Measures one workload against its peers.
bench WORKLOAD:
    cargo run --release -p polder-benchmarks -- {{ WORKLOAD }}
