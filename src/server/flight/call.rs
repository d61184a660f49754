//! One call: the session it runs in, and what its answer tells beside the answer itself.

use super::Server;
use super::status::status;
use crate::activity::Protocol;
use crate::server::login::{Credentials, credentials};
use crate::session::Session;
use polder_catalog::{Error, Position, Result, SqlState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

/// The cookie of a session, as Flight's clients know it.
const COOKIE: &str = "arrow_flight_session_id";
/// The token of what was read or written.
const POSITION: &str = "polder-position";
/// What was done, of a statement without rows.
const TAG: &str = "polder-tag";
/// Asks for notices behind the rows.
const NOTICES: &str = "polder-notices";
/// What a client may say of each call, and the setting that it is.
const SETTINGS: [(&str, &str); 3] =
    [("polder-read-after", "read_after"), ("polder-request-id", "request_id"), ("user-agent", "application_name")];

/// A call. All clones are the same.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) session: Arc<Session>,
    /// None if the session is of this call alone.
    pub(super) session_id: Option<String>,
    /// Whether the client knows a message of notices behind the rows.
    pub(super) takes_notices: bool,
    told: Arc<Mutex<Told>>,
}

/// What the answer will tell.
#[derive(Default)]
struct Told {
    /// Where the statement ran, if elsewhere.
    ran_in: Option<Arc<Session>>,
    new_session: Option<String>,
    tag: Option<String>,
}

impl Call {
    /// # Errors
    /// 28000 if it names a session that is not kept, or does not say who sends it; 22023 for a header that means nothing.
    pub(super) async fn of(server: &Server, metadata: &MetadataMap) -> Result<Self> {
        let credentials = credentials(authorization(metadata))?;
        let cookie = cookie(metadata);
        let named = match credentials {
            Credentials::Bearer(id) => server.sessions.get(id.as_bytes()).ok().map(|session| (id, session)),
            Credentials::Nobody | Credentials::Basic(_) => None,
        };
        let (session_id, session) = match (named, &credentials) {
            (Some((id, session)), _) => (Some(id), session),
            (None, Credentials::Bearer(_)) if !server.door.demands_login(&server.engine) => return Err(expired()),
            (None, _) => {
                let user = server.door.user(&server.engine, credentials).await?;
                match cookie {
                    Some(id) => (Some(id), server.session_of_user(id, &user)?),
                    None => (None, new_session(server, user, metadata)?),
                }
            }
        };
        let session_id = session_id.map(str::to_string);
        for (header, setting) in SETTINGS {
            if let Some(value) = metadata.get(header) {
                let value = value.to_str().map_err(|_| {
                    Error::fix(SqlState::PARAMETER, format!("the header {header} holds more than ASCII"))
                })?;
                session.change_settings(|settings| settings.set(setting, value))?;
            }
        }
        let takes_notices = metadata.contains_key(NOTICES);
        Ok(Self { session, session_id, takes_notices, told: Arc::default() })
    }

    /// The call that a request is of.
    ///
    /// # Errors
    /// None of a client's: every request comes with its call.
    pub(super) fn of_request<T>(request: &Request<T>) -> Result<Self, Status> {
        let call = request.extensions().get::<Self>().cloned();
        call.ok_or_else(|| status(Error::report("a request came without its call")))
    }

    /// Whether what is set in its session has an effect beyond this call.
    pub(super) fn is_kept(&self) -> bool {
        self.session_id.is_some()
    }

    /// Notes where the statement of this call runs.
    pub(super) fn runs_in(&self, session: &Arc<Session>) {
        self.told().ran_in = Some(Arc::clone(session));
    }

    /// Notes what the statement of this call has done.
    pub(super) fn has_done(&self, tag: &str) {
        self.told().tag = Some(tag.to_string());
    }

    /// Keeps the session of this call, if it is not kept yet; the client learns its cookie.
    pub(super) fn keep(&self, server: &Server) -> Result<()> {
        if !self.is_kept() {
            self.told().new_session = Some(server.sessions.put(Arc::clone(&self.session), 0)?);
        }
        Ok(())
    }

    /// The answer with what is told beside it.
    pub(super) fn stamp<T>(&self, mut response: Response<T>) -> Response<T> {
        let told = self.told();
        let session = told.ran_in.as_ref().unwrap_or(&self.session);
        insert_position(response.metadata_mut(), &session.position());
        if let Some(tag) = told.tag.as_ref().and_then(|tag| MetadataValue::try_from(tag.as_str()).ok()) {
            response.metadata_mut().insert(TAG, tag);
        }
        if let Some(id) = &told.new_session
            && let Ok(cookie) = MetadataValue::try_from(format!("{COOKIE}={id}; Path=/; HttpOnly"))
        {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        drop(told);
        response
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session, under the name that the client's library gives itself.
pub(super) fn new_session(server: &Server, user: Arc<str>, metadata: &MetadataMap) -> Result<Arc<Session>> {
    let session = Session::served(server.engine.clone(), user, Protocol::Flight);
    if let Some(agent) = metadata.get("user-agent").and_then(|agent| agent.to_str().ok()) {
        session.change_settings(|settings| settings.set("application_name", agent))?;
    }
    Ok(Arc::new(session))
}

fn insert_position(metadata: &mut MetadataMap, position: &Position) {
    if !position.shards.is_empty()
        && let Ok(token) = MetadataValue::try_from(position.to_string())
    {
        metadata.insert(POSITION, token);
    }
}

/// Who the client says it is.
pub(super) fn authorization(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization").map(|value| value.to_str().unwrap_or_default())
}

impl Server {
    /// A session that is kept, if it is this user's.
    fn session_of_user(&self, id: &str, user: &Arc<str>) -> Result<Arc<Session>> {
        let session = self.sessions.get(id.as_bytes()).map_err(|_| expired())?;
        if session.user() == user { Ok(session) } else { Err(expired()) }
    }
}

fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let cookies = metadata.get_all("cookie").into_iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, id)| id.trim_matches('"'))
}

fn expired() -> Error {
    Error::fix(SqlState::LOGIN, "there is no such session")
        .with_hint("connect anew: nobody used it for too long, it was closed, or the server has started anew")
}
