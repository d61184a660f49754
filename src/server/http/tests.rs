//! What can be told without a connection.

use super::format::Encoding;
use super::{OPENAPI, console, is_loopback_name, routes};
use crate::render::Format;
use axum::http::{HeaderMap, HeaderValue, header};
use std::collections::BTreeSet;

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

/// The document tells of every path that is served, and of no other.
#[test]
fn the_openapi_document_has_the_paths_of_the_router() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let served: BTreeSet<_> = routes().iter().map(|(path, _)| *path).collect();
    assert_eq!(described, served);
}

/// A file of the folder that is not served is a page that does not load.
#[test]
fn every_file_of_the_console_is_served() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/http/console");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut there: BTreeSet<_> = std::fs::read_dir(folder).unwrap().map(name).collect();
    assert!(there.remove("index.html"));
    let served: BTreeSet<_> = console::FILES.iter().map(|(name, ..)| (*name).to_string()).collect();
    assert_eq!(there, served);
}
