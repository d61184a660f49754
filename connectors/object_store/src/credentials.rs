//! What requests are signed with, and how it is told when there is none.

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use polder_catalog::Secret;
use std::sync::Arc;

/// The `store` of an error that arose before the bucket was asked: there was nothing to sign the request with.
pub(crate) const CREDENTIALS: &str = "credentials";

/// Keys whose secret is read anew for each request, so a rotated secret is picked up.
#[derive(Debug)]
pub(crate) struct SecretKeys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

#[async_trait]
impl CredentialProvider for SecretKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = |secret: &Secret| secret.reveal().map_err(missing);
        let secret_key = read(&self.secret_access_key)?.expose().to_string();
        let token = self.session_token.as_ref().map(read).transpose()?.map(|token| token.expose().to_string());
        Ok(Arc::new(AwsCredential { key_id: self.access_key_id.clone(), secret_key, token }))
    }
}

/// Keys, a web identity, a container's or an instance's role: what the environment says, and object_store follows.
#[derive(Debug)]
pub(crate) struct FromEnvironment(pub(crate) AwsCredentialProvider);

#[async_trait]
impl CredentialProvider for FromEnvironment {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.0.get_credential().await.map_err(missing)
    }
}

fn missing(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: CREDENTIALS, source: Box::new(error) }
}
