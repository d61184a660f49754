//! Tokens: every position comes back as it was, and nothing else is taken for one.

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn positions() -> impl Strategy<Value = Position> {
    let shards =
        btree_map(any::<String>().prop_map(|name| ShardName(name.into())), any::<u64>().prop_map(Offset), 0..5);
    let source = any::<String>().prop_map(CatalogName::new);
    let at = vec(any::<u8>(), 0..20).prop_map(SourcePosition::new);
    (shards, btree_map(source, at, 0..5)).prop_map(|(shards, sources)| Position { shards, sources })
}

/// Text made of what tokens are made of, so that it often is nearly one.
fn near_tokens() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["main", ":", "@", ",", "%", "%2", "%2c", "%ff", "+", "-", "7", "16b3", "é", " "]);
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_position_comes_back_from_its_token(position in positions()) {
        let token = position.to_string();
        prop_assert!(token.is_ascii() && !token.contains(' '), "{}", token);
        prop_assert_eq!(token.parse::<Position>().expect("its own token"), position);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(text in prop_oneof![any::<String>(), near_tokens()]) {
        match text.parse::<Position>() {
            // What is taken means one thing: its own token gives it back.
            Ok(position) => prop_assert_eq!(position.to_string().parse::<Position>().expect("its own token"), position),
            Err(error) => prop_assert_eq!(error.state(), SqlState::PARAMETER),
        }
    }

    #[test]
    fn a_position_includes_itself_and_what_is_before(position in positions(), less in 0u64..3) {
        let mut before = position.clone();
        before.shards.values_mut().for_each(|offset| offset.0 = offset.0.saturating_sub(less));
        before.sources.pop_first();
        prop_assert!(position.includes(&position));
        prop_assert!(position.includes(&before));
        prop_assert!(before == position || !before.includes(&position));
    }
}

#[test]
fn what_is_nearly_a_token_is_refused() {
    for text in [
        "main",
        "main:",
        "main:x",
        "main:+1",
        "main:-1",
        "main:1,",
        ",main:1",
        "main:1,main:2",
        "shop@1",
        "shop@zz",
        "shop@+1",
        "%:1",
        "%4:1",
        "%+1:1",
        "%ff:1",
        "main:18446744073709551616",
        "shop@16b3,shop@16b4",
    ] {
        let error = text.parse::<Position>().expect_err(text);
        assert!(error.hint().is_some_and(|hint| hint.contains("SHOW POSITION")), "{text}: {error:?}");
    }
}

#[test]
fn nothing_read_yet_is_the_empty_token() {
    assert_eq!(Position::default().to_string(), "");
    assert_eq!("".parse::<Position>().expect("the empty token"), Position::default());
}

#[test]
fn source_positions_sort_as_their_bytes() {
    let at = |number: u64| SourcePosition::new(number.to_be_bytes());
    assert!(at(255) < at(256));
    assert_eq!(at(258).to_string(), "0000000000000102");
}
