//! A secret is read where it is kept, and shown nowhere.

use super::*;
use crate::Kind;

/// A file that goes with the test.
struct TestFile(PathBuf);

impl TestFile {
    fn write(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("polder-secret-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("write a file");
        Self(path)
    }

    fn secret(&self) -> Secret {
        Secret::parse("password", &format!("file:{}", self.0.display())).expect("a reference")
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_reference_prints_as_it_was_written() {
    for text in ["env:SHOP_PASSWORD", "file:/run/secrets/shop"] {
        assert_eq!(Secret::parse("password", text).expect("a reference").to_string(), text);
    }
}

#[test]
fn plain_text_is_refused_and_not_repeated() {
    for text in ["hunter2", "ENV:NAME", "env:", "file:", "", " env:NAME"] {
        let error = Secret::parse("password", text).expect_err("no reference");
        assert_eq!((error.kind(), error.state()), (Kind::Fix, SqlState::PARAMETER));
        let said = format!("{error} {error:?} {:?} {:?}", error.detail(), error.hint());
        assert!(text.is_empty() || text == "env:" || text == "file:" || !said.contains(text), "{said}");
        assert!(error.message().contains("\"password\""), "{error}");
    }
}

#[test]
fn a_secret_in_a_file_is_read_at_each_call_without_its_line_end() {
    let file = TestFile::write("rotated", b"hunter2\r\n");
    let secret = file.secret();
    assert_eq!(secret.reveal().expect("readable").expose(), "hunter2");
    std::fs::write(&file.0, " two words \n").expect("rotate the secret");
    assert_eq!(secret.reveal().expect("readable").expose(), " two words ");
}

#[test]
fn neither_the_reference_nor_its_errors_show_what_is_kept() {
    let file = TestFile::write("binary", b"hunter2 \xff\xfe");
    let secret = file.secret();
    let error = secret.reveal().err().expect("it is not UTF-8");
    let said = format!("{secret} {secret:?} {error} {error:?} {:?} {:?}", error.detail(), error.hint());
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_secret_that_is_not_there_names_its_place() {
    let error = Secret::Env("POLDER_TEST_HOLDS_NO_SECRET".into()).reveal().err().expect("it is not set");
    assert!(error.message().contains("POLDER_TEST_HOLDS_NO_SECRET"), "{error}");
    assert!(error.hint().is_some());
    let error = Secret::File("/no/such/secret".into()).reveal().err().expect("it does not exist");
    assert_eq!(error.state(), SqlState::NO_FILE);
    assert!(error.message().contains("/no/such/secret"), "{error}");
}
