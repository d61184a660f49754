//! The OpenAPI document: that it is one, and that the server keeps to it whatever it is sent.

use crate::root;
use crate::serve::polder_python;
use crate::server::{Server, assert_ran};
use std::process::Command;

#[test]
fn the_document_is_valid() {
    let validator = polder_python().with_file_name("openapi-spec-validator");
    let document = root().join("src/server/http/openapi.json");
    let output = Command::new(validator).args(["--schema", "3.1"]).arg(document).output().expect("run the validator");
    assert_ran(&output);
}

/// Requests made from the document, right and wrong ones: no answer is a defect of the server, and none is undocumented.
#[test]
fn the_server_answers_as_the_document_says() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("make a temporary directory");
    let schemathesis = polder_python().with_file_name("schemathesis");
    let output = Command::new(schemathesis)
        .args(["run", "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "7"])
        .args(["--max-time", "20", "--no-color", "--suppress-health-check", "all"])
        .args(["--checks", CHECKS, "--generation-database", "none"])
        .arg(format!("http://{}/v1/openapi.json", server.http))
        .current_dir(folder.path())
        .output()
        .expect("run schemathesis");
    assert_ran(&output);
    server.sql("SELECT 1");
    server.stop();
}

/// All but the one that takes every text for a statement.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method";
