//! What clients send, read from bytes that nobody vouches for (PostgreSQL's documentation, 55.7, "Message Formats").

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use polder_catalog::{Error, Result, SqlState};
use std::collections::BTreeMap;
use std::io;
use tokio_util::codec::{Decoder, Encoder};

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Asks for TLS.
    Tls,
    /// Asks for encryption by GSSAPI.
    Gss,
    Startup(BTreeMap<String, String>),
    Cancel {
        process: i32,
        secret: i32,
    },
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Named),
    Execute {
        portal: String,
        /// None for all.
        rows: Option<usize>,
    },
    Close(Named),
    Flush,
    Sync,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    Terminate,
    /// The answer to a request for a password.
    Password(Bytes),
}

/// A prepared statement or a portal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Statement(String),
    Portal(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    /// None for NULL.
    pub(super) values: Vec<Option<Bytes>>,
    pub(super) value_formats: Formats,
    pub(super) row_formats: Formats,
}

/// Which of several values are binary: one code for all, or one for each; none for text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats(Vec<bool>);

impl Formats {
    pub(super) fn is_binary(&self, at: usize) -> bool {
        match &self.0[..] {
            [all] => *all,
            each => each.get(at).copied().unwrap_or(false),
        }
    }

    /// # Errors
    /// 08P01 unless there is one code for all or one for each.
    pub(super) fn check(&self, count: usize) -> Result<()> {
        match self.0.len() {
            0 | 1 => Ok(()),
            codes if codes == count => Ok(()),
            codes => Err(violation(format!("{codes} format codes for {count} values"))),
        }
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub(super) struct Codec {
    /// The first messages have no type.
    has_started: bool,
    /// The greatest length of a message, in bytes.
    limit: usize,
}

/// As in PostgreSQL.
const STARTUP_LENGTH_MAX: usize = 10_000;

impl Codec {
    pub(super) fn new(limit: usize) -> Self {
        Self { has_started: false, limit }
    }
}

impl Decoder for Codec {
    type Item = Message;
    type Error = Broken;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Message>, Broken> {
        let head = if self.has_started { 5 } else { 4 };
        if bytes.len() < head {
            return Ok(None);
        }
        let length = u32::from_be_bytes([bytes[head - 4], bytes[head - 3], bytes[head - 2], bytes[head - 1]]) as usize;
        let limit = if self.has_started { self.limit } else { STARTUP_LENGTH_MAX };
        if length < 4 || length > limit {
            return Err(violation(format!("a message of {length} bytes; it may have {limit}")).into());
        }
        let whole = head - 4 + length;
        if bytes.len() < whole {
            return Ok(None);
        }
        let mut message = bytes.split_to(whole).freeze();
        let kind = message[0];
        message.advance(head);
        let mut body = Body(message);
        let message = if self.has_started { body.message(kind)? } else { body.first()? };
        if !body.0.is_empty() {
            return Err(violation("a message is longer than what it holds").into());
        }
        self.has_started |= matches!(message, Message::Startup(_));
        Ok(Some(message))
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = Broken;

    fn encode(&mut self, message: PgWireBackendMessage, bytes: &mut BytesMut) -> Result<(), Broken> {
        message
            .encode(bytes)
            .map_err(|error| Broken::Protocol(Error::report("a message cannot be written").with_source(error)))
    }
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client is gone.
    Gone(io::Error),
    /// What it sent is no message.
    Protocol(Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

pub(super) fn violation(message: impl Into<String>) -> Error {
    Error::fix(SqlState::PROTOCOL, message)
}

/// What is left of one message.
struct Body(Bytes);

const TLS: i32 = 80_877_103;
const GSS: i32 = 80_877_104;
const CANCEL: i32 = 80_877_102;
const VERSION_3: i32 = 3;

impl Body {
    /// A message before the start: its first number says what it is.
    fn first(&mut self) -> Result<Message> {
        match self.i32()? {
            TLS => Ok(Message::Tls),
            GSS => Ok(Message::Gss),
            CANCEL => Ok(Message::Cancel { process: self.i32()?, secret: self.i32()? }),
            version if version >> 16 == VERSION_3 => {
                let mut parameters = BTreeMap::new();
                loop {
                    let name = self.text()?;
                    if name.is_empty() {
                        return Ok(Message::Startup(parameters));
                    }
                    parameters.insert(name, self.text()?);
                }
            }
            version => {
                let (major, minor) = (version >> 16, version & 0xffff);
                Err(Error::fix(SqlState::NOT_SUPPORTED, format!("protocol {major}.{minor} is not spoken here"))
                    .with_hint("this is version 3 of PostgreSQL's protocol"))
            }
        }
    }

    fn message(&mut self, kind: u8) -> Result<Message> {
        Ok(match kind {
            b'Q' => Message::Query(self.text()?),
            b'P' => {
                let (name, sql) = (self.text()?, self.text()?);
                let count = self.u16()?;
                let types = (0..count).map(|_| self.i32().map(|oid| oid as u32)).collect::<Result<_>>()?;
                Message::Parse { name, sql, types }
            }
            b'B' => {
                let (portal, statement, value_formats) = (self.text()?, self.text()?, self.formats()?);
                let count = self.u16()?;
                let values = (0..count).map(|_| self.value()).collect::<Result<_>>()?;
                Message::Bind(Bind { portal, statement, values, value_formats, row_formats: self.formats()? })
            }
            b'D' => Message::Describe(self.named()?),
            b'E' => {
                let portal = self.text()?;
                // Zero is all, and so is what is less, as in PostgreSQL.
                let rows = usize::try_from(self.i32()?).ok().filter(|rows| *rows > 0);
                Message::Execute { portal, rows }
            }
            b'C' => Message::Close(self.named()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'd' => Message::CopyData(std::mem::take(&mut self.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(self.text()?),
            b'X' => Message::Terminate,
            b'p' => Message::Password(std::mem::take(&mut self.0)),
            kind => return Err(violation(format!("no message has the type {:?}", char::from(kind)))),
        })
    }

    fn named(&mut self) -> Result<Named> {
        match self.take(1)?[0] {
            b'S' => Ok(Named::Statement(self.text()?)),
            b'P' => Ok(Named::Portal(self.text()?)),
            kind => Err(violation(format!("{:?} is neither a statement nor a portal", char::from(kind)))),
        }
    }

    fn formats(&mut self) -> Result<Formats> {
        let count = self.u16()?;
        let code = |_| match self.u16()? {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(violation(format!("{code} is no format code"))),
        };
        (0..count).map(code).collect::<Result<_>>().map(Formats)
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(violation(format!("a value of {length} bytes"))),
            },
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(violation("a message ends in the middle"));
        }
        Ok(self.0.split_to(length))
    }

    fn i32(&mut self) -> Result<i32> {
        self.take(4).map(|mut bytes| bytes.get_i32())
    }

    fn u16(&mut self) -> Result<u16> {
        self.take(2).map(|mut bytes| bytes.get_u16())
    }

    /// Text up to a zero byte.
    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| violation("a text has no end"))?;
        let text = self.take(end + 1)?;
        String::from_utf8(text[..end].to_vec()).map_err(|_| {
            Error::fix(SqlState::CHARACTER, "a text is not UTF-8").with_hint("set client_encoding to UTF8")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn started() -> Codec {
        Codec { has_started: true, limit: 1 << 20 }
    }

    #[test]
    fn what_is_cut_off_is_waited_for() {
        let mut whole = BytesMut::from(&b"Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04"[..]);
        let mut codec = started();
        for end in 0..14 {
            assert_eq!(codec.decode(&mut BytesMut::from(&whole[..end])).unwrap(), None);
        }
        assert_eq!(codec.decode(&mut whole).unwrap(), Some(Message::Query("SELECT 1".to_string())));
        assert_eq!(codec.decode(&mut whole).unwrap(), Some(Message::Sync));
        assert_eq!(codec.decode(&mut whole).unwrap(), None);
    }

    #[test]
    fn lies_are_told() {
        let lies: [&[u8]; 9] = [
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"Q\0\0\0\x08SELE",
            b"B\0\0\0\x08\0\0\xff\xff",
            b"B\0\0\0\x0e\0\0\0\0\0\x01\xff\xff\xff\xfe",
            b"B\0\0\0\x0e\0\0\0\0\0\x01\x7f\xff\xff\xff",
            b"D\0\0\0\x06Xx",
            b"!\0\0\0\x04",
            b"S\0\0\0\x05x",
        ];
        for lie in lies {
            let mut bytes = BytesMut::from(lie);
            assert!(matches!(started().decode(&mut bytes), Err(Broken::Protocol(_))), "{lie:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in any::<u8>(), start in any::<bool>()) {
            let mut codec = Codec { has_started: start, limit: 1 << 20 };
            let _ = codec.decode(&mut BytesMut::from(&bytes[..]));
            // With a head that is true, so that the body is looked at.
            let mut framed = BytesMut::new();
            if start {
                framed.extend([kind]);
            }
            framed.extend((bytes.len() as u32 + 4).to_be_bytes());
            framed.extend(&bytes);
            let _ = codec.decode(&mut framed);
        }

        #[test]
        fn a_bind_is_read_as_it_was_written(values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), 0..9)) {
            let mut body = b"p\0s\0\0\x01\0\x01".to_vec();
            body.extend((values.len() as u16).to_be_bytes());
            for value in &values {
                match value {
                    None => body.extend((-1i32).to_be_bytes()),
                    Some(value) => {
                        body.extend((value.len() as i32).to_be_bytes());
                        body.extend(value);
                    }
                }
            }
            body.extend([0, 0]);
            let mut bytes = BytesMut::from(&b"B"[..]);
            bytes.extend((body.len() as u32 + 4).to_be_bytes());
            bytes.extend(&body);
            let Ok(Some(Message::Bind(bind))) = started().decode(&mut bytes) else { panic!("no Bind") };
            prop_assert_eq!(bind.values, values.into_iter().map(|value| value.map(Bytes::from)).collect::<Vec<_>>());
            prop_assert!(bind.value_formats.is_binary(7) && !bind.row_formats.is_binary(0));
        }
    }
}
