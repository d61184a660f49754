//! What can be told without a connection.

use super::format::Encoding;
use super::is_loopback_name;
use crate::render::Format;
use axum::http::{HeaderMap, HeaderValue, header};

fn accepted(accept: &str) -> Option<Encoding> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
    Encoding::accepted(&headers)
}

#[test]
fn the_client_chooses_the_format() {
    assert_eq!(Encoding::accepted(&HeaderMap::new()), Some(Encoding::Text(Format::Json)));
    assert_eq!(accepted("*/*"), Some(Encoding::Text(Format::Json)));
    assert_eq!(accepted("text/csv"), Some(Encoding::Text(Format::Csv)));
    assert_eq!(accepted("text/*, application/json;q=0.5"), Some(Encoding::Text(Format::Csv)));
    assert_eq!(accepted("Application/X-NDJSON; charset=utf-8"), Some(Encoding::Text(Format::Ndjson)));
    assert_eq!(accepted("application/vnd.apache.arrow.stream, */*;q=0.1"), Some(Encoding::Arrow));
    assert_eq!(accepted("application/json;q=0, */*"), Some(Encoding::Text(Format::Ndjson)));
    assert_eq!(accepted("image/png"), None);
    assert_eq!(accepted("application/json;q=0"), None);
}

#[test]
fn a_name_that_was_pointed_here_is_not_loopback() {
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080"] {
        assert!(is_loopback_name(host), "{host}");
    }
    for host in ["", "example.com", "localhost.example.com", "127.0.0.1.example.com:80", "[::2]", "10.0.0.1", "0.0.0.0"]
    {
        assert!(!is_loopback_name(host), "{host}");
    }
}
