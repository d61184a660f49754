//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677): a password is checked and never kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use polder_catalog::{Error, Result, SqlState};
use postgres_protocol::password::scram_sha_256;
use sha2::{Digest, Sha256};

type Key = [u8; 32];

/// What a password is checked with. Who has it can check a password, and cannot log in with it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// More would let a verifier that somebody made keep the server busy.
const ITERATIONS_MAX: u32 = 1_000_000;

impl Verifier {
    pub(crate) fn of_password(password: &str) -> Result<Self> {
        Self::parse(&scram_sha_256(password.as_bytes())).ok_or_else(|| Error::report("a verifier cannot be read"))
    }

    /// `SCRAM-SHA-256$iterations:salt$stored key:server key`, as PostgreSQL keeps it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
        let iterations = iterations.parse().ok().filter(|iterations| (1..=ITERATIONS_MAX).contains(iterations))?;
        let salt = STANDARD.decode(salt).ok()?;
        Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// One that no password fits, for a user that does not exist: it looks the same each time.
    pub(crate) fn of_nobody(secret: &Key, user: &str) -> Self {
        let key = hmac(secret, user.as_bytes());
        Self { iterations: 4096, salt: key[..16].to_vec(), stored_key: key, server_key: key }
    }

    pub(crate) fn text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|key| STANDARD.encode(key));
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }

    /// Whether it is that of a password.
    pub(crate) fn fits(&self, password: &str) -> bool {
        let prepared = stringprep::saslprep(password).map_or_else(|_| password.to_string(), |text| text.into_owned());
        let client_key = hmac(&salted(prepared.as_bytes(), &self.salt, self.iterations), b"Client Key");
        same(&Sha256::digest(client_key).into(), &self.stored_key)
    }
}

/// PBKDF2 with HMAC-SHA-256 and one block (RFC 8018, 5.2).
fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password);
    let mut round: Key =
        keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes()).finalize().into_bytes().into();
    let mut whole = round;
    for _ in 1..iterations {
        round = keyed.clone().chain_update(round).finalize().into_bytes().into();
        whole.iter_mut().zip(round).for_each(|(byte, other)| *byte ^= other);
    }
    whole
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of all lengths")
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

/// Takes the same time wherever they differ.
fn same(one: &Key, other: &Key) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

/// A login on its way: the server has named its salt and waits for the proof.
pub(crate) struct Exchange {
    verifier: Verifier,
    header: String,
    nonce: String,
    client_first: String,
    server_first: String,
}

impl Exchange {
    /// Reads what the client says first; the second is what it is answered.
    ///
    /// # Errors
    /// 08P01 for what is no such message, 0A000 for channel binding, which is not offered.
    pub(crate) fn begin(client_first: &[u8], verifier: Verifier, server_nonce: &str) -> Result<(Self, String)> {
        let text = std::str::from_utf8(client_first).map_err(|_| broken())?;
        let (header, bare) = header_of(text)?;
        let mut fields = bare.split(',');
        // The name is that of the start, as in PostgreSQL.
        fields.next().filter(|field| field.starts_with("n=")).ok_or_else(broken)?;
        let client_nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or_else(broken)?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return Err(broken());
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let (header, client_first) = (header.to_string(), bare.to_string());
        let exchange = Self { verifier, header, nonce, client_first, server_first: server_first.clone() };
        Ok((exchange, server_first))
    }

    /// Checks the client's proof, and gives that of the server; None if the password is another one.
    ///
    /// # Errors
    /// 08P01 for what is no such message.
    pub(crate) fn end(self, client_last: &[u8]) -> Result<Option<String>> {
        let text = std::str::from_utf8(client_last).map_err(|_| broken())?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(broken)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok()).ok_or_else(broken)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or_else(broken)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or_else(broken)?;
        if binding != STANDARD.encode(&self.header) || nonce != self.nonce {
            return Err(broken());
        }
        let message = format!("{},{},{without_proof}", self.client_first, self.server_first);
        let signature = hmac(&self.verifier.stored_key, message.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        if !same(&Sha256::digest(client_key).into(), &self.verifier.stored_key) {
            return Ok(None);
        }
        Ok(Some(format!("v={}", STANDARD.encode(hmac(&self.verifier.server_key, message.as_bytes())))))
    }
}

/// The part about channel binding, and the rest.
fn header_of(text: &str) -> Result<(&str, &str)> {
    if text.starts_with("p=") {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, "channel binding is not offered")
            .with_hint("connect with channel_binding=disable or prefer"));
    }
    // n or y, and no other name to act for.
    let header = text.get(..3).filter(|header| matches!(*header, "n,," | "y,,")).ok_or_else(broken)?;
    Ok((header, &text[3..]))
}

fn broken() -> Error {
    Error::fix(SqlState::PROTOCOL, "this is no message of SCRAM-SHA-256")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use proptest::prelude::*;

    fn log_in(password: &str, verifier: &Verifier) -> Option<()> {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let (exchange, server_first) = Exchange::begin(client.message(), verifier.clone(), "nonce").unwrap();
        client.update(server_first.as_bytes()).unwrap();
        let server_last = exchange.end(client.message()).unwrap()?;
        client.finish(server_last.as_bytes()).unwrap();
        Some(())
    }

    #[test]
    fn a_client_of_postgres_logs_in_with_its_password_alone() {
        for password in ["secret", "pass,word=", "Grüße №1", "\u{2168}"] {
            let verifier = Verifier::of_password(password).unwrap();
            assert!(Verifier::parse(&verifier.text()).unwrap() == verifier);
            assert_eq!(log_in(password, &verifier), Some(()));
            assert_eq!(log_in("another", &verifier), None);
            assert!(verifier.fits(password) && !verifier.fits("another"));
        }
        assert_eq!(log_in("secret", &Verifier::of_nobody(&[7; 32], "ghost")), None);
    }

    #[test]
    fn lies_are_told() {
        let begin = |text: &str| Exchange::begin(text.as_bytes(), Verifier::of_nobody(&[1; 32], "a"), "n").map(drop);
        for lie in ["", "n,,", "n,,n=a", "n,,n=a,r=", "x,,n=a,r=1", "n,a=b,n=a,r=1", "p=tls-exporter,,n=a,r=1", "€"] {
            begin(lie).unwrap_err();
        }
        for lie in ["", "c=biws,r=1n", "c=biws,r=1n,p=", "c=biws,r=other,p=AAAA", "c=eSws,r=1n,p=AAAA"] {
            let (exchange, _) = Exchange::begin(b"n,,n=a,r=1", Verifier::of_nobody(&[1; 32], "a"), "n").unwrap();
            exchange.end(lie.as_bytes()).unwrap_err();
        }
        for lie in ["", "SCRAM-SHA-256$0:AA==$AA==:AA==", "SCRAM-SHA-256$4096:AA==$AA==:AA==", "md5abc"] {
            assert!(Verifier::parse(lie).is_none());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(first in proptest::collection::vec(any::<u8>(), 0..60), last in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Exchange::begin(&first, Verifier::of_nobody(&[1; 32], "a"), "n").map(drop);
            let (exchange, _) = Exchange::begin(b"n,,n=a,r=1", Verifier::of_nobody(&[1; 32], "a"), "n").unwrap();
            let _ = exchange.end(&last);
        }
    }
}
