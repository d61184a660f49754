//! What a user writes in `WITH (...)`, right and wrong.

use super::*;
use crate::Kind;

const SPECS: &[OptionSpec] = &[
    OptionSpec::new("url", OptionKind::Text, "where the system is").required(),
    OptionSpec::new("password", OptionKind::Secret, "where the password is kept"),
    OptionSpec::new("pool_size", OptionKind::Integer(1, 64), "connections at most").default("8"),
    OptionSpec::new("read_only", OptionKind::Boolean, "whether writes are refused"),
    OptionSpec::new("timeout", OptionKind::Duration, "how long to wait").default("30s"),
    OptionSpec::new("access", OptionKind::Choice(&["read", "write"]), "what is allowed").default("read"),
];

fn validate(given: &[(&str, &str)]) -> Result<Options> {
    Options::validate(SPECS, given.iter().map(|(name, value)| (name.to_string(), value.to_string())))
}

/// The error of one option beside a valid `url`.
#[track_caller]
fn refused(name: &str, value: &str) -> Error {
    let error = validate(&[("url", "x"), (name, value)]).expect_err("the option does not fit");
    assert_eq!((error.kind(), error.state()), (Kind::Fix, SqlState::PARAMETER), "{error:?}");
    error
}

#[test]
fn given_values_win_over_defaults() {
    let options = validate(&[("url", "there"), ("pool_size", "2"), ("access", "write")]).expect("valid");
    assert_eq!(options.text("url"), Some("there"));
    assert_eq!(options.integer("pool_size"), Some(2));
    assert_eq!(options.text("access"), Some("write"));
    assert_eq!(options.duration("timeout"), Some(Duration::from_secs(30)));
    assert!(!options.boolean("read_only"));
    assert_eq!(options.secret("password"), None);
    let given: Vec<_> = options.given().collect();
    assert_eq!(given, [("access", "write"), ("pool_size", "2"), ("url", "there")], "defaults are not given");
}

#[test]
fn a_misspelt_name_gets_the_near_one() {
    let hint = |name| refused(name, "1").hint().map(str::to_string).expect("a hint");
    assert_eq!(hint("poolsize"), "did you mean \"pool_size\"?");
    assert_eq!(hint("pasword"), "did you mean \"password\"?");
    assert_eq!(hint("ulr"), "did you mean \"url\"?");
}

#[test]
fn a_name_that_is_near_to_none_gets_the_list() {
    let error = refused("compression", "1");
    assert_eq!(error.message(), "option \"compression\" does not exist");
    let expected = "the options are: url, password, pool_size, read_only, timeout, access";
    assert_eq!(error.hint(), Some(expected));
}

#[test]
fn every_kind_takes_what_it_says() {
    let fits = |name: &str, value: &str| validate(&[("url", "x"), (name, value)]).is_ok();
    for (name, good, bad) in [
        ("pool_size", &["1", "64"][..], &["0", "65", "eight", "", "1.5", "99999999999999999999"][..]),
        ("read_only", &["true", "off", "YES", "0"], &["maybe", "", "2"]),
        ("timeout", &["500ms", "30s", "5m", "1h", "5 min", "7 days"], &["30", "s", "", "-1s", "1.5s", "5 weeks"]),
        ("access", &["read", "write"], &["READ", "", "readwrite"]),
        ("password", &["env:NAME", "file:/run/secret"], &["hunter2", "env:", "file:", ""]),
    ] {
        good.iter().for_each(|value| assert!(fits(name, value), "{name} = '{value}' is refused"));
        bad.iter().for_each(|value| assert!(!fits(name, value), "{name} = '{value}' is taken"));
    }
}

#[test]
fn a_value_that_does_not_fit_is_told_what_does() {
    let error = refused("pool_size", "65");
    assert_eq!(error.message(), "option \"pool_size\" cannot be '65'");
    assert_eq!(error.hint(), Some("it takes integer 1 to 64"));
    assert_eq!(refused("access", "admin").hint(), Some("it takes read | write"));
}

#[test]
fn durations_have_units_and_bounds() {
    let read = |text: &str| parse_duration(text);
    assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(read("2min"), Some(Duration::from_secs(120)));
    assert_eq!(read("1h"), Some(Duration::from_secs(3600)));
    assert_eq!(read("99999999999999999999s"), None);
    assert_eq!(read("18446744073709551615h"), None, "it overflows");
}

#[test]
fn an_option_is_given_once() {
    let error = validate(&[("url", "a"), ("url", "b")]).expect_err("given twice");
    assert_eq!(error.message(), "option \"url\" is given twice");
}

#[test]
fn a_required_option_that_is_missing_is_explained() {
    let error = validate(&[("pool_size", "3")]).expect_err("no url");
    assert_eq!(error.state(), SqlState::PARAMETER);
    assert_eq!(error.message(), "option \"url\" is missing");
    assert_eq!(error.hint(), Some("url: where the system is"));
}

#[test]
fn a_secret_in_plain_text_is_refused_and_not_repeated() {
    let error = refused("password", "hunter2");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("env:NAME")), "{error:?}");
}
