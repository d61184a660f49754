//! Opens the store behind a catalog: a folder of this machine, or a bucket of an S3 server.

use crate::error::Place;
use crate::location::Location;
use crate::options::{Credentials, S3Settings};
use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig};
use polder_catalog::{Error, Result, Secret, SqlState};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to be made; a dead endpoint is told after the retries of this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the store. No request is sent and no secret is read before the first use.
pub(crate) fn open(place: &Place, settings: &S3Settings) -> Result<Arc<dyn ObjectStore>> {
    match &place.location {
        Location::Local(_) => Ok(Arc::new(LocalFileSystem::new())),
        Location::S3 { bucket, .. } => s3(bucket, settings).map(|store| Arc::new(store) as _).map_err(|error| {
            Error::fix(
                SqlState::PARAMETER,
                format!("catalog \"{}\": the options of the bucket do not fit", place.catalog),
            )
            .with_detail(error.to_string())
            .with_hint("check region, endpoint and credentials in CREATE CATALOG, and the AWS_* variables")
        }),
    }
}

fn s3(bucket: &str, settings: &S3Settings) -> object_store::Result<object_store::aws::AmazonS3> {
    // The environment gives region, endpoint and credentials; what the options say goes over it.
    let mut builder = match settings.credentials {
        Credentials::Environment => AmazonS3Builder::from_env(),
        Credentials::Keys { .. } | Credentials::None => AmazonS3Builder::new(),
    };
    builder = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(settings.virtual_hosted)
        .with_retry(retry(settings))
        .with_client_options(client(settings));
    let region = settings.region.clone().or_else(region_of_environment);
    builder = builder.with_region(region.unwrap_or_else(|| "us-east-1".to_string()));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    match &settings.credentials {
        Credentials::Environment => {}
        Credentials::None => builder = builder.with_skip_signature(true),
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            builder = builder.with_credentials(Arc::new(SecretKeys {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            }));
        }
    }
    builder.build()
}

fn region_of_environment() -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
}

fn client(settings: &S3Settings) -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
        .with_timeout(settings.timeout)
        .with_allow_http(settings.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")))
}

fn retry(settings: &S3Settings) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: settings.retries, retry_timeout: settings.timeout }
}

/// Keys whose secret is read anew for each request, so a rotated secret is picked up.
#[derive(Debug)]
struct SecretKeys {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

#[async_trait]
impl CredentialProvider for SecretKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = |secret: &Secret| {
            secret.reveal().map_err(|error| object_store::Error::Generic { store: "secret", source: Box::new(error) })
        };
        let secret_key = read(&self.secret_access_key)?.expose().to_string();
        let token = self.session_token.as_ref().map(read).transpose()?.map(|token| token.expose().to_string());
        Ok(Arc::new(AwsCredential { key_id: self.access_key_id.clone(), secret_key, token }))
    }
}
