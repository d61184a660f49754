//! Opens the store behind a catalog: a folder of this machine, or a bucket of an S3 server.

use crate::credentials::{FromEnvironment, SecretKeys};
use crate::error::Place;
use crate::location::Location;
use crate::options::{Credentials, S3Settings, checked_endpoint};
use crate::transport::Transport;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to be made; a dead endpoint is told after the retries of this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after its beginning the reading of an object may be taken up again. The number of retries is what bounds
/// them: a body that breaks off after an hour is worth one as much as a body that breaks off at once.
const RETRY_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the store. No request is sent and no secret is read before the first use.
pub(crate) fn open(place: &Place, settings: &S3Settings) -> Result<Arc<dyn ObjectStore>> {
    match &place.location {
        Location::Local(_) => Ok(Arc::new(LocalFileSystem::new())),
        Location::S3 { bucket, .. } => {
            let store = s3(bucket, endpoint(settings)?, settings).map_err(|error| unfit(place, &error))?;
            Ok(Arc::new(store))
        }
    }
}

/// Where the server is, if it is not AWS: the option, or what the environment says along with its credentials.
pub(crate) fn endpoint(settings: &S3Settings) -> Result<Option<String>> {
    if settings.endpoint.is_some() || !matches!(settings.credentials, Credentials::Environment) {
        return Ok(settings.endpoint.clone());
    }
    let environment = AmazonS3Builder::from_env();
    let said = |key: AmazonS3ConfigKey| environment.get_config_value(&key).filter(|text| !text.is_empty());
    let (name, said) = match said(AmazonS3ConfigKey::S3Endpoint) {
        Some(said) => ("AWS_ENDPOINT_URL_S3", Some(said)),
        None => ("AWS_ENDPOINT_URL", said(AmazonS3ConfigKey::Endpoint)),
    };
    said.map(|said| checked_endpoint(name, &said, settings.allow_http)).transpose()
}

fn unfit(place: &Place, error: &object_store::Error) -> Error {
    Error::fix(SqlState::PARAMETER, format!("catalog \"{}\": the options of the bucket do not fit", place.catalog))
        .with_detail(error.to_string())
        .with_hint("check region, endpoint and credentials in CREATE CATALOG, and the AWS_* variables")
}

fn s3(bucket: &str, endpoint: Option<String>, settings: &S3Settings) -> object_store::Result<AmazonS3> {
    // The environment gives region, endpoint and credentials; what the options say goes over it.
    let mut builder = match settings.credentials {
        Credentials::Environment => AmazonS3Builder::from_env(),
        Credentials::Keys { .. } | Credentials::None => AmazonS3Builder::new(),
    };
    let allow_http = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    builder = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(settings.virtual_hosted)
        .with_retry(retry(settings))
        .with_http_connector(Transport {
            silence_max: settings.timeout,
            connect_max: CONNECT_TIMEOUT.min(settings.timeout),
        })
        .with_client_options(ClientOptions::new().with_allow_http(allow_http));
    let region = settings.region.clone().or_else(region_of_environment);
    builder = builder.with_region(region.unwrap_or_else(|| "us-east-1".to_string()));
    if let Some(endpoint) = endpoint {
        // The more specific of two keys: AWS_ENDPOINT_URL_S3 would go over the other.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    builder = match &settings.credentials {
        Credentials::Environment => {
            let found = Arc::clone(builder.clone().build()?.credentials());
            builder.with_credentials(Arc::new(FromEnvironment(found)))
        }
        Credentials::None => builder.with_skip_signature(true),
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            builder.with_credentials(Arc::new(SecretKeys {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            }))
        }
    };
    builder.build()
}

fn region_of_environment() -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
}

fn retry(settings: &S3Settings) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: settings.retries, retry_timeout: RETRY_TIME_MAX }
}
