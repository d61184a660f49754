//! What requests are signed with when the environment says so, in processes of their own.
//!
//! The services that give out credentials are mocks: the real ones live inside AWS. The S3 server is a real one, and
//! takes a signature only if the right keys have arrived.

use super::mock::Mock;
use super::proxy::Proxy;
use super::s3::{BUCKET, Bucket};
use super::*;
use std::process::Stdio;
use tokio::process::Command;

/// Lines of `name=value`: the options of the catalog that a process of its own attaches.
const OPTIONS: &str = "POLDER_TEST_OPTIONS";

/// The other half of the tests below, which start it in a process of its own. By itself it has nothing to do.
#[tokio::test]
async fn a_process_of_its_own_reads_as_its_environment_says() {
    let Ok(options) = std::env::var(OPTIONS) else { return };
    let options: Vec<_> = options.lines().filter_map(|line| line.split_once('=')).collect();
    let read = async {
        let lake = attach(&options).await?;
        query(&lake, &context(), "public", "t", "SELECT a FROM t").await
    };
    match read.await {
        Ok(rows) => println!("rows: {rows:?}"),
        Err(error) => println!("error: {}: {}", error.state(), format!("{error:?}").replace('\n', " ")),
    }
}

/// A bucket with one table, behind a proxy that sees what is sent.
struct Seen {
    bucket: Bucket,
    proxy: Proxy,
    folder: TempDir,
}

impl Seen {
    async fn new() -> Self {
        let bucket = Bucket::new();
        bucket.put_rows("t.csv", "SELECT 1 AS a").await;
        let proxy = Proxy::before(&bucket.s3.endpoint()).await;
        Self { bucket, proxy, folder: tempfile::tempdir().expect("make a folder") }
    }

