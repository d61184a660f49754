//! The address of a server, as a URL.

use polder_catalog::{Error, Result, SqlState};
use std::fmt;
use std::net::IpAddr;
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Flight,
    Postgres,
}

/// Whether the connection is encrypted. A certificate is always verified in full, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Never,
    /// If the server offers it.
    Offered,
    Always,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    /// Who asks, if the URL says so.
    pub(super) user: Option<String>,
    /// PostgreSQL's.
    pub(super) database: String,
    /// PostgreSQL's: `-c name=value`.
    pub(super) options: Option<String>,
}

const SCHEMES: [(&str, Protocol, Tls, u16); 6] = [
    ("http", Protocol::Http, Tls::Never, 8080),
    ("https", Protocol::Http, Tls::Always, 8080),
    ("grpc", Protocol::Flight, Tls::Never, 8815),
    ("grpc+tls", Protocol::Flight, Tls::Always, 8815),
    ("postgresql", Protocol::Postgres, Tls::Offered, 5433),
    ("postgres", Protocol::Postgres, Tls::Offered, 5433),
];

impl Target {
    /// # Errors
    /// 22023 for what is no address of a server, or holds a password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        // The text may hold a password, so it is not repeated.
        let url = Url::parse(text).map_err(|error| wrong("this is no URL").with_detail(error.to_string()))?;
        let scheme = SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme());
        let (_, protocol, tls, port) = *scheme.ok_or_else(|| wrong(&format!("there is no {}://", url.scheme())))?;
        if url.password().is_some() {
            return Err(Error::fix(SqlState::PARAMETER, "the URL holds a password, which others can see")
                .with_hint("set POLDER_PASSWORD, or say --password-file FILE"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the URL names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        // An address without a port means Polder's own, though http has one of its own.
        let port = explicit_port(text).unwrap_or(port);
        let user = Some(decoded(url.username())).filter(|user| !user.is_empty());
        let path = url.path().trim_matches('/');
        let mut target = Self { protocol, host, port, tls, user, database: "polder".to_string(), options: None };
        if protocol == Protocol::Postgres {
            if !path.is_empty() {
                target.database = decoded(path);
            }
            for (name, value) in url.query_pairs() {
                target.set(&name, &value)?;
            }
        } else if !path.is_empty() || url.query().is_some() {
            return Err(wrong("nothing may follow the port"));
        }
        Ok(target)
    }

    /// A parameter of a PostgreSQL URL.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match (name, value) {
            ("sslmode", "disable") => self.tls = Tls::Never,
            ("sslmode", "allow" | "prefer") => self.tls = Tls::Offered,
            ("sslmode", "require" | "verify-ca" | "verify-full") => self.tls = Tls::Always,
            ("sslmode", _) => return Err(wrong("sslmode is disable, prefer, require, verify-ca or verify-full")),
            ("options", _) => self.options = Some(value.to_string()),
            ("user", _) => self.user = Some(value.to_string()),
            ("dbname", _) => self.database = value.to_string(),
            ("application_name" | "connect_timeout" | "client_encoding", _) => {}
            _ => return Err(wrong(&format!("the parameter \"{name}\" is not known here"))),
        }
        Ok(())
    }

    /// Whether only programs of this machine can see what is sent.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

/// The port in the text: the URL's own parser drops one that it takes for the scheme's default.
fn explicit_port(text: &str) -> Option<u16> {
    let authority = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let (before, port) = host.rsplit_once(':')?;
    (!before.starts_with('[') || before.ends_with(']')).then(|| port.parse().ok())?
}

/// Without its percent signs.
fn decoded(text: &str) -> String {
    let escaped = format!("text={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

fn wrong(message: &str) -> Error {
    Error::fix(SqlState::PARAMETER, format!("--connect: {message}")).with_hint(
        "give http[s]://HOST:PORT, grpc://HOST:PORT, grpc+tls://HOST:PORT or postgresql://USER@HOST:PORT/polder",
    )
}

/// The address alone.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |scheme: &&(&str, Protocol, Tls, u16)| scheme.1 == self.protocol && scheme.2 == self.tls;
        let scheme = SCHEMES.iter().find(of).map_or("postgresql", |(scheme, ..)| scheme);
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_polders_port_unless_it_names_one() {
        let shown = |url: &str| Target::parse(url).unwrap().to_string();
        assert_eq!(shown("http://127.0.0.1"), "http://127.0.0.1:8080");
        assert_eq!(shown("http://127.0.0.1:80/"), "http://127.0.0.1:80");
        assert_eq!(shown("grpc+tls://db.example"), "grpc+tls://db.example:8815");
        assert_eq!(shown("grpc://[::1]:9"), "grpc://[::1]:9");
        assert_eq!(shown("grpc://[::1]"), "grpc://[::1]:8815");
        assert_eq!(shown("postgres://ada@localhost"), "postgresql://localhost:5433");
    }

    #[test]
    fn a_url_of_postgres_tells_who_where_and_how() {
        let target =
            Target::parse("postgresql://a%40b+c@[::1]:5555/shop?sslmode=verify-full&options=-c%20a%3D1").unwrap();
        assert_eq!((target.user.as_deref(), target.database.as_str()), (Some("a@b+c"), "shop"));
        assert_eq!((target.tls, target.options.as_deref()), (Tls::Always, Some("-c a=1")));
        assert!(target.is_loopback());
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_not_repeated() {
        for url in ["", "127.0.0.1:8080", "ftp://host", "http://host/v1/sql", "postgres://host/?sslmode=maybe"] {
            assert_eq!(Target::parse(url).unwrap_err().state(), SqlState::PARAMETER, "{url}");
        }
        let error = Target::parse("postgres://ada:sesame@host/polder").unwrap_err();
        assert!(!format!("{error:?}").contains("sesame"));
    }
}