    /// What a process says that has these variables, and no others of AWS.
    async fn read(&self, options: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
        let all = [("location", "s3://polder-lake/in/side"), ("retries", "0"), ("timeout", "5s")];
        let options: String = all.iter().chain(options).map(|(name, value)| format!("{name}={value}\n")).collect();
        let test = "tests::credentials::a_process_of_its_own_reads_as_its_environment_says";
        let mut command = Command::new(std::env::current_exe().expect("this test's own file"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_none_or(|name| name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy")) {
                command.env_remove(name);
            }
        }
        command.args(["--exact", test, "--nocapture"]).env(OPTIONS, options).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().await.expect("start the test again");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = |line: &&str| line.starts_with("rows: ") || line.starts_with("error: ");
        text.lines().find(said).unwrap_or_else(|| panic!("{output:?}")).to_string()
    }

    /// The same, at the proxy.
    async fn read_here(&self, variables: &[(&str, &str)]) -> String {
        self.read(&[("endpoint", &self.proxy.endpoint())], variables).await
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.to_str().expect("a UTF-8 path").to_string()
    }

    /// Every request was signed with the keys that came with this session token.
    #[track_caller]
    fn assert_signed(&self, token: &str) {
        let heads = self.proxy.requests("");
        let signed = format!("x-amz-security-token: {token}\r\n");
        let is_signed = |head: &String| head.contains(&signed) && head.contains("Credential=polder-access/");
        assert!(!heads.is_empty() && heads.iter().all(is_signed), "{heads:?}");
    }
}

const ROWS: &str = r#"rows: ["1"]"#;

/// No credentials: one error that says so, and no secret in it.
#[track_caller]
fn assert_no_credentials(said: &str, cause: &str) {
    assert!(said.starts_with("error: 28000: "), "{said}");
    assert!(said.contains("no credentials could be obtained") && said.contains("check the AWS_* variables"), "{said}");
    assert!(said.contains(r#"catalog \"lake\""#) && said.contains(cause), "{said}");
    assert!(!said.contains("the-token"), "{said}");
}

/// Keys of the S3 server, as the services for containers and instances give them. The server knows no sessions, so it
/// takes no token but the empty one.
fn keys(expiration: &str, token: &str) -> String {
    format!(
        r#"{{"Code": "Success", "AccessKeyId": "polder-access", "SecretAccessKey": "polder-secret/key+",
            "Token": "{token}", "Expiration": "{expiration}"}}"#
    )
}

fn sts(head: &str) -> (u16, String) {
    let asked = [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fpolder",
        "WebIdentityToken=the-token ",
    ];
    if !head.starts_with("POST /") || !asked.iter().all(|part| head.contains(part.trim_end())) {
        return (403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>".to_string());
    }
    let answer = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>polder-access</AccessKeyId><SecretAccessKey>polder-secret/key+</SecretAccessKey>\
        <SessionToken></SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
        </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    (200, answer.to_string())
}

/// As in a Kubernetes pod with a service account. The token is worth a login, so it goes nowhere but over TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_is_exchanged_for_credentials() {
    let seen = Seen::new().await;
    let sts = Mock::https(sts, seen.folder.path()).await;
    let trusted = seen.folder.path().join("mock.pem").display().to_string();
    let (token, endpoint) = (seen.file("token", "the-token"), format!("https://{}", sts.address()));
    let variables = |role, endpoint, token| {
        [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
            ("AWS_ROLE_ARN", role),
            ("AWS_ENDPOINT_URL_STS", endpoint),
            ("SSL_CERT_FILE", trusted.as_str()),
        ]
    };
    let role = "arn:aws:iam::1:role/polder";
    assert_eq!(seen.read_here(&variables(role, &endpoint, &token)).await, ROWS);
    seen.assert_signed("");
    assert_eq!(sts.requests().len(), 1, "the credentials are kept: {:?}", sts.requests());
    assert_no_credentials(
        &seen.read_here(&variables("arn:aws:iam::1:role/other", &endpoint, &token)).await,
        "AccessDenied",
    );
    assert_no_credentials(&seen.read_here(&variables(role, &endpoint, "/no/such/token")).await, "/no/such/token");
    let plain = endpoint.replace("https://", "http://");
    assert_no_credentials(&seen.read_here(&variables(role, &plain, &token)).await, "");
    let unsafe_requests = sts.requests().into_iter().filter(|head| !head.starts_with("POST /"));
    assert_eq!(unsafe_requests.count(), 0);
}

fn instance(head: &str) -> (u16, String) {
    let role = "GET /latest/meta-data/iam/security-credentials/";
    match head {
        _ if head.starts_with("PUT /latest/api/token ") => (200, "imds-token".to_string()),
        _ if !head.to_lowercase().contains("x-aws-ec2-metadata-token: imds-token\r\n") => (401, String::new()),
        _ if head.starts_with(&format!("{role} ")) => (200, "polder-role".to_string()),
        // Over already: each request needs new ones.
        _ if head.starts_with(&format!("{role}polder-role ")) => (200, keys("2020-01-01T00:00:00Z", "")),
        _ => (404, String::new()),
    }
}

fn instance_without_a_role(head: &str) -> (u16, String) {
    if head.starts_with("PUT ") { (200, "imds-token".to_string()) } else { (404, String::new()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_role_is_asked_for_credentials_and_again_when_they_are_over() {
    let seen = Seen::new().await;
    let service = Mock::http(instance).await;
    let endpoint = format!("http://{}", service.address());
    assert_eq!(seen.read_here(&[("AWS_METADATA_ENDPOINT", &endpoint)]).await, ROWS);
    seen.assert_signed("");
    let fetched = service.requests().iter().filter(|head| head.contains("/polder-role ")).count();
    assert!(fetched > 1, "{:?}", service.requests());
    let service = Mock::http(instance_without_a_role).await;
    let endpoint = format!("http://{}", service.address());
    assert_no_credentials(&seen.read_here(&[("AWS_METADATA_ENDPOINT", &endpoint)]).await, "404");
    let nowhere = format!("http://127.0.0.1:{}", polder_testing::free_port());
    assert_no_credentials(&seen.read_here(&[("AWS_METADATA_ENDPOINT", &nowhere)]).await, "");
}

fn container(head: &str) -> (u16, String) {
    let has_token = head.to_lowercase().contains("authorization: the-token\r\n");
    match head {
        _ if head.starts_with("GET /pod ") && has_token => (200, keys("2099-01-01T00:00:00Z", "")),
        // Sent to a proxy, a request names its host.
        _ if head.starts_with("GET http://169.254.170.2/task/1 ") => (200, keys("2099-01-01T00:00:00Z", "")),
        _ if head.starts_with("GET http://169.254.170.2/task/2 ") => (200, keys("2099-01-01T00:00:00Z", "session-2")),
        _ => (403, "AccessDenied".to_string()),
    }
}

/// As in EKS, with an address and a token, and in ECS, whose address is always the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_given_credentials() {
    let seen = Seen::new().await;
    let service = Mock::http(container).await;
    let (pod, proxy) = (format!("http://{}/pod", service.address()), format!("http://{}", service.address()));
    let variables = |token| {
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)]
    };
    let (good, bad) = (seen.file("good", "the-token"), seen.file("bad", "a-wrong-one"));
    assert_eq!(seen.read_here(&variables(good.as_str())).await, ROWS);
    assert_no_credentials(&seen.read_here(&variables(bad.as_str())).await, "403");
    let task = |uri| {
        [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", uri), ("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")]
    };
    assert_eq!(seen.read_here(&task("/task/1")).await, ROWS);
    seen.assert_signed("");
    assert_eq!(service.requests().len(), 3, "the credentials are kept: {:?}", service.requests());
    let seen = Seen::new().await;
    let said = seen.read_here(&task("/task/2")).await;
    seen.assert_signed("session-2");
    assert!(said.starts_with("error: 28000: ") && said.contains("the credentials are not valid"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_the_endpoint_come_from_the_environment_and_options_go_over_them() {
    let seen = Seen::new().await;
    let s3 = &seen.bucket.s3;
    let (here, nowhere) = (seen.proxy.endpoint(), format!("http://127.0.0.1:{}", polder_testing::free_port()));
    let keys = [("AWS_ACCESS_KEY_ID", s3.access_key()), ("AWS_SECRET_ACCESS_KEY", s3.secret_key())];
    let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        keys.iter().chain(more).map(|(name, value)| (*name, value.to_string())).collect()
    };
    for (option, variables, expected) in [
        (None, with(&[("AWS_ENDPOINT_URL", &here)]), ROWS),
        (None, with(&[("AWS_ENDPOINT_URL", &nowhere), ("AWS_ENDPOINT_URL_S3", &here)]), ROWS),
        (Some(&here), with(&[("AWS_ENDPOINT_URL", &nowhere), ("AWS_ENDPOINT_URL_S3", &nowhere)]), ROWS),
        (None, with(&[("AWS_ENDPOINT_URL", "http://s3.example")]), "AWS_ENDPOINT_URL cannot be 'http://s3.example'"),
        (Some(&here), vec![("AWS_ACCESS_KEY_ID", "half".to_string())], "the options of the bucket do not fit"),
    ] {
        let options: Vec<_> = option.iter().map(|endpoint| ("endpoint", endpoint.as_str())).collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let said = seen.read(&options, &variables).await;
        assert!(said.contains(expected), "{options:?} {variables:?}: {said}");
    }
}

/// Whatever keys lie about, a public bucket is not told them.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_bucket_is_read_without_a_signature() {
    let seen = Seen::new().await;
    let endpoint = seen.proxy.endpoint();
    let options = [("endpoint", endpoint.as_str()), ("credentials", "none")];
    let variables = [("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    let said = seen.read(&options, &variables).await;
    assert!(said.starts_with("error: 42501: ") && said.contains("access denied"), "not public yet: {said}");
    seen.bucket.s3.make_public(BUCKET);
    assert_eq!(seen.read(&options, &variables).await, ROWS);
    for head in seen.proxy.requests("") {
        let lower = head.to_lowercase();
        assert!(
            !lower.contains("authorization") && !lower.contains("x-amz-security") && !lower.contains("somebody"),
            "{head}"
        );
    }
}
